"""Who may log in, and where. Users belong to the whole installation, so only its superusers manage them."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from cdp.admin import workspace_of
from cdp.console.workspaces import workspaces_of
from cdp.models import Member, User


class ForSuperusers(ModelAdmin):
    """A page that only superusers see."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # judgements and runs name their authors: a user who leaves is made inactive


def is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


class MemberInline(TabularInline):
    model = Member
    extra = 0
    verbose_name_plural = _("member of")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        members: QuerySet[Any] = super().get_queryset(request)
        return members.filter(workspace__in=workspaces_of(request))

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = workspaces_of(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


@admin.register(User)
class UserConsole(UserAdmin, ForSuperusers):  # type: ignore[type-arg]  # has no parameters at run time
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    inlines = (MemberInline,)
    list_display = ("username", "first_name", "last_name", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        workspace = workspace_of(request)
        users = super().get_queryset(request)
        return users.filter(member__workspace=workspace) if workspace else users.none()

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> Any:
        return self.inlines if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        """A new user becomes a member of the workspace in which they were made, and may log in to the console."""
        if not change:
            obj.is_staff = True
        super().save_model(request, obj, form, change)
        workspace = workspace_of(request)
        if not change and workspace:
            Member.objects.create(user=obj, workspace=workspace)


admin.site.unregister(Group)


@admin.register(Group)
class GroupConsole(GroupAdmin, ForSuperusers):  # type: ignore[misc]  # Django's stubs make obj a user there
    """What the members of a group may see and change."""
