"""Segments as a marketer writes them, and learned groups in words."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from cdp.admin import KeptAdmin, LedgerAdmin, WorkspaceForm, column, number_in, people_named, preformatted, workspace_of
from cdp.kernel.errors import TesseraError
from cdp.models import User
from segments import lists, ranks, services, versions
from segments.language import LanguageError, parse_json, parse_text, to_json
from segments.models import LearnedModel, ListEntry, Membership, Segment
from segments.queries import sizes_of
from segments.versions import VersionRow
from segments.wording import sentence_of, text_of

SHOWN_MEMBERS = 20
SHOWN_ENTRIES = 200


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

    allow_unknown = forms.BooleanField(
        label=_("Some of these names will come later"),
        required=False,
        widget=UnfoldBooleanWidget,
        help_text=_("else a name that the workspace does not have is taken for a mistake"),
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

    def clean(self) -> dict[str, Any]:
        """What is published already is not asked again when only its name is changed."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        live = self.instance.live_version
        is_new = "definition" in cleaned and not (live and live.definition == cleaned["definition"])
        if is_new and self.workspace is not None:
            slug = cleaned.get("slug", self.instance.slug)
            try:
                services.check_circles(workspace_id=self.workspace.pk, slug=slug, definition=cleaned["definition"])
                if not cleaned.get("allow_unknown"):
                    services.check_definition(workspace_id=self.workspace.pk, definition=self.data["definition"])
            except TesseraError as error:
                self.add_error("definition", ValidationError(str(error), code=error.code))
        return cleaned


@admin.register(Segment)
class SegmentAdmin(KeptAdmin):
    form = SegmentForm
    list_display = ("name", "slug", "members", "computed_at", "version", "is_live")
    list_filter = (("archived_at", admin.EmptyFieldListFilter),)
    list_select_related = ("live_version",)
    search_fields = ("name", "slug")
    ordering = ("name",)
    fields = ("name", "slug", "description", "definition", "allow_unknown")
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
            self.message_user(request, told_of(done), messages.INFO)

    # -- looking ----------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """The preview is not among them: it looks at destinations, which a later stage knows."""
        view = self.admin_site.admin_view
        own = [
            path("<slug:slug>/why/<int:profile>/", view(self.why), name="segments_segment_why"),
            path("<int:pk>/publication/", view(self.publication), name="segments_segment_publication"),
            path("<int:pk>/cancel/", view(self.cancel), name="segments_segment_cancel"),
            path("<int:pk>/archive/", view(self.archive), name="segments_segment_archive"),
            path("<int:pk>/go-back/<int:number>/", view(self.go_back), name="segments_segment_go_back"),
        ]
        return [*own, *super().get_urls()]

    def publication(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The part of the page that says how far the version is that is being computed."""
        segment = self._segment(request, pk, may_write=False)
        shown = {**progress_of(segment), "segment": segment, "was_under_way": True}
        return render(request, "console/segment_publication.html", {**shown, "may_publish": self._may_publish(request)})

    @method_decorator(require_POST)
    def go_back(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        segment, author = self._segment(request, pk), cast("User", request.user)
        try:
            done = services.go_back(segment=segment, number=number, author=author, now=timezone.now())
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.message_user(request, told_of(done), messages.INFO)
        return self._back_to(pk)

    @method_decorator(require_POST)
    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        if services.cancel_publication(segment=self._segment(request, pk), now=timezone.now()):
            self.message_user(request, gettext("Cancelled: the version that serves goes on."), messages.SUCCESS)
        return self._back_to(pk)

    @method_decorator(require_POST)
    def archive(self, request: HttpRequest, pk: int) -> HttpResponse:
        try:
            left = services.archive(segment=self._segment(request, pk), now=timezone.now())
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            told = ngettext("Archived: %d person left.", "Archived: %d people left.", left) % left
            self.message_user(request, told, messages.SUCCESS)
        return self._back_to(pk)

    def _segment(self, request: HttpRequest, pk: int, *, may_write: bool = True) -> Segment:
        allowed = self._may_publish(request) if may_write else self.has_view_permission(request)
        if workspace_of(request) is None or not allowed:
            raise PermissionDenied
        segment: Segment = get_object_or_404(self.get_queryset(request), pk=pk)
        return segment

    def _may_publish(self, request: HttpRequest) -> bool:
        return bool(self.has_change_permission(request))

    def _back_to(self, pk: int) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:segments_segment_change", args=[pk]))

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
        shown = {**(extra_context or {}), **facts_about(request, object_id)}
        return super().change_view(request, object_id, form_url, {**shown, "may_publish": self._may_publish(request)})


def facts_about(request: HttpRequest, object_id: str) -> dict[str, Any]:
    """Members and versions of a segment of this workspace."""
    segment = Segment.objects.filter(workspace=workspace_of(request), pk=number_in(object_id))
    found = segment.select_related("live_version").first()
    if found is None:
        return {}
    newest = list(Membership.objects.filter(segment=found, left_at=None).order_by("-entered_at")[:SHOWN_MEMBERS])
    names = people_named([row.profile_id for row in newest])
    rows = versions.version_rows(found)
    return {
        "size": sizes_of([found.pk]).get(found.pk, 0),
        "members": [(row, names.get(row.profile_id, "")) for row in newest],
        "versions": rows,
        "compared": comparison_asked(request, found, rows),
        "took": seconds_of(found, rows),
        "sentence": sentence_of(parse_json(found.live_version.definition)) if found.live_version else "",
        "segment": found,
        "ends": ranks.ends_of(found),
        "by_hand": by_hand_in(found),
        **progress_of(found),
    }


def progress_of(segment: Segment) -> dict[str, Any]:
    """Of the version that is being computed; or that the last one could not be."""
    under_way = versions.under_way(segment)
    if under_way is None:
        return {"under_way": None, "failed": versions.failed_last(segment)}
    counts = under_way.run.counts
    return {"under_way": under_way, "share": min(99, 100 * counts["looked_at"] // max(counts["people"], 1))}


def comparison_asked(request: HttpRequest, segment: Segment, rows: Sequence[VersionRow]) -> dict[str, Any]:
    """Of the two versions that the address names; else of the last two, without their difference."""
    before, after = number_in(request.GET.get("from", "")), number_in(request.GET.get("to", ""))
    if before and after:
        return {"before": before, "after": after, "difference": versions.compared(segment, before, after)}
    return {"before": rows[1].version.number, "after": rows[0].version.number} if len(rows) > 1 else {}


def seconds_of(segment: Segment, rows: Sequence[VersionRow]) -> float | None:
    """How long the version that serves took to compute."""
    run = next((row.run for row in rows if row.version.pk == segment.live_version_id), None)
    return (run.finished_at - run.started_at).total_seconds() if run and run.finished_at else None


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """An entry of a list, who it is now, and their name as far as it is known."""

    entry: ListEntry
    profile_id: int
    name: str
    is_out: bool


def shown_entries(workspace_id: int, slug: str, *, with_past: bool = True) -> Sequence[ShownEntry]:
    """The newest first."""
    entries = lists.history_of(workspace_id=workspace_id, slug=slug, most=SHOWN_ENTRIES, with_past=with_past)
    names = people_named({entry.identifier.profile_id for entry in entries})
    is_out = slug.startswith(lists.NEVER_IN)
    return [ShownEntry(each, who := each.identifier.profile_id, names.get(who, ""), is_out) for each in entries]


def by_hand_in(segment: Segment) -> Sequence[ShownEntry]:
    """Who is always in it, and who never, whatever its rule says."""
    sides = [side + segment.slug for side in (lists.ALWAYS_IN, lists.NEVER_IN)]
    return [each for side in sides for each in shown_entries(segment.workspace_id, side, with_past=False)]


def told_of(done: services.Publication) -> str:
    """What became of a publication, in words."""
    if not done.is_serving:
        told = gettext("Version %(number)s is being computed. Until it is, the version before it serves.")
        return told % {"number": done.version.number}
    return gettext("Version %(number)s: %(entered)s entered, %(left)s left, %(members)s are in.") % {
        "number": done.version.number, "entered": done.entered, "left": done.left, "members": done.members,
    }  # fmt: skip


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
