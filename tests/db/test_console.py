"""The console, as the login `web` serves it: what opens, what is hidden, what a button does."""

from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from activation.models import Destination
from cdp.console import home
from cdp.console.apps import load_pages
from cdp.models import ApiKey, Cause, Member, OutboxRow, Profile, QuarantinedItem, Stage, User, Workspace, WriteKey
from cdp.models.keys import digest_of
from cdp.models.outbox import PACK, hand_over
from cdp.models.secrets import decrypted
from consent.models import Notice
from identity.models import Judgement, ReviewPair, Verdict
from segments.models import Membership, Segment, SegmentVersion
from tests.factories import WorkspaceFactory
from tests.factories.filled import Filled, console_user, fill

load_pages()
PAGES = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.fixture
def filled(workspace: Workspace, now, as_login) -> Filled:
    made = fill(workspace, console_user(workspace), now)
    as_login("web")
    return made


@pytest.fixture
def client(filled: Filled) -> Client:
    return client_of(filled.user)


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page_of(model: type, name: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


# -- every page -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("model", PAGES, ids=lambda model: model._meta.label)
def test_every_page__of_every_model__opens(model, language, client):
    client.cookies["django_language"] = language

    listed = client.get(page_of(model, "changelist"))

    assert listed.status_code == 200
    assert f'<html lang="{language}"' in listed.text
    rows = list(listed.context["cl"].result_list)
    may_add = admin.site._registry[model].has_add_permission(listed.wsgi_request)
    assert client.get(page_of(model, "add")).status_code == (200 if may_add else 403)
    for row in rows[:2]:
        shown = client.get(page_of(model, "change", row.pk))
        assert shown.status_code == 200
        assert "(&#x27;" not in shown.text, "a pair of a code and its words: show the words"


EMPTY = {"auth.Group", "cdp.ApiKey", "identity.IdentityRules", "identity.ReviewRules", "identity.SurvivorshipRule"}


def test_every_page__of_a_filled_workspace__lists_something(client):
    empty = {model._meta.label for model in PAGES if not listed_by(client, model)}

    assert empty == EMPTY


def test_every_page__for_another_workspace__shows_no_row_of_this_one(workspace, now, as_login):
    fill(workspace, console_user(workspace), now)
    ours = {model: {row.pk for row in model._default_manager.all()} for model in PAGES}
    visitor = client_of(console_user(WorkspaceFactory(), "visitor"))
    as_login("web")

    for model, rows in ours.items():
        assert rows.isdisjoint(listed_by(visitor, model)), model
        for pk in list(rows)[:1]:
            assert visitor.get(page_of(model, "change", pk)).status_code in {302, 404}, model


def test_every_page__for_a_member_without_permissions__is_refused(filled, workspace):
    reader = client_of(console_user(workspace, "reader", is_superuser=False))

    for model in PAGES:
        assert reader.get(page_of(model, "changelist")).status_code == 403, model
        assert reader.get(page_of(model, "add")).status_code == 403, model


def test_every_page__for_a_superuser_without_a_workspace__shows_nothing(filled):
    lost = client_of(User.objects.create_user("lost", is_staff=True, is_superuser=True))

    assert {model: rows for model in PAGES if (rows := listed_by(lost, model))} == {}


def listed_by(client: Client, model: type) -> set[object]:
    """The keys that the first page of a list has; none where it is refused."""
    answer = client.get(page_of(model, "changelist"))
    return {row.pk for row in answer.context["cl"].result_list} if answer.status_code == 200 else set()


def test_console__for_somebody_who_is_not_staff__asks_to_log_in(filled, workspace):
    outsider = User.objects.create_user("outsider")
    Member.objects.create(user=outsider, workspace=workspace)

    for client in (Client(), client_of(outsider)):
        answer = client.get(reverse("admin:index"))
        assert (answer.status_code, answer.url) == (302, "/console/login/?next=/console/")


@pytest.mark.parametrize(
    "path", ["admin:identity_judgement_change", "admin:consent_consentrecord_change", "admin:cdp_run_change"]
)
def test_ledger__when_a_change_is_sent__refuses(path, client):
    assert client.post(reverse(path, args=[1]), {"verdict": "NOT_SAME"}).status_code in {302, 403}
    model = dict(admin.site._registry)[Judgement]
    assert not model.has_change_permission(client.get(reverse("admin:index")).wsgi_request)


def test_answer__always__names_a_policy_and_is_never_kept(client):
    answer = client.get(reverse("admin:index"))

    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["X-Frame-Options"] == "DENY"


# -- home -----------------------------------------------------------------------------------------------------------


def test_home__of_a_filled_workspace__counts_what_there_is(client):
    shown = client.get(reverse("admin:index")).context

    assert (shown["events"].number, shown["events"].is_exact) == (9, True)
    assert (shown["people"], shown["merged"]) == (3, 1)
    assert (shown["quarantined"].number, shown["pairs"].number, shown["set_aside"].number) == (2, 1, 1)
    assert [amount.number for _, amount in shown["waiting"]] == [0, 3, 0, 2, 0]
    assert [(segment.slug, segment.size) for segment in shown["segments"]] == [("buyers", 3)]
    assert [dict(audience.states) for audience in shown["audiences"]] == [{"PRESENT": 2, "REJECTED": 1}]
    assert {held.policy.purpose: held.number for held in shown["held"] if held.number} == {"advertising": 1}


def test_home__of_more_rows_than_it_counts__says_about_how_many_subjects_they_name(workspace, monkeypatch):
    monkeypatch.setattr(home, "COUNTED_EXACTLY", 1)
    monkeypatch.setattr(home, "planned_rows", lambda _: 30)
    hand_over(dict.fromkeys(range(3 * PACK), Cause.EVENT), stage=Stage.SEGMENTS, workspace_id=workspace.pk)

    assert home.subjects_of(OutboxRow.objects.all()) == home.Amount(30 * PACK, is_exact=False)


def test_home__of_a_user_without_a_workspace__says_so(filled):
    lost = User.objects.create_user("lost", is_staff=True, is_superuser=True)

    assert "You are a member of no workspace" in client_of(lost).get(reverse("admin:index")).text


def test_home__in_french__is_french(client):
    client.cookies["django_language"] = "fr"

    page = client.get(reverse("admin:index")).text

    for words in ("Événements conservés", "Profils fusionnés", "Mis de côté après une erreur", "intérêt légitime"):
        assert words in page


# -- workspaces and languages ---------------------------------------------------------------------------------------


def test_workspace__that_a_member_chooses__is_shown_from_then_on(filled, client):
    other = Workspace.objects.create(slug="club", name="Club")
    Member.objects.create(user=filled.user, workspace=other)

    client.post(reverse("admin:choose_workspace"), {"slug": "club"})

    shown = client.get(reverse("admin:index"))
    assert shown.wsgi_request.workspace == other
    assert shown.context["people"] == 0


def test_workspace__of_others__cannot_be_chosen(client, workspace):
    Workspace.objects.create(slug="club", name="Club")

    assert client.post(reverse("admin:choose_workspace"), {"slug": "club"}).status_code == 404
    assert client.get(reverse("admin:index")).wsgi_request.workspace == workspace


def test_language__when_chosen__is_kept(client):
    client.post(reverse("admin:set_language"), {"language": "fr", "next": "/console/"})

    assert '<html lang="fr"' in client.get(reverse("admin:index")).text


# -- people ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["email:ADA0@example.com", "ada0@example.com", "crm:id:4711"])
def test_search__by_an_identifier__finds_the_person(words, client, filled):
    listed = client.get(page_of(Profile, "changelist"), {"q": words})

    assert [row.pk for row in listed.context["cl"].result_list] == [filled.people[0].profile_id]


def test_search__by_the_number_of_a_merged_profile__finds_who_it_is_now(client, filled):
    listed = client.get(page_of(Profile, "changelist"), {"q": str(filled.merged.pk)})

    assert [row.pk for row in listed.context["cl"].result_list] == [filled.people[0].profile_id]


@pytest.mark.parametrize("words", ["nobody@example.com", "phone:", "9" * 40, "crm:id:4712", "%"])
def test_search__for_nobody__finds_nobody(words, client):
    assert not list(client.get(page_of(Profile, "changelist"), {"q": words}).context["cl"].result_list)


def test_person__on_their_page__is_shown_with_all_that_is_known(client, filled):
    page = client.get(page_of(Profile, "change", filled.people[0].profile_id))

    shown = page.context
    assert shown["name"] == "Ada Lovelace"
    assert [(value.chosen.name, value.chosen.value) for value in shown["values"]] == [
        ("city", "London"),
        ("email", "ada0@example.com"),
        ("given_name", "Ada"),
        ("surname", "Lovelace"),
    ]
    assert [(other.value, lacking) for other, lacking in shown["values"][0].others] == [("LONDON", "trust")]
    assert [str(identifier) for identifier in shown["identifiers"]] == ["email:ada0@example.com", "crm:id:4711"]
    assert shown["events"][0].summary == "amount: 12.5 · order_id: o-0-0"
    assert {one.policy.purpose for one in shown["decisions"] if one.is_allowed} >= {"advertising", "segmentation"}
    assert [member.segment.slug for member in shown["memberships"]] == ["buyers"]


def test_person__who_permits_nothing_after_an_expiry__is_shown_so(client, filled, now):
    person = filled.people[0].profile_id
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('role', 'none', true)")
        Profile.objects.filter(pk=person).update(permitted_until=now - timedelta(days=10_000))
        cursor.execute("SELECT set_config('role', 'web', true)")

    shown = client.get(page_of(Profile, "change", person)).context

    assert [one.is_allowed for one in shown["decisions"]] == [False] * 7


def test_person__who_was_merged__redirects(client, filled):
    answer = client.get(page_of(Profile, "change", filled.merged.pk))

    assert (answer.status_code, answer.url) == (302, page_of(Profile, "change", filled.people[0].profile_id))


def test_list_of_people__however_many__takes_the_same_number_of_queries(workspace, now, as_login):
    user = console_user(workspace)
    fill(workspace, user, now)
    as_login("web")
    client = client_of(user)
    few = queries_of(client, page_of(Profile, "changelist"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('role', 'none', true)")
    for _ in range(7):
        clone(workspace, now)
    as_login("web")

    assert queries_of(client, page_of(Profile, "changelist")) == few


def queries_of(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


def clone(workspace: Workspace, now) -> None:
    from tests.factories import IdentifierFactory

    IdentifierFactory(workspace=workspace)


def test_undo__of_a_merge__retracts_it_and_keeps_the_two_apart(client, filled):
    person = filled.people[0].profile_id

    answer = client.post(reverse("admin:cdp_profile_undo", args=[person, filled.judgement.pk]))

    assert answer.status_code == 302
    assert Judgement.objects.get(retracts=filled.judgement).author == filled.user
    newest = Judgement.objects.filter(retracts=None).latest("pk")
    assert (newest.verdict, newest.author) == (Verdict.NOT_SAME, filled.user)
    assert OutboxRow.objects.filter(stage="IDENTITY", subject_id=filled.merged.pk).exists()


def test_undo__of_a_judgement_on_other_people__is_not_found(client, filled):
    path = reverse("admin:cdp_profile_undo", args=[filled.people[1].profile_id, filled.judgement.pk])

    assert client.post(path).status_code == 404
    assert not Judgement.objects.filter(retracts=filled.judgement).exists()


def test_undo__by_a_reader__is_refused(filled, workspace):
    reader = client_of(console_user(workspace, "reader", is_superuser=False))

    assert (
        reader.post(reverse("admin:cdp_profile_undo", args=[filled.people[0].pk, filled.judgement.pk])).status_code
        == 403
    )
    assert not Judgement.objects.filter(retracts=filled.judgement).exists()


@pytest.mark.parametrize("verdict", Verdict.values)
def test_pair__when_a_steward_judges__is_written_and_done(verdict, client, filled):
    answer = client.post(reverse("admin:identity_reviewpair_judge", args=[filled.pair.pk]), {"answer": verdict})

    assert (answer.status_code, answer.url) == (302, page_of(ReviewPair, "desk"))
    judgement = ReviewPair.objects.get(pk=filled.pair.pk).judgement
    assert (judgement.verdict, judgement.author) == (verdict, filled.user)


def test_pair__that_differs__shows_both_sides_and_the_weights(client, filled):
    lines = client.get(page_of(ReviewPair, "change", filled.pair.pk)).context["lines"]

    city = next(line for line in lines if line.name == "city")
    assert (city.left, city.right) == (["LUNÉVILLE", "Lunéville"], ["PARIS", "Paris"])
    assert (city.weight, city.is_different) == (-2.0, True)


# -- keys and secrets -----------------------------------------------------------------------------------------------


def test_write_key__when_made__is_shown_once(client, filled):
    shown = client.post(reverse("admin:cdp_source_create_key", args=[filled.source.pk]))

    secret = shown.context["secret"]
    assert WriteKey.objects.get(digest=digest_of(secret)).source == filled.source
    assert secret in shown.text
    assert secret not in client.get(page_of(type(filled.source), "change", filled.source.pk)).text


def test_write_key__when_revoked__stays_in_the_list(client, filled):
    key = WriteKey.objects.get(source=filled.source)

    client.post(reverse("admin:cdp_source_revoke_key", args=[filled.source.pk, key.pk]))

    key.refresh_from_db()
    assert key.revoked_at is not None
    assert [
        shown.pk for shown in client.get(page_of(type(filled.source), "change", filled.source.pk)).context["write_keys"]
    ] == [key.pk]


def test_write_key__of_another_workspace__cannot_be_revoked(client, filled, now):
    key = WriteKey.objects.get(source=filled.source)
    visitor = client_of(console_user(Workspace.objects.create(slug="club"), "visitor"))

    assert visitor.post(reverse("admin:cdp_source_revoke_key", args=[filled.source.pk, key.pk])).status_code == 404
    assert WriteKey.objects.get(pk=key.pk).revoked_at is None


def test_api_key__when_made__is_shown_once(client):
    shown = client.post(
        page_of(ApiKey, "add"), {"name": "reports", "scopes": ["profiles:read"], "purpose": "analytics"}
    )

    key = ApiKey.objects.get(name="reports")
    assert key.digest == digest_of(shown.context["secret"])
    assert key.scopes == ["profiles:read"]
    assert shown.context["secret"] not in client.get(page_of(ApiKey, "change", key.pk)).text


def test_secrets__of_a_destination__never_come_out(client, filled):
    assert "hidden-from-everybody" not in client.get(page_of(Destination, "change", filled.destination.pk)).text


@pytest.mark.parametrize(("given", "kept"), [("", "hidden-from-everybody"), ('{"secret": "another"}', "another")])
def test_secrets__of_a_destination__change_only_when_given(given, kept, client, filled):
    sent = {"config": '{"url": "https://hooks.example.com/y"}', "new_secrets": given, "is_enabled": "on"}

    answer = client.post(page_of(Destination, "change", filled.destination.pk), sent)

    assert answer.status_code == 302
    changed = Destination.objects.get(pk=filled.destination.pk)
    assert changed.config == {"url": "https://hooks.example.com/y"}
    assert decrypted(changed.secrets) == {"secret": kept}


def test_destination__with_a_wrong_configuration__is_refused_by_its_kind(client, filled):
    sent = {"slug": "broken", "kind": "webhook", "config": "{}", "new_secrets": ""}

    answer = client.post(page_of(Destination, "add"), sent)

    assert answer.status_code == 200
    assert "config" in answer.context["adminform"].form.errors
    assert not Destination.objects.filter(slug="broken").exists()


def test_destination__that_is_made__belongs_to_the_workspace(client, workspace):
    sent = {
        "slug": "hook",
        "kind": "webhook",
        "config": '{"url": "https://hooks.example.com/z"}',
        "new_secrets": '{"secret": "s"}',
    }

    assert client.post(page_of(Destination, "add"), sent).status_code == 302
    made = Destination.objects.get(slug="hook")
    assert (made.workspace, decrypted(made.secrets)) == (workspace, {"secret": "s"})


def test_slug__that_is_taken__is_said_beside_the_field_and_not_by_an_error(client, filled):
    sent = {"name": "shop", "kind": "HTTP", "trust": "50", "default_region": ""}

    answer = client.post(page_of(type(filled.source), "add"), sent)

    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors


# -- segments -------------------------------------------------------------------------------------------------------

BUYERS = 'done "Order Completed" in last 30 days'


def test_preview__of_a_rule__counts_and_says_it_in_words(client, filled):
    client.cookies["django_language"] = "fr"

    part = client.post(reverse("admin:segments_segment_preview"), {"definition": 'trait "city" = "London"'})

    assert (part.context["count"], part.context["people"]) == (1, 3)
    assert part.context["sample"] == [(filled.people[0].profile_id, "Ada Lovelace")]
    assert "sur 3 personnes" in part.text


def test_preview__of_a_mistake__marks_its_place(client):
    part = client.post(reverse("admin:segments_segment_preview"), {"definition": 'trait "city" equals "London"'})

    assert (part.context["before"], part.context["at"]) == ('trait "city" ', "equals")


def test_segment__when_made__is_computed_and_serves(client, filled):
    sent = {"name": "Londoners", "slug": "londoners", "description": "", "definition": 'trait "city" = "London"'}

    assert client.post(page_of(Segment, "add"), sent).status_code == 302
    made = Segment.objects.get(slug="londoners")
    assert made.live_version.author == filled.user
    assert list(Membership.objects.filter(segment=made, left_at=None).values_list("profile", flat=True)) == [
        filled.people[0].profile_id
    ]


def test_segment__with_another_definition__has_another_version(client, filled):
    sent = {"name": "Buyers", "description": "Who bought", "definition": 'trait "city" = "Paris"'}

    client.post(page_of(Segment, "change", filled.segment.pk), sent)

    segment = Segment.objects.get(pk=filled.segment.pk)
    assert (segment.description, segment.live_version.number) == ("Who bought", 2)


def test_segment__with_another_name_alone__keeps_its_version(client, filled):
    sent = {"name": "Customers", "description": "", "definition": BUYERS}

    client.post(page_of(Segment, "change", filled.segment.pk), sent)

    assert Segment.objects.get(pk=filled.segment.pk).name == "Customers"
    assert SegmentVersion.objects.count() == 1


def test_segment__with_a_mistake__is_not_saved(client, filled):
    sent = {"name": "Customers", "description": "", "definition": "done"}

    answer = client.post(page_of(Segment, "change", filled.segment.pk), sent)

    assert "definition" in answer.context["adminform"].form.errors
    assert Segment.objects.get(pk=filled.segment.pk).name == "Buyers"


def test_why__of_a_member__says_which_conditions_hold(client, filled):
    part = client.get(reverse("admin:segments_segment_why", args=["buyers", filled.people[0].profile_id]))

    assert [reason.condition for reason in part.context["why"].reasons] == [
        'count of "Order Completed" in last 30 days >= 1'
    ]


def test_plot__of_a_learned_model__is_an_image_and_not_markup(client, filled):
    from segments.models import LearnedModel

    page = client.get(page_of(LearnedModel, "change", LearnedModel.objects.get().pk)).text

    assert 'src="data:image/svg+xml;base64,' in page
    assert "<circle" not in page


# -- the rest -------------------------------------------------------------------------------------------------------


def test_quarantined_item__as_it_came__cannot_become_markup(client, filled):
    item = QuarantinedItem.objects.first()

    page = client.get(page_of(QuarantinedItem, "change", item.pk)).text

    assert "Order &lt;b&gt;Completed&lt;/b&gt;" in page
    assert "Order <b>" not in page


def test_subject__that_was_set_aside__can_be_put_back(client, filled):
    row = OutboxRow.objects.exclude(failed_at=None).get()

    client.post(page_of(OutboxRow, "changelist"), {"action": "put_back", "_selected_action": [row.pk]})

    row.refresh_from_db()
    assert (row.failed_at, row.error) == (None, "")


def test_notice__when_published__keeps_its_digest(client, workspace):
    sent = {
        "key": "terms",
        "version": "1",
        "locale": "fr",
        "text": "Bonjour",
        "valid_from_0": "2026-11-21",
        "valid_from_1": "12:00",
    }

    assert client.post(page_of(Notice, "add"), sent).status_code == 302
    notice = Notice.objects.get(key="terms")
    assert (notice.workspace, notice.digest) == (workspace, digest_of("Bonjour"))


def test_user__when_made__is_a_member_of_the_workspace(client, workspace):
    sent = {
        "username": "marie",
        "password1": "un long secret",
        "password2": "un long secret",
        "usable_password": "true",
    }

    answer = client.post(page_of(User, "add"), sent)

    assert answer.status_code == 302
    made = User.objects.get(username="marie")
    assert made.is_staff
    assert [member.workspace for member in Member.objects.filter(user=made)] == [workspace]
