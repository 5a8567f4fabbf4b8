"""`/api/v1/…`: one module for each resource."""

from django.urls import path
from django.views.generic import View
from rest_framework.views import APIView

from cdp.api import consents, description, plans, profiles, quality, quarantine, restrictions, segments, suppressions

PERSON = "profiles/<path:identifier>"

# The longer paths first: the value of an identifier may hold a slash.
PROFILES: dict[str, type[APIView]] = {
    f"{PERSON}/traits": profiles.TraitsView,
    f"{PERSON}/identifiers": profiles.IdentifiersView,
    f"{PERSON}/events": profiles.EventsView,
    f"{PERSON}/segments": profiles.SegmentsView,
    f"{PERSON}/consents": profiles.ConsentsView,
    f"{PERSON}/history": profiles.HistoryView,
    PERSON: profiles.ProfileView,
}
SEGMENTS: dict[str, type[APIView]] = {
    "segments": segments.SegmentsView,
    "segments/preview": segments.PreviewView,
    "segments/<slug:slug>": segments.SegmentView,
    "segments/<slug:slug>/versions": segments.VersionsView,
    "segments/<slug:slug>/members": segments.MembersView,
    "segments/<slug:slug>/why/<path:profile>": segments.WhyView,
}
CONSENT: dict[str, type[APIView]] = {
    "consents": consents.ConsentsView,
    "purposes": consents.PurposesView,
    "notices": consents.NoticesView,
    "suppressions": suppressions.SuppressionsView,
    "restrictions": restrictions.RestrictionsView,
}
QUARANTINE: dict[str, type[APIView]] = {
    "quarantine": quarantine.ItemsView,
    "quarantine/preview": quarantine.PreviewView,
    "quarantine/replays": quarantine.ReplaysView,
    "quarantine/discards": quarantine.DiscardsView,
    "quarantine/runs/<int:run>": quarantine.RunView,
    "quarantine/<int:item>": quarantine.ItemView,
}
PLAN = "sources/<slug:source>/tracking-plan"
SOURCES: dict[str, type[APIView]] = {
    PLAN: plans.TrackingPlanView,
    f"{PLAN}/versions": plans.VersionsView,
    f"{PLAN}/versions/<int:number>": plans.VersionView,
    f"{PLAN}/versions/<int:number>/live": plans.LiveView,
    f"{PLAN}/violations": plans.ViolationsView,
    "sources/<slug:source>/quality": quality.NewestView,
    "sources/<slug:source>/quality/reports": quality.ReportsView,
    "sources/<slug:source>/quality/reports/<int:report>": quality.ReportView,
    "sources/<slug:source>/quality/thresholds": quality.ThresholdsView,
}
OPEN: dict[str, type[View]] = {"schema": description.SchemaView}

urlpatterns = [
    *(
        path(route, view.as_view())
        for routes in (PROFILES, SEGMENTS, CONSENT, QUARANTINE, SOURCES, OPEN)
        for route, view in routes.items()
    ),
    path("docs", description.docs),
]
