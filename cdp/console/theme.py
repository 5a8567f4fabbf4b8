"""How the console looks, and what its side bar offers (the setting UNFOLD)."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse, reverse_lazy
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


def _item(title: Promise | str, icon: str, page: str) -> dict[str, Any]:
    """A line of the side bar, shown to whoever may see the page: `page` is app_model, or `index`."""
    if page == "index":
        return {"title": title, "icon": icon, "link": reverse_lazy("admin:index")}
    app, model = page.split("_")

    def may_see(request: HttpRequest) -> bool:
        return request.user.has_perm(f"{app}.view_{model}")

    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{page}_changelist"),
        "permission": may_see,
    }


def _stylesheet(_request: HttpRequest) -> str:
    return static("console/console.css")


def _icon(_request: HttpRequest) -> str:
    return static("console/tessera.svg")


def _set_language(_request: HttpRequest) -> str:
    return reverse("admin:set_language")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Tessera",
    "SITE_HEADER": "Tessera",
    "SITE_SUBHEADER": "cdp.console.workspaces.name_of_workspace",
    "SITE_DROPDOWN": "cdp.console.workspaces.other_workspaces",
    "SITE_ICON": _icon,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "SITE_URL": None,
    "SHOW_LANGUAGES": True,
    "LANGUAGES": {"action": _set_language},
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "cdp.console.home.fill_home",
    "STYLES": [_stylesheet],
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.5% .013 195)",
            "100": "oklch(94.5% .03 195)",
            "200": "oklch(89.5% .055 195)",
            "300": "oklch(82% .085 195)",
            "400": "oklch(72% .105 195)",
            "500": "oklch(62% .105 195)",
            "600": "oklch(52.5% .092 197)",
            "700": "oklch(45% .078 200)",
            "800": "oklch(38.5% .064 203)",
            "900": "oklch(33% .052 206)",
            "950": "oklch(24% .04 210)",
        }
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {"items": [_item(_("Home"), "home", "index")]},
            {
                "title": _("People"),
                "separator": True,
                "items": [
                    _item(_("Profiles"), "person", "cdp_profile"),
                    _item(_("Pairs to review"), "compare_arrows", "identity_reviewpair"),
                    _item(_("Judgements"), "gavel", "identity_judgement"),
                    _item(_("Identity rules"), "rule", "identity_identityrules"),
                    _item(_("Golden record"), "verified", "identity_survivorshiprule"),
                    _item(_("Linkage models"), "model_training", "identity_linkagemodel"),
                ],
            },
            {
                "title": _("Segments"),
                "separator": True,
                "items": [
                    _item(_("Segments"), "group_work", "segments_segment"),
                    _item(_("Lists of people"), "list_alt", "segments_segmentlist"),
                    _item(_("Computed traits"), "function", "segments_computedtrait"),
                    _item(_("Figures"), "query_stats", "segments_kpi"),
                    _item(_("Watches over figures"), "visibility", "segments_kpiwatch"),
                    _item(_("Alerts on figures"), "notifications", "segments_kpialert"),
                    _item(_("Learned models"), "bubble_chart", "segments_learnedmodel"),
                    _item(_("Webhooks"), "webhook", "segments_segmentwebhook"),
                ],
            },
            {
                "title": _("Activation"),
                "separator": True,
                "items": [
                    _item(_("Destinations"), "send", "activation_destination"),
                    _item(_("Audiences"), "campaign", "activation_audience"),
                    _item(_("Sync runs"), "sync", "activation_syncrun"),
                ],
            },
            {
                "title": _("Consent"),
                "separator": True,
                "items": [
                    _item(_("Requests of people"), "contact_mail", "consent_datarequest"),
                    _item(_("Purposes"), "verified_user", "consent_purposepolicy"),
                    _item(_("Consent ledger"), "receipt_long", "consent_consentrecord"),
                    _item(_("Notices"), "description", "consent_notice"),
                    _item(_("Signals"), "cell_tower", "consent_signalmapping"),
                    _item(_("Consent strings"), "data_object", "consent_consentstring"),
                    _item(_("How consent is asked"), "tune", "consent_consentsettings"),
                    _item(_("Suppressions"), "person_off", "consent_suppression"),
                    _item(_("Restrictions"), "pan_tool", "consent_restriction"),
                    _item(_("Breaches"), "gpp_maybe", "consent_breach"),
                    _item(_("Affected people"), "groups", "consent_breachevidence"),
                    _item(_("Retention periods"), "auto_delete", "consent_retentionperiod"),
                    _item(_("Deletions"), "delete_history", "consent_retentionevidence"),
                    _item(_("Controller"), "apartment", "consent_controllerdetails"),
                    _item(_("Controllers (OpenDSR)"), "swap_horiz", "consent_dsrcontroller"),
                    {
                        **_item(_("Register"), "menu_book", "consent_controllerdetails"),
                        "link": reverse_lazy("admin:register"),
                    },
                ],
            },
            {
                "title": _("Data"),
                "separator": True,
                "items": [
                    _item(_("Sources"), "input", "cdp_source"),
                    _item(_("Files"), "upload_file", "cdp_upload"),
                    _item(_("Corrections"), "spellcheck", "cdp_correction"),
                    _item(_("Connections"), "cable", "cdp_connection"),
                    _item(_("Tracking plans"), "checklist", "cdp_trackingplanversion"),
                    _item(_("Data quality"), "monitoring", "cdp_qualityreport"),
                    _item(_("Quarantine"), "report", "cdp_quarantineditem"),
                    _item(_("Set aside"), "pause_circle", "cdp_outboxrow"),
                    _item(_("Runs"), "history", "cdp_run"),
                    _item(_("Look-ups"), "travel_explore", "enrichment_lookup"),
                ],
            },
            {
                "title": _("Access"),
                "separator": True,
                "items": [
                    _item(_("Users"), "manage_accounts", "cdp_user"),
                    _item(_("API keys"), "key", "cdp_apikey"),
                ],
            },
        ],
    },
}
