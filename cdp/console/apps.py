from importlib import import_module

from django.contrib.admin.apps import AdminConfig

PAGES = (
    "controllers", "corrections", "sources", "connections", "data_requests", "identity_rules", "keys", "linkage_models", "plans", "profiles", "quality",
    "quarantine", "restrictions", "review", "runs", "signals", "suppressions", "uploads", "users",
)  # fmt: skip


class ConsoleConfig(AdminConfig):
    """The pages of the core tables are here; every other app registers its own in its `admin` module."""

    default_site = "cdp.console.site.ConsoleSite"

    def ready(self) -> None:
        super().ready()
        for page in PAGES:
            import_module(f"cdp.console.{page}")
