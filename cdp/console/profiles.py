"""People: found by what identifies them, shown with everything that is known and why."""

from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from cdp.admin import NAMING_TRAITS, LedgerAdmin, column, name_among, number_in, people_named, workspace_of
from cdp.console import person
from cdp.ingestion.corrections import corrections_of
from cdp.models import Profile, Trait, User
from identity import relations
from identity import services as identity
from identity.models import Judgement, Verdict

LIST_TRAITS = (*NAMING_TRAITS, "email", "city")


@admin.register(Profile)
class ProfileAdmin(LedgerAdmin):
    list_display = ("id", "shown_name", "shown_email", "shown_city", "shown_purposes", "created_at")
    list_display_links = ("id", "shown_name")
    search_fields = ("id",)
    search_help_text = _("type:value, for example email:ada@example.com or crm:id:4711, or the number of a profile")
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(merged_into=None)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        words, workspace = search_term.strip(), workspace_of(request)
        if words and workspace:
            queryset = queryset.filter(
                pk__in=person.profiles_named(
                    words, region=workspace.default_region, corrections=corrections_of(workspace.pk)
                )
            )
        return queryset, False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Fetch the traits that the list shows for the rows of this page: one query, however many people there are."""
        changes = super().get_changelist_instance(request)
        changes.result_list = with_traits(changes.result_list)
        return changes

    @column(description=_("name"))
    def shown_name(self, profile: Any) -> str:
        return name_among(profile.shown) or "–"

    @column(description=_("email"))
    def shown_email(self, profile: Any) -> str:
        return str(profile.shown.get("email", "–"))

    @column(description=_("city"))
    def shown_city(self, profile: Any) -> str:
        return str(profile.shown.get("city", "–"))

    @column(description=_("permits"))
    def shown_purposes(self, profile: Profile) -> str:
        return ", ".join(person.purposes_allowed(profile, timezone.now())) or "–"

    # -- the page of a person ---------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        undo = self.admin_site.admin_view(self.undo)
        return [path("<int:pk>/undo/<int:judgement>/", undo, name="cdp_profile_undo"), *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        profile = self._profile(request, object_id)
        if profile.merged_into_id:
            told = gettext("Profile %(old)s is part of this person.") % {"old": profile.pk}
            self.message_user(request, told, messages.INFO)
            return HttpResponseRedirect(reverse("admin:cdp_profile_change", args=[profile.merged_into_id]))
        context = {**self.admin_site.each_context(request), **(extra_context or {}), **self._facts(request, profile)}
        return TemplateResponse(request, "console/profile.html", context)

    @method_decorator(require_POST)
    def undo(self, request: HttpRequest, pk: int, judgement: int) -> HttpResponse:
        if not may_judge(request):
            raise PermissionDenied
        profile = self._profile(request, str(pk))
        found = {row.pk: row for row in person.judgements_on(person.identifiers_of(profile))}.get(judgement)
        if found is None:
            raise Http404
        self.message_user(request, undone(found, cast("User", request.user)), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:cdp_profile_change", args=[pk]))

    def _profile(self, request: HttpRequest, object_id: str) -> Profile:
        found = Profile.objects.filter(workspace=workspace_of(request), pk=number_in(object_id))
        profile = found.first()
        if profile is None:
            raise Http404
        return profile

    def _facts(self, request: HttpRequest, profile: Profile) -> dict[str, Any]:
        now = timezone.now()
        identifiers = person.identifiers_of(profile)
        return {
            "title": gettext("Profile %s") % profile.pk,
            "opts": self.opts,
            "original": profile,
            "name": people_named([profile.pk]).get(profile.pk, ""),
            "profile": profile,
            "identifiers": identifiers,
            "values": person.values_of(profile, identifiers),
            "computed": person.computed_of(profile, now),
            "events": person.events_of(identifiers),
            "memberships": person.memberships_of(profile),
            "scores": person.scores_of(profile),
            "decisions": person.decisions_for(profile, identifiers, now),
            "judgements": person.judgements_on(identifiers),
            "sent": person.sent_about(profile),
            "groups": relations.groups_of(profile.pk, at=now),
            "refusals": relations.refusals_about([one.pk for one in identifiers]),
            "may_judge": may_judge(request),
        }


def may_judge(request: HttpRequest) -> bool:
    return workspace_of(request) is not None and request.user.has_perm("identity.add_judgement")


def undone(judgement: Judgement, author: User) -> str:
    """Take a judgement back. Of a "same" its effect is undone: nothing of the merge is left. Says what will happen."""
    now, workspace_id = timezone.now(), judgement.workspace_id
    if judgement.verdict == Verdict.NOT_SAME:
        identity.retract(workspace_id=workspace_id, judgement_id=judgement.pk, author=author, now=now)
        return gettext("Taken back: the two may be found to be one person again.")
    identity.undo_merge(
        workspace_id=workspace_id, left_id=judgement.left_id, right_id=judgement.right_id, author=author, now=now
    )
    return gettext("The merge will be undone in a moment.")


def with_traits(profiles: Any) -> list[Any]:
    rows = list(profiles)
    found: dict[int, dict[str, str]] = {row.pk: {} for row in rows}
    traits = Trait.objects.filter(profile__in=found, name__in=LIST_TRAITS)
    for profile, name, value in traits.values_list("profile", "name", "value"):
        found[profile][name] = str(value)
    for row in rows:
        row.shown = found[row.pk]
    return rows
