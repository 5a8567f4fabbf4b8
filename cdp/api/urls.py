"""`/api/v1/…`: one module for each resource."""

from django.urls import path
from django.views.generic import View
from rest_framework.views import APIView

from cdp.api import (
    breaches,
    computed_traits,
    confirmations,
    consents,
    data_requests,
    description,
    files,
    identity,
    identity_rules,
    kpis,
    mentions,
    plans,
    preferences,
    profiles,
    quality,
    quarantine,
    receipts,
    register,
    relations,
    restrictions,
    review,
    segment_algebra,
    segment_changes,
    segment_lists,
    segment_members,
    segment_schema,
    segment_versions,
    segment_webhooks,
    segment_why,
    segments,
    signals,
    suppressions,
)

PERSON = "profiles/<path:identifier>"

# The longer paths first: the value of an identifier may hold a slash.
PROFILES: dict[str, type[APIView]] = {
    f"{PERSON}/traits": profiles.TraitsView,
    f"{PERSON}/identifiers": profiles.IdentifiersView,
    f"{PERSON}/identity": identity.PastView,
    f"{PERSON}/events": profiles.EventsView,
    f"{PERSON}/segments": profiles.SegmentsView,
    f"{PERSON}/consents": profiles.ConsentsView,
    f"{PERSON}/history": profiles.HistoryView,
    f"{PERSON}/relations": relations.RelationsView,
    f"{PERSON}/refusals": relations.RefusalsView,
    PERSON: profiles.ProfileView,
}
SEGMENTS: dict[str, type[APIView]] = {
    "segments": segments.SegmentsView,
    "segments/preview": segments.PreviewView,
    "segments/schema": segment_schema.RuleSchemaView,
    "segments/test": segment_algebra.TestView,
    "segments/algebra": segment_algebra.AlgebraView,
    "segments/overlap": segment_algebra.OverlapView,
    "segment-webhooks": segment_webhooks.WebhooksView,
    "segment-webhooks/<int:webhook>": segment_webhooks.WebhookView,
    "segment-webhooks/<int:webhook>/rotate": segment_webhooks.RotateView,
    "segment-webhooks/<int:webhook>/enable": segment_webhooks.EnableView,
    "segment-changes": segment_changes.ChangesOfAllView,
    "segment-changes/stream": segment_changes.StreamView,
    "segments/<slug:slug>": segments.SegmentView,
    "segments/<slug:slug>/versions": segment_versions.VersionsView,
    "segments/<slug:slug>/versions/<int:number>": segment_versions.VersionView,
    "segments/<slug:slug>/versions/<int:number>/live": segment_versions.LiveView,
    "segments/<slug:slug>/publication": segments.ProgressView,
    "segments/<slug:slug>/changes": segment_changes.ChangesView,
    "segments/<slug:slug>/members": segment_members.MembersView,
    "segments/<slug:slug>/export": segment_members.ExportView,
    "segments/<slug:slug>/by-hand": segment_lists.ByHandView,
    "segments/<slug:slug>/why/<path:profile>": segment_why.WhyView,
}
LISTS: dict[str, type[APIView]] = {
    "lists": segment_lists.ListsView,
    "lists/<slug:slug>": segment_lists.ListView,
    "lists/<slug:slug>/entries": segment_lists.EntriesView,
    "computed-traits": computed_traits.ComputedTraitsView,
    "computed-traits/<slug:slug>": computed_traits.ComputedTraitView,
}
KPIS: dict[str, type[APIView]] = {
    "kpis": kpis.KpisView,
    "kpis/<slug:kpi>": kpis.KpiView,
    "kpis/<slug:kpi>/versions/<int:number>": kpis.KpiVersionView,
    "segments/<slug:slug>/kpis": kpis.SegmentKpisView,
    "everybody/kpis": kpis.EverybodyKpisView,
    "kpi-watches": kpis.WatchesView,
    "kpi-watches/<int:watch>": kpis.WatchView,
    "kpi-alerts": kpis.AlertsView,
    "kpi-alerts/<int:alert>": kpis.AlertView,
}
CONSENT: dict[str, type[APIView]] = {
    "consents": consents.ConsentsView,
    "consents/withdrawals": consents.WithdrawalsView,
    "consents/effective": consents.EffectiveView,
    "consents/history": consents.HistoryView,
    "consents/requests": confirmations.RequestsView,
    "consents/confirm": confirmations.ConfirmView,
    "receipts/<int:record>": receipts.ReceiptView,
    "ledger/head": receipts.HeadView,
    "purposes": consents.PurposesView,
    "notices": consents.NoticesView,
    "notices/<slug:key>/versions": consents.NoticeVersionsView,
    "preference-links": preferences.LinksView,
    "signals/decode": signals.DecodeView,
    "suppressions": suppressions.SuppressionsView,
    "restrictions": restrictions.RestrictionsView,
}
ACCOUNTABILITY: dict[str, type[APIView]] = {
    "register/art30": register.RegisterView,
    "breaches": breaches.BreachesView,
    "breaches/<int:breach>": breaches.BreachView,
    "breaches/<int:breach>/authority": breaches.AuthorityView,
    "breaches/<int:breach>/affected": breaches.AffectedView,
}
REQUEST = "data-requests/<int:number>"
REQUESTS: dict[str, type[APIView]] = {
    "data-requests": data_requests.RequestsView,
    "data-requests/rights": data_requests.RightsView,
    REQUEST: data_requests.RequestView,
    f"{REQUEST}/code": data_requests.CodeView,
    f"{REQUEST}/verify": data_requests.VerifyView,
    f"{REQUEST}/results": data_requests.ResultsView,
    f"{REQUEST}/work": data_requests.WorkView,
    f"{REQUEST}/answer": data_requests.AnswerView,
    **{f"{REQUEST}/{step}": view for step, view in {**data_requests.STEPS, **mentions.VIEWS}.items()},
}
QUARANTINE: dict[str, type[APIView]] = {
    "quarantine": quarantine.ItemsView,
    "quarantine/preview": quarantine.PreviewView,
    "quarantine/replays": quarantine.ReplaysView,
    "quarantine/discards": quarantine.DiscardsView,
    "quarantine/runs/<int:run>": quarantine.RunView,
    "quarantine/<int:item>": quarantine.ItemView,
}
FILES: dict[str, type[APIView]] = {
    "files": files.FilesView,
    "files/<int:run>": files.LoadView,
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
IDENTITY: dict[str, type[APIView]] = {
    "identity/rules": identity_rules.RulesView,
    "identity/rules/preview": identity_rules.RulesPreviewView,
    "identity/set-aside": identity_rules.SetAsideView,
    "identity/survivorship": identity_rules.SurvivorshipView,
    "identity/survivorship/preview": identity_rules.SurvivorshipPreviewView,
    "identity/undo": identity.UndoView,
    "identity/undo/preview": identity.UndoPreviewView,
}
REVIEW: dict[str, type[APIView]] = {
    "review/next": review.NextView,
    "review/undo": review.UndoView,
    "review/statistics": review.StatisticsView,
    "review/<int:pair>/judge": review.JudgeView,
    "review/<int:pair>/skip": review.SkipView,
}
OPEN: dict[str, type[View]] = {"schema": description.SchemaView}

urlpatterns = [
    *(
        path(route, view.as_view())
        for routes in (
            PROFILES,
            SEGMENTS,
            LISTS,
            KPIS,
            CONSENT,
            ACCOUNTABILITY,
            REQUESTS,
            QUARANTINE,
            FILES,
            SOURCES,
            IDENTITY,
            REVIEW,
            OPEN,
        )
        for route, view in routes.items()
    ),
    path("data-packages/<str:token>", data_requests.PackageView.as_view(), name="data_package"),
    path("docs", description.docs),
]
