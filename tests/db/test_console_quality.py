"""The pages of quality reports, as the login `web` serves them."""

import pytest
from django.test import Client
from django.urls import reverse

from cdp.models import QualityReport, QualityThresholds, Source
from tests.factories.filled import console_user, fill


@pytest.fixture
def client(workspace, now, as_login):
    user = console_user(workspace)
    fill(workspace, user, now)
    as_login("web")
    return client_of(user)


def client_of(user):
    client = Client()
    client.force_login(user)
    return client


def page_of(report):
    return reverse("admin:cdp_qualityreport_change", args=[report.pk])


def test_page__shows_alerts_columns_and_history(client):
    newest = QualityReport.objects.order_by("-pk").first()

    shown = client.get(page_of(newest))

    (part,) = shown.context["parts"]
    assert [(alert["kind"], alert["column"]) for alert in part["alerts"]] == [
        ("ks", "amount"),
        ("missing_change", "currency"),
    ]
    assert [each.pk for each, _ in shown.context["history"]] == sorted(
        QualityReport.objects.values_list("pk", flat=True)
    )
    columns = {column["name"]: column for column in part["columns"]}
    assert len(columns["amount"]["bars"]) == 20
    assert columns["currency"]["most"][0] == {"value": "EUR", "count": 100, "percent": 66.7}
    assert "numbers moved" in shown.text


def test_page__in_french__is_written_as_french_is(client):
    client.cookies["django_language"] = "fr"

    assert "25,0 %" in client.get(page_of(QualityReport.objects.order_by("-pk").first())).text


def test_thresholds__are_changed_in_their_form(client):
    known = QualityThresholds.objects.get()
    values = dict.fromkeys(("missing_change", "ks_statistic", "ks_p", "category_change", "outlier_share", "duplicate_share", "rows_change"), "0.25")  # fmt: skip

    client.post(reverse("admin:cdp_qualitythresholds_change", args=[known.pk]), values)

    known.refresh_from_db()
    assert (known.ks_p, known.rows_change) == (0.25, 0.25)


def test_thresholds__of_a_source_without__begin_with_the_usual_ones(client):
    crm = Source.objects.get(name="crm")

    form = client.get(reverse("admin:cdp_qualitythresholds_add"), {"source": crm.pk}).context["adminform"].form

    assert form.initial["source"] == crm.pk
    assert form["missing_change"].value() == 0.05
