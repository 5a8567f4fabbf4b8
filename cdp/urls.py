"""All paths. The console is for people, everything else for machines and answers JSON (cdp/api/problems.py)."""

from django.contrib import admin
from django.urls import include, path

from cdp.api import health, opendsr, preferences, receipts, signals, webhooks
from cdp.api.tracking import paths as tracking
from cdp.console.apps import load_pages

load_pages()

urlpatterns = [
    *tracking.urlpatterns,
    path("api/v1/", include("cdp.api.urls")),
    path("console/", admin.site.urls),
    path("health/live", health.live),
    path("health/ready", health.ready),
    path(".well-known/gpc.json", signals.gpc_support),
    path("metrics", health.metrics),
    path(".well-known/consent-receipts/<slug:workspace>/jwks.json", receipts.public_keys),
    *webhooks.urlpatterns,
    *preferences.urlpatterns,
    *opendsr.urlpatterns,
]
