"""The officer's pages of people who are known by digests, and of what signals mean."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from consent import restriction, services, suppression
from consent.models import ConsentRecord, ConsentSettings, ConsentString, Restriction, SignalMapping, Suppression
from tests.factories.filled import console_user
from tests.factories.signals import tc_core, tc_vendors

ADA = Identifier("email", "ada@example.com")


@pytest.fixture
def client(workspace, as_login):
    return client_of(console_user(workspace), as_login)


def client_of(user, as_login):
    made = Client()
    made.force_login(user)
    as_login("web")
    return made


@pytest.fixture
def reader(workspace, as_login):
    """Who may look and change nothing."""
    user = console_user(workspace, "reader", is_superuser=False)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_suppression", "view_restriction", "view_signalmapping"])
    )
    return client_of(user, as_login)


def type_in(client, model, deed, identifier="email:Ada@Example.com ", **more):
    return client.post(
        reverse(f"admin:consent_{model}_typed", args=[deed]), {"identifier": identifier, **more}, follow=True
    )


def told(answer):
    return [str(message) for message in answer.context["messages"]]


# -- suppression ----------------------------------------------------------------------------------------------------


def test_suppression__is_put_found_and_lifted__with_a_reason(client, workspace, as_login):
    assert told(type_in(client, "suppression", "find")) == ["It is not on the list."]

    put = type_in(client, "suppression", "put", reason="asked by phone", until="2027-01-01")
    assert told(put) == [
        "Nobody with this identifier is stored any more. What is stored already stays until it is erased."
    ]
    (found,) = told(type_in(client, "suppression", "find", identifier="email:ada@example.com"))
    assert found.endswith("until 2027-01-01: entered by an operator.")

    lifted = type_in(client, "suppression", "lift", reason="asked to be stored again")
    assert told(lifted) == ["Whoever has this identifier may be stored again."]
    as_login("none")
    assert Suppression.objects.count() == 0
    assert list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True)) == [
        "asked by phone", "asked to be stored again",
    ]  # fmt: skip


def test_suppression__shows_nobody_in_clear(client, workspace):
    suppression.suppress(workspace_id=workspace.pk, identifier=ADA, now=workspace.created_at)

    page = type_in(client, "suppression", "find")

    assert "ada@example.com" not in page.text.replace('placeholder="email:ada@example.com"', "").lower()
    assert bytes(Suppression.objects.get().identifier_digest).hex()[:12] in page.text


@pytest.mark.parametrize("deed", ["put", "lift"])
@pytest.mark.parametrize("model", ["suppression", "restriction"])
def test_deed__without_a_reason__does_nothing(client, model, deed, as_login):
    answer = type_in(client, model, deed, reason=" ")

    assert told(answer) == ["Say why: whoever reads the history later will ask."]
    as_login("none")
    assert (Suppression.objects.count(), Restriction.objects.count(), LogEntry.objects.count()) == (0, 0, 0)


@pytest.mark.parametrize("identifier", ["ada", "email:null", "email:", "x" * 601])
def test_deed__for_what_identifies_nobody__does_nothing(client, identifier, as_login):
    answer = type_in(client, "suppression", "put", identifier=identifier, reason="asked")

    assert len(told(answer)) == 1
    as_login("none")
    assert Suppression.objects.count() == 0


@pytest.mark.parametrize(("model", "deed"), [(m, d) for m in ("suppression", "restriction") for d in ("put", "lift")])
def test_deed__of_whoever_may_only_look__is_refused(reader, model, deed, as_login):
    assert type_in(reader, model, "find").status_code == 200

    answer = type_in(reader, model, deed, reason="because")

    assert answer.status_code == 403
    as_login("none")
    assert (Suppression.objects.count(), Restriction.objects.count()) == (0, 0)


def test_page__of_whoever_may_only_look__offers_no_deed(reader):
    text = reader.get(reverse("admin:consent_suppression_changelist")).text

    assert 'id="find"' in text
    assert 'id="put"' not in text
    assert 'id="lift"' not in text


@pytest.mark.parametrize("deed", ["destroy", "__class__"])
def test_deed__that_there_is_not__is_refused(client, deed):
    assert type_in(client, "suppression", deed).status_code == 403


# -- restriction ----------------------------------------------------------------------------------------------------


def test_restriction__and_objection__are_put_found_and_lifted_apart(client, workspace, as_login):
    type_in(client, "restriction", "put", reason="contests the data")
    type_in(client, "restriction", "put", reason="no more adverts", purpose="advertising")

    (found,) = told(type_in(client, "restriction", "find"))
    assert found.startswith("restriction (Art. 18): every purpose (")
    assert "objection (Art. 21): advertising (" in found

    assert told(type_in(client, "restriction", "lift", reason="settled")) == ["It is lifted."]
    as_login("none")
    assert list(Restriction.objects.filter(lifted_at=None).values_list("denies", flat=True)) == [
        Purpose.ADVERTISING.bit
    ]  # fmt: skip
    as_login("web")
    assert told(type_in(client, "restriction", "lift", reason="settled")) == ["There was nothing to lift."]


def test_restriction__of_an_earlier_pepper__is_found(client, workspace, settings):
    restriction.deny(workspace_id=workspace.pk, identifier=ADA, now=workspace.created_at)
    settings.IDENTIFIER_PEPPERS_BEFORE = [settings.IDENTIFIER_PEPPER]
    settings.IDENTIFIER_PEPPER = "another one"

    (found,) = told(type_in(client, "restriction", "find"))

    assert found.startswith("restriction (Art. 18)")


# -- signals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "category"), [("CATEGORY", "Marketing"), ("TCF", "4"), ("OPT_OUT", "sale"), ("GPC", "")]
)
def test_signal__is_mapped_and_deleted(client, workspace, kind, category, as_login):
    added = {"kind": kind, "category": category, "purpose": "advertising"}

    client.post(reverse("admin:consent_signalmapping_add"), added)

    kept = SignalMapping.objects.get()
    assert (kept.kind, kept.category, kept.purpose) == (kind, category, "advertising")
    client.post(reverse("admin:consent_signalmapping_delete", args=[kept.pk]), {"post": "yes"})
    assert not SignalMapping.objects.exists()


@pytest.mark.parametrize(("kind", "category"), [("CATEGORY", ""), ("TCF", "12"), ("OPT_OUT", "all"), ("GPC", "x")])
def test_signal__that_cannot_be__is_refused_with_the_reason(client, workspace, kind, category):
    answer = client.post(
        reverse("admin:consent_signalmapping_add"), {"kind": kind, "category": category, "purpose": "advertising"}
    )

    assert answer.context["adminform"].form.errors.get("category")
    assert not SignalMapping.objects.exists()


def try_event(client, text):
    return client.post(reverse("admin:consent_signalmapping_try"), {"event": text}).text


def test_preview__says_what_an_event_would_record_and_records_nothing(client, workspace):
    services.map_signal(workspace_id=workspace.pk, kind="CATEGORY", category="Marketing", purpose=Purpose.ADVERTISING)
    services.map_signal(workspace_id=workspace.pk, kind="TCF", category="4", purpose=Purpose.ANALYTICS)
    services.configure_consent(workspace_id=workspace.pk, vendor_id=7)
    string = f"{tc_core(consents=(1, 4), vendors=(7,))}.{tc_vendors(1, (7,))}"

    text = try_event(
        client,
        f'{{"context": {{"consent": {{"categoryPreferences": {{"Marketing": false}}, "tcString": "{string}"}}}}}}',
    )

    assert "REFUSED</span> advertising" in text
    assert "GIVEN</span> analytics" in text
    assert (ConsentRecord.objects.count(), ConsentString.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "This is no JSON."),
        ("[1]", "No signal of this event is mapped"),
        ('{"consent": {"tcString": "!"}}', "cannot be read at character 0"),
        ("[" * 30_000, "This is no JSON."),
    ],
)
def test_preview__of_what_says_nothing__says_why(client, text, words):
    assert words in try_event(client, text)


def test_settings__are_one_row_with_the_vendor(client, workspace):
    added = {"confirmation_hours": "72", "vendor_id": "755"}

    client.post(reverse("admin:consent_consentsettings_add"), added)

    assert ConsentSettings.objects.get().vendor_id == 755
    assert client.post(reverse("admin:consent_consentsettings_add"), added).status_code == 403
