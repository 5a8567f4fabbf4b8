"""Lists of people by hand: who is on them, who put them there and why; and who is put into one segment or kept out."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from cdp import tasks
from cdp.admin import KeptAdmin, WorkspaceForm, column, number_in, row_to_change, workspace_of
from cdp.kernel.errors import TesseraError
from cdp.models import Stage, User
from segments import list_files, lists
from segments.admin import SHOWN_ENTRIES, shown_entries
from segments.list_files import Loaded
from segments.lists import LONGEST_REASON, By, ListSlugError
from segments.models import Segment, SegmentList

LARGEST_FILE: Final = 5_000_000
"""Bytes: some hundred thousand people, which one request can still put on."""
MOST_TYPED: Final = 20_000
MOST_TOLD: Final = 10
Change = Callable[..., int]
WAYS: Final[Mapping[str, Change]] = {"in": lists.include, "out": lists.exclude, "neither": lists.leave_to_rule}


class ListForm(WorkspaceForm):
    class Meta:
        model = SegmentList
        fields = ("name", "slug")

    def clean_slug(self) -> str:
        slug = str(self.cleaned_data["slug"])
        if not lists.is_slug(slug):
            raise forms.ValidationError(ListSlugError().message, code=ListSlugError.code)
        return slug


class PeopleForm(forms.Form):
    """Whoever is meant is typed or in a file, one a line."""

    people = forms.CharField(max_length=MOST_TYPED, required=False, strip=False)
    file = forms.FileField(required=False)
    reason = forms.CharField(max_length=LONGEST_REASON, required=False)

    def clean_file(self) -> UploadedFile | None:
        file: UploadedFile | None = self.cleaned_data["file"]
        if file and (file.size or 0) > LARGEST_FILE:
            raise forms.ValidationError(gettext("The file is too large for the console: use `manage.py lists`."))
        return file

    def lines(self) -> Iterator[str]:
        typed: str = self.cleaned_data["people"]
        return chain(typed.splitlines(), lines_of(self.cleaned_data["file"]))


class ByHandForm(forms.Form):
    person = forms.CharField(max_length=list_files.LONGEST_LINE)
    reason = forms.CharField(max_length=LONGEST_REASON, required=False)

    def named(self) -> str:
        return str(self.cleaned_data["person"]) if self.is_valid() else ""


def lines_of(file: UploadedFile | None) -> Iterator[str]:
    return io.TextIOWrapper(cast("Any", file), encoding="utf-8", errors="replace") if file else iter(())


@admin.register(SegmentList)
class SegmentListAdmin(KeptAdmin):
    form = ListForm
    list_display = ("name", "slug", "people", "created_at")
    search_fields = ("name", "slug")
    ordering = ("name",)
    fields = ("name", "slug")
    fixed_fields = ("slug",)
    prepopulated_fields = {"slug": ("name",)}
    change_form_outer_after_template = "console/segment_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Those of the segments themselves are shown with their segments."""
        return super().get_queryset(request).exclude(slug__regex=r"^[+-]")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Count who is on the lists of this page in one query."""
        changes = super().get_changelist_instance(request)
        workspace, rows = workspace_of(request), list(changes.result_list)
        sizes = lists.sizes_of(workspace_id=workspace.pk, slugs=[row.slug for row in rows]) if workspace else {}
        for row in rows:
            row.size = sizes.get(row.slug, 0)
        changes.result_list = rows
        return changes

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> dict[str, Any]:
        return {} if obj else dict(self.prepopulated_fields)

    @column(description=_("people"))
    def people(self, row: Any) -> int:
        return int(row.size)

    # -- writing ----------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        if change:
            super().save_model(request, obj, form, change)
            return
        obj.pk = lists.make_list(workspace_id=obj.workspace_id, slug=obj.slug, name=obj.name).pk

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """To the page on which people are put on it."""
        return HttpResponseRedirect(page_of_list(obj.pk))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("<int:pk>/put-on/", view(self.put_on), name="segments_segmentlist_put_on"),
            path("<int:pk>/take-off/", view(self.take_off), name="segments_segmentlist_take_off"),
            path("by-hand/<int:segment>/<str:way>/", view(self.put_by_hand), name="segments_segmentlist_by_hand"),
        ]
        return [*own, *super().get_urls()]

    @method_decorator(require_POST)
    def put_on(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._load(request, pk, is_removal=False)

    @method_decorator(require_POST)
    def take_off(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._load(request, pk, is_removal=True)

    def _load(self, request: HttpRequest, pk: int, *, is_removal: bool) -> HttpResponse:
        """Lines that name nobody are told by number: what they hold may be personal."""
        row, asked, refused = row_to_change(self, request, pk), PeopleForm(request.POST, request.FILES), []
        if not asked.is_valid():
            self.message_user(
                request, "; ".join(str(one) for errors in asked.errors.values() for one in errors), messages.ERROR
            )
            return HttpResponseRedirect(page_of_list(pk))
        done = list_files.load(
            workspace_id=row.workspace_id, slug=row.slug, lines=asked.lines(), is_removal=is_removal,
            by=By(cast("User", request.user), asked.cleaned_data["reason"]), now=timezone.now(),
            refuse=lambda number, code: refused.append((number, code)),
        )  # fmt: skip
        wake(row.workspace_id)
        self.message_user(request, told_of(done, is_removal=is_removal), messages.SUCCESS)
        if refused:
            self.message_user(request, told_of_refused(refused), messages.WARNING)
        return HttpResponseRedirect(page_of_list(pk))

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.get_queryset(request).filter(pk=number_in(object_id)).first()
        shown = facts_about(found) if found else {}
        told = {"most": SHOWN_ENTRIES, "longest_reason": LONGEST_REASON}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **told, **shown})

    # -- in one segment -----------------------------------------------------------------------------------------------

    @method_decorator(require_POST)
    def put_by_hand(self, request: HttpRequest, segment: int, way: str) -> HttpResponse:
        """Somebody is put into a segment, kept out, or left to its rule again."""
        workspace, asked = workspace_of(request), ByHandForm(request.POST)
        if workspace is None or way not in WAYS or not request.user.has_perm("segments.change_segment"):
            raise PermissionDenied
        found = get_object_or_404(Segment.objects.filter(workspace=workspace), pk=segment)
        try:
            profile = list_files.person_named(workspace=workspace, text=asked.named())
        except TesseraError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            by = By(cast("User", request.user), asked.cleaned_data["reason"])
            is_new = WAYS[way](segment=found, profiles=[profile], by=by, now=timezone.now())
            wake(workspace.pk)
            self.message_user(request, gettext("Done.") if is_new else gettext("It was so already."), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:segments_segment_change", args=[segment]))


def facts_about(row: SegmentList) -> dict[str, Any]:
    sizes = lists.sizes_of(workspace_id=row.workspace_id, slugs=[row.slug])
    return {"list": row, "size": sizes.get(row.slug, 0), "entries": shown_entries(row.workspace_id, row.slug)}


def page_of_list(pk: int) -> str:
    return reverse("admin:segments_segmentlist_change", args=[pk])


def told_of(done: Loaded, *, is_removal: bool) -> str:
    if is_removal:
        return ngettext("%d person was taken off.", "%d people were taken off.", done.changed) % done.changed
    return ngettext("%d person was put on.", "%d people were put on.", done.changed) % done.changed


def told_of_refused(refused: Sequence[tuple[int, str]]) -> str:
    first = ", ".join(f"{number}: {code}" for number, code in sorted(refused)[:MOST_TOLD])
    told = ngettext("%(number)d line names nobody: %(first)s", "%(number)d lines name nobody: %(first)s", len(refused))
    return told % {"number": len(refused), "first": first + (" …" if len(refused) > MOST_TOLD else "")}


def wake(workspace_id: int) -> None:
    transaction.on_commit(partial(tasks.wake, Stage.SEGMENTS, workspace_id=workspace_id), robust=True)
