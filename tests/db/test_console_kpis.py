"""The pages of figures, as the login `web` serves them."""

import pytest
from django.test import Client
from django.urls import reverse

from segments.models import Kpi, KpiAlert, KpiWatch
from tests.factories.filled import console_user, fill

FIGURES = reverse("admin:segments_kpi_figures", args=["buyers"])


@pytest.fixture
def filled(workspace, now, as_login):
    user = console_user(workspace)
    fill(workspace, user, now)
    as_login("web")
    return user


@pytest.fixture
def client(filled):
    return client_of(filled)


def client_of(user):
    client = Client()
    client.force_login(user)
    return client


def test_figures__are_drawn_with_what_they_mean(client, now):
    shown = client.get(FIGURES, {"with": "*"})

    panels = {panel.name: panel for panel in shown.context["panels"]}
    conversion = panels["Conversion"]
    assert [row.value for row in conversion.rows] == ["12 %", "–", "20 %", "25 %"]
    assert [row.other for row in conversion.rows] == ["10 %", "10 %", "10 %", "10 %"]
    assert (conversion.newest, conversion.rows[0].share, conversion.rows[0].people) == ("12 %", "12 / 100", "100")
    assert [len(conversion.chart.own.dots), len(conversion.chart.own.pieces), len(conversion.chart.other.dots)] == [
        3,
        1,
        4,
    ]
    assert "the share that did “Order Completed” in it" in shown.text
    assert "withheld: too few people" in shown.text
    assert shown.text.count('<svg class="console-chart"') == 2


def test_figures__of_another_period_or_nothing__say_so(client):
    assert "No figure has this period." in client.get(FIGURES, {"period": "DAY"}).text
    assert client.get(reverse("admin:segments_kpi_figures", args=["nothing"])).status_code == 404


def test_figures__in_french__are_written_as_french_is(client):
    client.cookies["django_language"] = "fr"

    assert '<html lang="fr"' in client.get(FIGURES).text


def test_figures__as_a_file__are_csv(client):
    answer = client.get(FIGURES, {"file": "csv"})

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.text.splitlines()[1].startswith("buyers,conversion,1,MONTH,")


def test_figures__for_a_member_without_permissions__are_refused(filled, workspace):
    reader = client_of(console_user(workspace, "reader", is_superuser=False))

    assert reader.get(FIGURES).status_code == 403
    assert reader.post(reverse("admin:segments_kpi_ready_made")).status_code == 403


def test_definition__when_changed__is_another_version(client):
    kpi = Kpi.objects.get(slug="conversion")
    form = {"name": "Sales", "definition": '{"kind": "CONVERSION", "event": "Sale"}', "is_used": "on"}

    client.post(reverse("admin:segments_kpi_change", args=[kpi.pk]), form)

    kpi.refresh_from_db()
    assert (kpi.name, kpi.live_version.number, kpi.live_version.definition["event"]) == ("Sales", 2, "Sale")
    assert kpi.live_version.author.username == "steward"
    client.post(reverse("admin:segments_kpi_change", args=[kpi.pk]), {**form, "is_used": ""})
    kpi.refresh_from_db()
    assert (kpi.archived_at is not None, kpi.live_version.number) == (True, 2)


@pytest.mark.parametrize("text", ['{"kind": "LUCK"}', "no JSON", '{"kind": "SIZE", "period": "YEAR"}'])
def test_definition__with_a_mistake__is_not_saved(client, text):
    answer = client.post(reverse("admin:segments_kpi_add"), {"name": "New", "slug": "new", "definition": text})

    assert answer.context["adminform"].form.errors.keys() == {"definition"}
    assert Kpi.objects.count() == 2


def test_ready_made__are_made_once_by_a_button(workspace, as_login):
    client = client_of(console_user(workspace))
    as_login("web")
    before = client.get(reverse("admin:segments_kpi_changelist")).text

    for _ in range(2):
        client.post(reverse("admin:segments_kpi_ready_made"))

    after = client.get(reverse("admin:segments_kpi_changelist")).text
    assert ("Make the usual figures" in before, "Make the usual figures" in after) == (True, False)
    assert (Kpi.objects.count(), "Sales-cycle length" in after) == (10, True)


def test_watch__is_made_in_its_form_and_its_key_is_not_shown(client):
    kpi = Kpi.objects.get(slug="size")
    form = {"kpi": kpi.pk, "significance": "0.01", "minimum_effect": "0.2", "periods": "8", "signing_key": "secret-key", "is_on": "on"}  # fmt: skip

    client.post(reverse("admin:segments_kpiwatch_add"), form)

    watch = KpiWatch.objects.get(kpi=kpi)
    assert (watch.minimum_effect, watch.periods, watch.secrets is not None) == (0.2, 8, True)
    assert "secret-key" not in client.get(reverse("admin:segments_kpiwatch_change", args=[watch.pk])).text


def test_alert__is_seen_and_closed_by_buttons(client, filled, workspace):
    alert = KpiAlert.objects.get()
    reader = client_of(console_user(workspace, "reader", is_superuser=False))

    assert reader.post(reverse("admin:segments_kpialert_mark", args=[alert.pk, "CLOSED"])).status_code == 403
    assert client.post(reverse("admin:segments_kpialert_mark", args=[alert.pk, "GONE"])).status_code == 403
    client.post(reverse("admin:segments_kpialert_mark", args=[alert.pk, "SEEN"]))

    alert.refresh_from_db()
    assert alert.state == "SEEN"
    assert "strayed" not in client.get(FIGURES).text
