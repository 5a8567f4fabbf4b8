from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "cdp"
    verbose_name = "Tessera"

    def ready(self) -> None:
        # Loaded here and not in cdp/__init__.py: otherwise every pure import would load Celery.
        from cdp import celery  # noqa: F401, PLC0415  # as said above
