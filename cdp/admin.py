"""What all pages of the console share: one workspace, bounded counts, and ledgers that are only read.

Row-level security hides the rows of other workspaces already. Some tables have none, because they are read before a
workspace is known (keys, members, the outbox), so every page also asks for its workspace itself.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, ClassVar, TypeVar, cast

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import ForeignKey, Model, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from cdp.models import Trait, Workspace

MOST_COUNTED = 10_000


Method = TypeVar("Method", bound=Callable[..., Any])


def column(
    *,
    description: Any,
    label: Mapping[Any, str] | None = None,
    ordering: str | None = None,
    boolean: bool | None = None,
) -> Callable[[Method], Method]:
    """A method of a page as a column of its list or a field of its form; `label` gives texts a colour in the list."""
    shown = display(description=description, label=label, ordering=ordering, boolean=boolean)

    def made(method: Method) -> Method:
        return cast("Method", shown(_labelled(method) if label else method))

    return made


class Labelled(tuple[str, Any]):
    """What decides the colour, and the words: a form, which has no colours, shows the words."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(self[1])


def _labelled(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def labelled(*given: Any) -> Any:
        value = method(*given)
        return Labelled(value) if isinstance(value, tuple) else value

    return labelled


def workspace_of(request: HttpRequest) -> Workspace | None:
    """The workspace that the console's middleware chose; none for a user who is a member of no workspace."""
    return getattr(request, "workspace", None)


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # has no parameters at run time
    """Counts no further than anybody would turn pages: a list of ten million rows opens as fast as one of ten."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return rows.order_by()[:MOST_COUNTED].count()
        return len(rows)


class WorkspaceForm(forms.ModelForm):  # type: ignore[type-arg]  # has no parameters at run time
    """The workspace is never a field: the form sets it, and unique constraints are checked with it."""

    workspace: ClassVar[Workspace | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None and self.workspace is not None:
            self.instance.workspace = self.workspace

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # not in the stubs
        return excluded - {"workspace"}


class WorkspaceAdmin(ModelAdmin):
    """Pages of the rows of one workspace."""

    form = WorkspaceForm
    workspace_path = "workspace"
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_filter_submit = False
    save_as_continue = False
    fixed_fields: tuple[str, ...] = ()  # written once: read-only as soon as the row exists

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.filter(**{self.workspace_path: workspace_of(request)})

    def get_exclude(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return [*(super().get_exclude(request, obj) or ()), "workspace"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), *(self.fixed_fields if obj else ()))

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002  # Django's signature
        form = super().get_form(request, obj, change, **kwargs)
        form.workspace = workspace_of(request)
        return form

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", choices_in_workspace(db_field, workspace_of(request)))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return workspace_of(request) is not None and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return workspace_of(request) is not None and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return workspace_of(request) is not None and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return workspace_of(request) is not None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return workspace_of(request) is not None and super().has_delete_permission(request, obj)


class KeptAdmin(WorkspaceAdmin):
    """Rows that may be changed and are never deleted: others refer to them."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class LedgerAdmin(KeptAdmin):
    """Rows that are only read, because nobody or only the machinery writes them."""

    actions: "tuple[str, ...] | None" = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def choices_in_workspace(field: "ForeignKey[Any, Any]", workspace: Workspace | None) -> QuerySet[Any]:
    rows: QuerySet[Any] = field.remote_field.model._default_manager.all()  # noqa: SLF001  # Django's documented name
    names = {candidate.name for candidate in rows.model._meta.get_fields()}  # noqa: SLF001  # likewise
    return rows.filter(workspace=workspace) if "workspace" in names else rows


class WorkspaceRelatedFilter(admin.RelatedFieldListFilter):
    """Offers only what the workspace has."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(row.pk, str(row)) for row in choices_in_workspace(field, workspace_of(request))[:200]]


def row_to_change(page: WorkspaceAdmin, request: HttpRequest, pk: int) -> Any:
    """The row, if it is of this workspace and the user may change it: for the buttons of a page."""
    row = get_object_or_404(page.get_queryset(request), pk=pk)
    if not page.has_change_permission(request, row):
        raise PermissionDenied
    return row


def number_in(object_id: str) -> int:
    """The key that a path names; 0, which no row has, when it is none."""
    return int(object_id) if object_id.isdecimal() and len(object_id) < 19 else 0


def preformatted(text: str) -> SafeString:
    return format_html('<pre class="console-raw">{}</pre>', text)


def profile_link(profile_id: int) -> SafeString:
    return format_html(
        '<a href="{}" class="console-link">{}</a>', reverse("admin:cdp_profile_change", args=[profile_id]), profile_id
    )


NAMING_TRAITS = ("full_name", "given_name", "surname", "organisation")


def people_named(profile_ids: Iterable[int]) -> dict[int, str]:
    """The names of these people, as far as they are known: one query for a whole list."""
    known: dict[int, dict[str, str]] = {}
    traits = Trait.objects.filter(profile__in=list(profile_ids), name__in=NAMING_TRAITS)
    for profile, name, value in traits.values_list("profile", "name", "value"):
        known.setdefault(profile, {})[name] = str(value)
    return {profile: name_among(values) for profile, values in known.items()}


def name_among(values: Mapping[str, str]) -> str:
    both = " ".join(values[part] for part in ("given_name", "surname") if values.get(part))
    return values.get("full_name") or both or values.get("organisation", "")
