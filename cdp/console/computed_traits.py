"""Computed traits: what each measures in words, who uses it, changed and archived."""

from collections.abc import Mapping
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminTextareaWidget

from cdp import tasks
from cdp.admin import KeptAdmin, WorkspaceForm, column, number_in, row_to_change, workspace_of
from cdp.kernel.errors import TesseraError
from cdp.models import Stage, User
from segments import computed
from segments.computed import Defined
from segments.language import LanguageError, measured_to_json, measured_to_text
from segments.models import ComputedTrait
from segments.wording import measure_in_words


class ComputedTraitForm(WorkspaceForm):
    definition = forms.CharField(
        label=_("What is measured"),
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=_('For example: sum of "amount" of "Order Completed" in last 365 days'),
    )

    class Meta:
        model = ComputedTrait
        fields = ("name", "slug")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["definition"] = measured_to_text(definition_of(self.instance).measured)

    def clean_definition(self) -> dict[str, Any]:
        try:
            return measured_to_json(computed.read_measured(self.cleaned_data["definition"]))
        except LanguageError as error:
            raise ValidationError(str(error), code=error.code) from error


def definition_of(trait: ComputedTrait) -> Defined:
    return computed.defined_as(workspace_id=trait.workspace_id, slug=trait.slug)


@admin.register(ComputedTrait)
class ComputedTraitAdmin(KeptAdmin):
    form = ComputedTraitForm
    list_display = ("name", "slug", "meaning", "used_by", "version", "is_used")
    list_filter = (("archived_at", admin.EmptyFieldListFilter),)
    search_fields = ("name", "slug")
    ordering = ("name",)
    fields = ("name", "slug", "definition")
    fixed_fields = ("slug",)
    prepopulated_fields = {"slug": ("name",)}
    change_form_outer_after_template = "console/computed_trait.html"

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> dict[str, Any]:
        return {} if obj else dict(self.prepopulated_fields)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read how the traits of this page are measured, and who uses them, at once."""
        changes = super().get_changelist_instance(request)
        workspace, rows = workspace_of(request), list(changes.result_list)
        known = {each.trait.pk: each for each in computed.defined_in(workspace.pk)} if workspace else {}
        for row in rows:
            row.defined = known[row.pk]
        changes.result_list = rows
        return changes

    @column(description=_("meaning"))
    def meaning(self, trait: Any) -> str:
        return measure_in_words(trait.defined.measured)

    @column(description=_("used by"))
    def used_by(self, trait: Any) -> str:
        return ", ".join(trait.defined.users) or "–"

    @column(description=_("version"))
    def version(self, trait: Any) -> str:
        return f"v{trait.defined.version.number}"

    @column(description=_("in use"), boolean=True)
    def is_used(self, trait: ComputedTrait) -> bool:
        return trait.archived_at is None

    # -- writing ----------------------------------------------------------------------------------------------------

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """A measure can be right and a rule that uses it not take it: then nothing is changed, and the rule is named."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(request.path)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        definition, author = form.cleaned_data["definition"], cast("User", request.user)
        if not change or obj.archived_at:
            self._define(obj, definition, author)
            return
        super().save_model(request, obj, form, change)
        if measured_to_json(definition_of(obj).measured) != definition:
            self._measure_otherwise(request, obj, definition, author)

    def _define(self, obj: ComputedTrait, definition: Mapping[str, Any], author: User) -> None:
        """A new one; or one that was archived, which comes back."""
        made = computed.create_computed_trait(
            workspace_id=obj.workspace_id, slug=obj.slug, name=obj.name, definition=definition, author=author
        )
        obj.pk = made.pk

    def _measure_otherwise(
        self, request: HttpRequest, obj: ComputedTrait, definition: Mapping[str, Any], author: User
    ) -> None:
        published = computed.change_computed_trait(
            workspace_id=obj.workspace_id, slug=obj.slug, definition=definition, author=author, now=timezone.now()
        )
        if published:
            wake(obj.workspace_id)
            told = gettext("Published anew: %(segments)s.") % {"segments": ", ".join(published)}
            self.message_user(request, told, messages.INFO)

    def get_urls(self) -> list[URLPattern]:
        archive = self.admin_site.admin_view(self.archive)
        return [path("<int:pk>/archive/", archive, name="segments_computedtrait_archive"), *super().get_urls()]

    @method_decorator(require_POST)
    def archive(self, request: HttpRequest, pk: int) -> HttpResponse:
        trait = row_to_change(self, request, pk)
        try:
            computed.archive_computed_trait(workspace_id=trait.workspace_id, slug=trait.slug, now=timezone.now())
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.message_user(request, gettext("Archived: rules can use it no longer."), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:segments_computedtrait_change", args=[pk]))

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.get_queryset(request).filter(pk=number_in(object_id)).first()
        shown = facts_about(found) if found else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})


def facts_about(trait: ComputedTrait) -> dict[str, Any]:
    defined = definition_of(trait)
    return {"defined": defined, "sentence": measure_in_words(defined.measured), "versions": versions_of(trait)}


def versions_of(trait: ComputedTrait) -> list[tuple[Any, str]]:
    """The newest first, each as people type it."""
    rows = trait.versions.select_related("author").order_by("-number")
    return [(row, measured_to_text(computed.read_measured(row.definition))) for row in rows]


def wake(workspace_id: int) -> None:
    """The segments that were published anew: those that are large are computed by workers."""
    transaction.on_commit(lambda: tasks.wake_versions(workspace_id=workspace_id), robust=True)
    transaction.on_commit(lambda: tasks.wake(Stage.ACTIVATION, workspace_id=workspace_id), robust=True)
