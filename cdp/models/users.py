"""Who logs in. "User" never means a person whose data we keep: that is a profile."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models.workspaces import Workspace


class User(AbstractUser):
    workspaces: "models.ManyToManyField[Workspace, Member]" = models.ManyToManyField(
        Workspace, through="Member", related_name="users"
    )

    class Meta:
        db_table = "auth_user"
        verbose_name = _("user")
        verbose_name_plural = _("users")


class Member(models.Model):
    """A user's place in a workspace."""

    user = models.ForeignKey(User, models.CASCADE)
    workspace = models.ForeignKey(Workspace, models.CASCADE)

    class Meta:
        db_table = "member"
        constraints = [models.UniqueConstraint(fields=["user", "workspace"], name="member_is_unique")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.workspace_id}"
