"""A person's own page: whoever has the link decides, both languages, nothing without the link."""

from datetime import timedelta
from html.parser import HTMLParser

import pytest
import time_machine

from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models import Identifier as Identifiers
from consent import preferences, queries
from consent.models import ConsentRecord, ConsentState, PurposePolicy
from tests.factories import IdentifierFactory, say

ADA = Identifier("email", "ada@example.com")


@pytest.fixture
def address(workspace, now):
    token, _ = preferences.link_for(ADA, workspace_id=workspace.pk, now=now)
    return f"/preferences/{token}"


@pytest.fixture(autouse=True)
def at_noon(now):
    with time_machine.travel(now, tick=False):
        yield


class Form(HTMLParser):
    """What a browser without JavaScript would send: the radio buttons that are on, and the buttons there are."""

    def __init__(self, html):
        super().__init__()
        self.fields, self.buttons = {}, []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        if tag == "input" and "checked" in has:
            self.fields[has["name"]] = has["value"]
        if tag == "button":
            self.buttons.append(has["value"])


def form(answer):
    return Form(answer.content.decode())


def said():
    return list(ConsentRecord.objects.order_by("pk").values_list("purpose", "state", "is_verified"))


def allowed(workspace, now):
    answers = queries.explain_all(workspace_id=workspace.pk, identifier=ADA, now=now)
    return {purpose.value for purpose in Purpose if purpose.is_gated and answers[purpose].decision.allowed}


ALL = ["identity", "enrichment", "segmentation", "learning", "advertising", "analytics"]


def test_page__before_anything_was_said__shows_what_holds_and_nothing_that_is_no_choice(client, address):
    PurposePolicy.objects.filter(purpose="analytics").update(legal_basis="LEGAL_OBLIGATION")

    answer = client.get(address)

    assert answer.status_code == 200
    assert form(answer).fields == {
        "advertising": "no", "identity": "yes", "enrichment": "yes", "segmentation": "yes", "learning": "yes",
    }  # fmt: skip
    assert said() == []


def test_page__of_what_is_judged_by_device__asks_a_device_alone(client, address, workspace, now):
    PurposePolicy.objects.filter(purpose="advertising").update(scope="DEVICE")
    token, _ = preferences.link_for(Identifier("anonymous_id", "browser-1"), workspace_id=workspace.pk, now=now)

    of_a_person, of_a_device = (form(client.get(each)).fields for each in (address, f"/preferences/{token}"))
    client.post(address, {"choose": "all"})

    assert (of_a_person.get("advertising"), of_a_device["advertising"]) == (None, "no")
    assert of_a_person["analytics"] == of_a_device["analytics"] == "yes"
    assert "advertising" not in {purpose for purpose, _, _ in said()}


def test_page__to_refuse_all__takes_one_button_as_to_accept_all(client, address):
    assert form(client.get(address)).buttons == ["none", "all", "these"]


@pytest.mark.parametrize(("choice", "holds"), [("none", set()), ("all", set(ALL))])
def test_button__for_all_or_none__decides_every_purpose_at_once(choice, holds, client, address, workspace, now):
    answer = client.post(address, {"choose": choice, **dict.fromkeys(ALL, "yes" if choice == "none" else "no")})

    assert answer.status_code == 200
    assert allowed(workspace, now) == holds
    assert set(form(answer).fields.values()) == {"no" if choice == "none" else "yes"}
    assert {is_verified for _, _, is_verified in said()} == {True}


def test_choice__that_is_saved_twice__is_recorded_once(client, address):
    chosen = {"choose": "these", "advertising": "yes", "analytics": "no"}

    client.post(address, chosen)
    client.post(address, chosen)

    assert said() == [("advertising", "GIVEN", True), ("analytics", "REFUSED", True)]


def test_choice__that_is_taken_back__is_a_withdrawal(client, address, workspace, now):
    client.post(address, {"choose": "these", "advertising": "yes"})
    with time_machine.travel(now + timedelta(seconds=1), tick=False):
        client.post(address, {"choose": "these", "advertising": "no"})

    assert [state for _, state, _ in said()] == ["GIVEN", "WITHDRAWN"]
    assert "advertising" not in allowed(workspace, now + timedelta(seconds=2))


@pytest.mark.parametrize("sent", [{}, {"choose": "these", "advertising": "maybe"}, {"collection": "no", "else": "yes"}])
def test_form__that_says_nothing_of_what_is_asked__records_nothing(sent, client, address):
    assert client.post(address, sent).status_code == 200
    assert said() == []


@pytest.mark.parametrize(
    ("asked", "accepts", "language", "words"),
    [("", "fr-FR,fr;q=0.9", "fr", "Tout refuser"), ("?lang=en", "fr", "en", "Refuse all"), ("", "de", "en", "Refuse all"),
     ("?lang=fr", "", "fr", "M’afficher de la publicité")],
)  # fmt: skip
def test_page__in_the_language_that_is_asked_for__speaks_it(asked, accepts, language, words, client, address):
    page = client.get(address + asked, headers={"Accept-Language": accepts}).content.decode()

    assert f'<html lang="{language}">' in page
    assert words in page


def test_page__tells_nobody_whose_it_is__and_is_kept_nowhere(client, address):
    answer = client.get(address)

    assert "ada@example.com" not in answer.content.decode()
    assert "a…@example.com" in answer.content.decode()
    assert (answer["Cache-Control"], answer["Referrer-Policy"], answer["X-Robots-Tag"]) == (
        "no-store",
        "no-referrer",
        "noindex",
    )
    assert not answer.cookies
    assert "<script" not in answer.content.decode()


def with_another_letter(link):
    return link[:40] + ("B" if link[40] == "A" else "A") + link[41:]


@pytest.mark.parametrize("change", [lambda link: link[:-2], with_another_letter, lambda _: "/preferences/é"])
def test_link__that_was_forged_or_changed__opens_nothing_and_records_nothing(change, client, address):
    forged = change(address)

    answers = [client.get(forged), client.post(forged, {"choose": "all"})]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert form(answers[0]).buttons == []
    assert said() == []


def test_link__after_its_thirty_days__opens_nothing(client, address, now):
    with time_machine.travel(now + timedelta(days=30), tick=False):
        assert client.post(address, {"choose": "all"}).status_code == 404
    assert said() == []


def test_link__from_the_api__opens_the_page_of_that_person(caller, client):
    sender = caller("consents:write")

    made = sender.post("preference-links", {"identifier": "email:ADA@example.com"})

    assert made.status_code == 200
    assert "ada" not in made.json()["url"].lower().rsplit("/", 1)[0]
    assert "a…@example.com" in client.get(made.json()["url"]).content.decode()


@pytest.mark.parametrize(
    ("scopes", "identifier", "status"),
    [(("consents:read",), "email:ada@example.com", 403), (("consents:write",), "profile:1", 400), (("consents:write",), "email:x", 400)],
)  # fmt: skip
def test_link__for_nobody_or_by_whom_may_not__is_refused(scopes, identifier, status, caller):
    assert caller(*scopes).post("preference-links", {"identifier": identifier}).status_code == status


def test_answer__of_one_address__is_recorded_whatever_another_of_the_same_person_said(client, address, workspace):
    ada, other = (IdentifierFactory(workspace=workspace, value=each) for each in (ADA.value, "ada@work.example"))
    Identifiers.objects.filter(pk=other.pk).update(profile_id=ada.pk)
    say(other, Purpose.ADVERTISING, ConsentState.GIVEN, is_verified=True)

    client.post(address, {"choose": "these", "advertising": "yes"})

    assert [bytes(each.identifier_digest) for each in ConsentRecord.objects.order_by("pk")] == [
        other.digest,
        ada.digest,
    ]


def test_yes__after_the_one_before_ran_out__is_recorded_anew(client, address, workspace, now):
    ada = IdentifierFactory(workspace=workspace, value=ADA.value)
    past = now - timedelta(days=2)
    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN, past, is_verified=True, expires_at=now - timedelta(days=1))

    client.post(address, {"choose": "these", "advertising": "yes"})

    assert "advertising" in allowed(workspace, now)


def test_answer__beside_a_consent_for_one_recipient__is_recorded_as_one_for_all(client, address, workspace, now):
    ada = IdentifierFactory(workspace=workspace, value=ADA.value)
    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN, is_verified=True, recipient="meta")
    assert "advertising" not in allowed(workspace, now)

    client.post(address, {"choose": "these", "advertising": "yes"})

    assert "advertising" in allowed(workspace, now)


def test_answers__of_one_workspace__are_none_of_another(client, address, workspace, now):
    client.post(address, {"choose": "all"})

    assert set(ConsentRecord.objects.values_list("workspace_id", flat=True)) == {workspace.pk}
