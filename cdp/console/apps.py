from importlib import import_module

from django.contrib.admin import autodiscover
from django.contrib.admin.apps import SimpleAdminConfig

PAGES = (
    "computed_traits", "controllers", "corrections", "sources", "connections", "data_requests", "identity_rules", "keys", "kpis", "linkage_models", "plans", "profiles", "quality",
    "quarantine", "restrictions", "review", "runs", "segment_lists", "segment_webhooks", "signals", "suppressions", "uploads", "users",
)  # fmt: skip


class ConsoleConfig(SimpleAdminConfig):
    """The console's pages are loaded with the paths (`cdp.urls`): commands and workers serve none."""

    default_site = "cdp.console.site.ConsoleSite"


def load_pages() -> None:
    """The pages of the core tables are here; every other app registers its own in its `admin` module."""
    autodiscover()
    for page in PAGES:
        import_module(f"cdp.console.{page}")
