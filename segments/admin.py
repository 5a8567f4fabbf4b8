"""Segments as a marketer writes them, and learned groups in words."""

import base64
import json
from collections.abc import Sequence
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminTextareaWidget

from cdp.admin import KeptAdmin, LedgerAdmin, WorkspaceForm, column, number_in, people_named, preformatted, workspace_of
from cdp.kernel.errors import TesseraError
from cdp.models import Profile, User
from segments import services
from segments.language import LanguageError, Node, explain, parse_json, parse_text, to_json, to_text
from segments.models import LearnedModel, Membership, Segment
from segments.queries import sizes_of

SHOWN_MEMBERS = 20
SHOWN_VERSIONS = 50


class SegmentForm(WorkspaceForm):
    definition = forms.CharField(
        label=_("Definition"),
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8, "spellcheck": "false"}),
        help_text=_(
            'For example: count of "Order Completed" where "amount" >= 10 in last 90 days >= 3 '
            'and not trait "country" in ("FR", "BE")'
        ),
    )

    class Meta:
        model = Segment
        fields = ("name", "slug", "description")
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 2})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.live_version:
            self.initial["definition"] = text_of(self.instance.live_version.definition)

    def clean_definition(self) -> dict[str, Any]:
        try:
            return to_json(parse_text(self.cleaned_data["definition"]))
        except LanguageError as error:
            raise ValidationError(str(error), code=error.code) from error


def text_of(definition: Any) -> str:
    """A stored definition as people type it."""
    return to_text(parse_json(definition))


@admin.register(Segment)
class SegmentAdmin(KeptAdmin):
    form = SegmentForm
    list_display = ("name", "slug", "members", "computed_at", "version", "is_live")
    list_filter = (("archived_at", admin.EmptyFieldListFilter),)
    list_select_related = ("live_version",)
    search_fields = ("name", "slug")
    ordering = ("name",)
    fields = ("name", "slug", "description", "definition")
    prepopulated_fields = {"slug": ("name",)}
    fixed_fields = ("slug",)
    change_form_outer_after_template = "console/segment.html"

    def get_prepopulated_fields(self, request: HttpRequest, obj: Model | None = None) -> dict[str, Any]:
        return {} if obj else dict(self.prepopulated_fields)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Count the members of the segments on this page in one query."""
        changes = super().get_changelist_instance(request)
        rows = list(changes.result_list)
        sizes = sizes_of([row.pk for row in rows])
        for row in rows:
            row.size = sizes.get(row.pk, 0)
        changes.result_list = rows
        return changes

    @column(description=_("members"))
    def members(self, segment: Any) -> int:
        return int(segment.size)

    @column(description=_("version"))
    def version(self, segment: Segment) -> str:
        return f"v{segment.live_version.number}" if segment.live_version else "–"

    @column(description=_("live"), boolean=True)
    def is_live(self, segment: Segment) -> bool:
        return segment.live_version_id is not None and segment.archived_at is None

    # -- writing ----------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        """Name and description are the row's own. Another definition is another version, which serves at once."""
        definition, author, now = form.cleaned_data["definition"], cast("User", request.user), timezone.now()
        if not change:
            made = services.create_segment(
                workspace_id=obj.workspace_id,
                slug=obj.slug,
                name=obj.name,
                definition=definition,
                author=author,
                now=now,
            )
            obj.pk, obj.live_version, obj.computed_at = made.pk, made.live_version, made.computed_at
            Segment.objects.filter(pk=obj.pk).update(description=obj.description)
            return
        super().save_model(request, obj, form, change)
        if not obj.live_version or obj.live_version.definition != definition:
            done = services.publish(segment=obj, definition=definition, author=author, now=now)
            told = gettext("Version %(number)s: %(entered)s entered, %(left)s left, %(members)s are in.") % {
                "number": done.version.number, "entered": done.entered, "left": done.left, "members": done.members,
            }  # fmt: skip
            self.message_user(request, told, messages.INFO)

    # -- looking ----------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        preview, why = self.admin_site.admin_view(self.preview), self.admin_site.admin_view(self.why)
        own = [
            path("preview/", preview, name="segments_segment_preview"),
            path("<slug:slug>/why/<int:profile>/", why, name="segments_segment_why"),
        ]
        return [*own, *super().get_urls()]

    @method_decorator(require_POST)
    def preview(self, request: HttpRequest) -> HttpResponse:
        """The part of the page below the definition: how many it selects now, or where it is wrong."""
        workspace = workspace_of(request)
        if workspace is None or not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        text = request.POST.get("definition", "")
        try:
            found = services.preview(
                workspace_id=workspace.pk, definition=to_json(parse_text(text)), now=timezone.now()
            )
        except LanguageError as error:
            return render(request, "console/rule_error.html", {"error": error, **marked(text, error)})
        people = Profile.objects.filter(workspace=workspace, merged_into=None).count()
        shown = {
            "count": found.count,
            "people": people,
            "sentence": sentence_of(parse_json(found.definition)),
            "sample": names_in_order(found.sample),
        }
        return render(request, "console/rule_preview.html", shown)

    def why(self, request: HttpRequest, slug: str, profile: int) -> HttpResponse:
        """The part of a person's page that says why they are in a segment, condition by condition."""
        workspace = workspace_of(request)
        if workspace is None or not self.has_view_permission(request):
            raise PermissionDenied
        try:
            found = services.why(
                workspace_id=workspace.pk,
                slug=slug,
                profile_id=profile,
                now=timezone.now(),
                locale=get_language() or "en",
            )
        except TesseraError as error:
            return render(request, "console/why.html", {"problem": error.message})
        return render(request, "console/why.html", {"why": found})

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **facts_about(request, object_id)}
        )


def facts_about(request: HttpRequest, object_id: str) -> dict[str, Any]:
    """Members and versions of a segment of this workspace."""
    segment = Segment.objects.filter(workspace=workspace_of(request), pk=number_in(object_id))
    found = segment.select_related("live_version").first()
    if found is None:
        return {}
    newest = list(Membership.objects.filter(segment=found, left_at=None).order_by("-entered_at")[:SHOWN_MEMBERS])
    names = people_named([row.profile_id for row in newest])
    versions = list(found.versions.select_related("author").order_by("-number")[:SHOWN_VERSIONS])
    return {
        "size": sizes_of([found.pk]).get(found.pk, 0),
        "members": [(row, names.get(row.profile_id, "")) for row in newest],
        "versions": [(version, text_of(version.definition)) for version in versions],
        "sentence": sentence_of(parse_json(found.live_version.definition)) if found.live_version else "",
        "segment": found,
    }


def names_in_order(profile_ids: Sequence[int]) -> list[tuple[int, str]]:
    names = people_named(profile_ids)
    return [(profile, names.get(profile, "")) for profile in profile_ids]


def sentence_of(rule: Node) -> str:
    return explain(rule, get_language() or "en")


def marked(text: str, error: LanguageError) -> dict[str, str]:
    """The text of a rule in three pieces: before, at and after the place of the error."""
    if error.span is None or error.span.line is None:
        return {"before": text, "at": "", "after": ""}
    lines = text.split("\n")
    start = sum(len(line) + 1 for line in lines[: error.span.line - 1]) + (error.span.column or 1) - 1
    end = start + max(error.span.length, 1)
    return {"before": text[:start], "at": text[start:end] or "⁠ ", "after": text[end:]}


@admin.register(LearnedModel)
class LearnedModelAdmin(LedgerAdmin):
    """A clustering: its groups in words, why it has that many, and its picture."""

    list_display = ("slug", "version", "number_of_groups", "created_at")
    list_filter = ("slug",)
    ordering = ("slug", "-version")
    fields = ("slug", "version", "created_at", "groups", "picture", "shown_specification", "shown_result")
    readonly_fields = ("groups", "picture", "shown_specification", "shown_result")

    @column(description=_("groups"))
    def number_of_groups(self, model: LearnedModel) -> int:
        return len(model.result.get("groups", ()))

    @column(description=_("groups"))
    def groups(self, model: LearnedModel) -> str:
        return render_to_string(
            "console/groups.html", {"groups": model.result.get("groups", ()), "language": (get_language() or "en")[:2]}
        )

    @column(description=_("plot"))
    def picture(self, model: LearnedModel) -> str:
        """As an image: a picture cannot run scripts, which an inline SVG could."""
        if not model.plot:
            return "–"
        encoded = base64.b64encode(model.plot.encode()).decode()
        return format_html('<img class="console-plot" alt="{}" src="data:image/svg+xml;base64,{}">', model, encoded)

    @column(description=_("specification"))
    def shown_specification(self, model: LearnedModel) -> str:
        return preformatted(json.dumps(model.specification, indent=1, ensure_ascii=False))

    @column(description=_("result"))
    def shown_result(self, model: LearnedModel) -> str:
        return preformatted(json.dumps(model.result, indent=1, ensure_ascii=False))
