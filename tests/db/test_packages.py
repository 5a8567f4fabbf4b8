"""A package holds everything about one person and nothing of another, in bounded memory, under a key."""

import csv
import html
import io
import json
import re
import tracemalloc
import zipfile
from datetime import UTC, timedelta

import pytest
from django.db import connection
from django.utils import timezone, translation
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import datetimes, sampled_from

from cdp import tasks
from cdp.kernel.identifiers import Identifier as Name
from cdp.kernel.purposes import Purpose
from cdp.models import Event, Identifier, QuarantinedItem
from cdp.models.secrets import decrypted
from consent import answers, breaches, catalogue, packaging, requests, restriction, services
from consent import package_words as words
from consent.holdings import SECTIONS, WITHHELD, Origin, Section, sections_for
from consent.models import DataPackage, LegalBasis, PurposePolicy
from consent.rights import Right
from consent.services import ConsentStatement
from tests.factories import IdentifierFactory, SourceFactory
from tests.factories.filled import console_user, fill

BY = "user:1"


@pytest.fixture(autouse=True)
def package_dir(settings, tmp_path):
    settings.PACKAGE_DIR = tmp_path / "packages"
    return settings.PACKAGE_DIR


@pytest.fixture
def filled(workspace, now):
    return fill(workspace, console_user(workspace), now)


@pytest.fixture
def order(workspace, now, as_login):
    """`order("email:…")`: a request of a verified person whose package waits."""

    def make(*names, kind=Right.ACCESS, is_logged_in=True, locale="en"):
        as_login("web")
        named = {"workspace_id": workspace.pk, "by": BY, "now": now}
        made = requests.receive_request(
            kind=kind,
            identifiers=[Name.parse(name) for name in names],
            received_at=now,
            is_logged_in=is_logged_in,
            locale=locale,
            **named,
        )
        if not is_logged_in:
            with requests.changing(workspace.pk, made.pk) as request:
                requests.mark_verified(request, requests.Verification.CODE, by=BY, now=now)
        requests.start_request(request_id=made.pk, **named)
        return made

    return make


@pytest.fixture
def built(order, workspace, now, as_login):
    """`built("email:…")`: the opened zip, as its link gives it."""

    def make(*names, **more):
        made = order(*names, **more)
        as_login("rights")
        assert packaging.build_next(workspace_id=workspace.pk, now=now) == made.pk
        as_login("web")
        token, _ = packaging.make_link(workspace_id=workspace.pk, request_id=made.pk, by=BY, now=now)
        return zipfile.ZipFile(io.BytesIO(b"".join(packaging.open_package(token, now=now))))

    return make


def rows_of(archive, name):
    section = next(each for each in SECTIONS if each.name == name)
    return json.loads(archive.read(f"json/{section.origin.value}/{name}.json"))


# -- the registry ---------------------------------------------------------------------------------------------------


def test_registry__every_table_with_personal_data__is_exported_or_withheld_for_a_reason():
    exported = {section.table for section in SECTIONS}

    assert catalogue.PERSONAL_TABLES - exported - WITHHELD.keys() == set(), (
        "add a section or a reason to consent.holdings"
    )
    assert exported & WITHHELD.keys() == set()
    assert WITHHELD.keys() <= catalogue.PERSONAL_TABLES
    assert all(len(reason) > 20 for reason in WITHHELD.values())


def test_registry__portability__has_nothing_derived():
    portable = {section.origin for section in sections_for(is_portability=True)}

    assert portable == {Origin.PROVIDED, Origin.OBSERVED}


# -- what is in it --------------------------------------------------------------------------------------------------


def test_package__of_a_known_person__holds_every_section_in_three_formats(filled, built):
    archive = built("email:ada0@example.com")

    about = json.loads(archive.read("about.json"))
    assert set(about["rows"]) == {section.name for section in SECTIONS}
    for section in SECTIONS:
        rows = rows_of(archive, section.name)
        table = list(
            csv.reader(io.TextIOWrapper(archive.open(f"csv/{section.origin.value}/{section.name}.csv"), "utf-8"))
        )
        page = archive.read(f"html/{section.origin.value}/{section.name}.html").decode()
        assert len(rows) == len(table) - 1 == page.count("<tr>") - 1 == about["rows"][section.name], section.name
    assert about["rows"] | {"consents": 0, "purposes": 0} == {
        "identifiers": 2, "records": 0, "values": 8, "consents": 0, "events": 3, "sightings": 0, "enriched_values": 0,
        "lookups": 1, "links": 1, "pairs": 0, "profiles": 2, "relations": 1, "traits": 4, "segments": 1, "scores": 1, "recipients": 1,
        "lists": 1,
        "purposes": 0, "requests": 2, "refused": 0, "restrictions": 0,
    }  # fmt: skip
    assert "Art. 77" in about["complaints"]


def test_package__has_what_was_refused_and_names_the_person__and_nothing_else(workspace, filled, built, now):
    source = SourceFactory(workspace=workspace)
    theirs = ('{"mail": "Ada0@Example.com"}', "2,tel. 06 12 34 56 78", '{"userId": "crm-4711"}')
    others = ('{"mail": "ada00@example.com"}', '{"mail": "bada0@example.com"}', '{"name": "Ada"}')
    for kind, value in (("phone", "+33612345678"), ("user_id", "crm-4711")):
        one = IdentifierFactory(workspace=workspace, type=kind, value=value)
        Identifier.objects.filter(pk=one.pk).update(profile_id=filled.people[0].profile_id)
    for number, raw in enumerate(theirs + others):
        QuarantinedItem.objects.create(
            workspace=workspace, source=source, received_at=now, place=f"crm.csv:{number}", code="unknown_type", message="x",
            raw=raw, digest=bytes([number]) * 32,
        )  # fmt: skip

    archive = built("email:ada0@example.com")

    found = rows_of(archive, "refused")
    assert [row["as_it_came"] for row in found] == list(theirs)
    assert {(row["source"], row["why_refused"]) for row in found} == {(source.name, "unknown_type")}
    assert "What arrived and could not be understood" in archive.read("html/processing/refused.html").decode()


def test_package__of_somebody_known_only_from_what_was_refused__has_it(workspace, built, now):
    QuarantinedItem.objects.create(
        workspace=workspace, source=SourceFactory(workspace=workspace), received_at=now, place="batch[0]", code="x",
        message="x", raw='{"mail": "eve@example.com"}', digest=bytes(32),
    )  # fmt: skip

    archive = built("email:eve@example.com")

    assert [row["as_it_came"] for row in rows_of(archive, "refused")] == ['{"mail": "eve@example.com"}']
    assert rows_of(archive, "identifiers") == []


def test_package__names_sources_segments_recipients_and_providers(filled, built):
    archive = built("email:ada0@example.com")

    assert {row["value"] for row in rows_of(archive, "identifiers")} == {"ada0@example.com", "4711"}
    assert {row["source"] for row in rows_of(archive, "values")} == {"crm", "shop"}
    assert rows_of(archive, "events")[0]["properties"] == {"amount": 37.5, "order_id": "o-0-2"}
    assert rows_of(archive, "segments")[0]["segment"] == "buyers"
    assert rows_of(archive, "recipients")[0]["recipient"] == "newsletter"
    assert rows_of(archive, "lookups")[0]["provider"] == "postcodes"
    assert rows_of(archive, "scores")[0]["group"] == "loyal"
    assert rows_of(archive, "links")[0]["evidence"] == {"said": "by telephone"}
    assert rows_of(archive, "consents")[0]["state"] == "GIVEN"


def test_package__says_whom_a_consent_was_for_and_what_the_person_objected_to(filled, built, workspace, now):
    ada, other = Name("email", "ada0@example.com"), Name("email", "sophie2@example.com")
    said = ConsentStatement(ada, "advertising", "GIVEN", now, recipient="meta", jurisdiction="FR", key="to-meta")
    services.record_consents(workspace_id=workspace.pk, statements=[said], now=now)
    for person, purpose in ((ada, Purpose.ANALYTICS), (ada, None), (other, Purpose.LEARNING)):
        restriction.deny(workspace_id=workspace.pk, identifier=person, purpose=purpose, now=now)
    restriction.lift(workspace_id=workspace.pk, identifier=ada, now=now)

    archive = built("email:ada0@example.com")

    assert {(row["recipient"], row["jurisdiction"]) for row in rows_of(archive, "consents")} == {
        ("", ""),
        ("meta", "FR"),
    }
    assert [(row["kind"], row["purposes"], row["lifted_at"] is None) for row in rows_of(archive, "restrictions")] == [
        ("OBJECTION", "analytics", True),
        ("RESTRICTION", "identity enrichment segmentation learning advertising analytics", False),
    ]


def test_package__of_one_person__holds_nothing_of_the_others(filled, built):
    archive = built("email:ada0@example.com")

    whole = b"".join(archive.read(name) for name in archive.namelist())
    for other in (b"sophie", b"Germain", "Émilie".encode(), b"lie1@example.com", b"hidden-from-everybody"):
        assert other not in whole


def test_package__with_an_address_that_no_code_was_sent_to__does_not_hold_its_owner(filled, built):
    archive = built("email:ada0@example.com", "email:sophie2@example.com", is_logged_in=False)

    assert {row["value"] for row in rows_of(archive, "identifiers")} == {"ada0@example.com", "4711"}


def test_package__of_nobody__is_built_all_the_same(filled, built):
    archive = built("email:nobody@example.com")

    assert rows_of(archive, "identifiers") == rows_of(archive, "events") == []
    assert len(rows_of(archive, "requests")) == 1


def test_package__for_portability__leaves_out_what_was_derived(filled, workspace, built):
    PurposePolicy.objects.filter(workspace=workspace).update(legal_basis=LegalBasis.CONSENT)

    archive = built("email:ada0@example.com", kind=Right.PORTABILITY)

    assert {name.split("/")[1] for name in archive.namelist() if "/" in name} == {"provided", "observed"}
    assert len(rows_of(archive, "events")) == 3


def test_package__csv__has_no_formulas(filled, workspace, built):
    Event.objects.filter(identifier=filled.people[0]).update(name="=HYPERLINK(1)")

    archive = built("email:ada0@example.com")

    assert "'=HYPERLINK(1)" in archive.read("csv/observed/events.csv").decode()


ODD = r"""
SELECT * FROM (VALUES
    (1, '2026-01-31 12:00:00+00'::timestamptz, 'plain', '{"a": [1, "=x"]}'::jsonb, ARRAY['a', 'b'], true, 1.50),
    (2, '2026-01-31 12:00:00.5+00', '<b>&"''%%s', '-1', ARRAY['a'], false, -2.25),
    (3, '2026-01-31 12:00:00.123456+00', E'=1\n,"', 'null', '{}', NULL, NULL),
    (4, NULL, 'é\', NULL, NULL, NULL, NULL),
    (5, 'infinity', '', '"<i>"', NULL, NULL, NULL)
) AS odd (number, at, "100%%", said, list, "is so", amount)
"""


def test_section__of_odd_values__says_them_alike_in_each_format(workspace, monkeypatch):
    """As Python writes them, for spreadsheets and browsers harmless; in JSON what JSON can say stays what it is."""
    monkeypatch.setattr(packaging, "COLUMNS", {name: name for name in ODD_COLUMNS})
    whole, person = io.BytesIO(), packaging.Person(workspace.pk, [], [], [], [])
    with zipfile.ZipFile(whole, "w") as archive:
        assert packaging._write_section(archive, Section("events", "event", Origin.OBSERVED, ODD), person) == 5

    assert json.loads(archive_of(whole).read("json/observed/events.json")) == [
        odd(1, "2026-01-31 12:00:00+00:00", "plain", {"a": [1, "=x"]}, ["a", "b"], True, "1.50"),
        odd(2, "2026-01-31 12:00:00.500000+00:00", "<b>&\"'%s", -1, ["a"], False, "-2.25"),
        odd(3, "2026-01-31 12:00:00.123456+00:00", '=1\n,"', None, [], None, None),
        odd(4, None, "é\\", None, None, None, None),
        odd(5, "infinity", "", "<i>", None, None, None),
    ]
    table = io.TextIOWrapper(archive_of(whole).open("csv/observed/events.csv"), "utf-8", newline="")
    assert list(csv.reader(table)) == [
        [*ODD_COLUMNS],
        ["1", "2026-01-31 12:00:00+00:00", "plain", '{"a": [1, "=x"]}', '["a", "b"]', "True", "1.50"],
        ["2", "2026-01-31 12:00:00.500000+00:00", "<b>&\"'%s", "'-1", '["a"]', "False", "'-2.25"],
        ["3", "2026-01-31 12:00:00.123456+00:00", "'=1\n,\"", "null", "[]", "", ""],
        ["4", "", "é\\", "", "", "", ""],
        ["5", "infinity", "", '"<i>"', "", "", ""],
    ]
    page = archive_of(whole).read("html/observed/events.html").decode()
    assert page[page.index("<table>") :] == (
        "<table><tr><th>number</th><th>at</th><th>100%</th><th>said</th><th>list</th><th>is so</th><th>amount</th></tr>\n"
        "<tr><td>1</td><td>2026-01-31 12:00:00+00:00</td><td>plain</td><td>{&quot;a&quot;: [1, &quot;=x&quot;]}</td>"
        "<td>[&quot;a&quot;, &quot;b&quot;]</td><td>True</td><td>1.50</td></tr>\n"
        "<tr><td>2</td><td>2026-01-31 12:00:00.500000+00:00</td><td>&lt;b&gt;&amp;&quot;&#x27;%s</td><td>-1</td>"
        "<td>[&quot;a&quot;]</td><td>False</td><td>-2.25</td></tr>\n"
        "<tr><td>3</td><td>2026-01-31 12:00:00.123456+00:00</td><td>=1\n,&quot;</td><td>null</td>"
        "<td>[]</td><td></td><td></td></tr>\n"
        "<tr><td>4</td><td></td><td>é\\</td><td></td><td></td><td></td><td></td></tr>\n"
        "<tr><td>5</td><td>infinity</td><td></td><td>&quot;&lt;i&gt;&quot;</td><td></td><td></td><td></td></tr>\n"
        "</table>\n"
    )


ODD_COLUMNS = ("number", "at", "100%", "said", "list", "is so", "amount")


def odd(*values):
    return dict(zip(ODD_COLUMNS, values, strict=True))


def archive_of(whole):
    return zipfile.ZipFile(io.BytesIO(whole.getvalue()))


ZONES = (UTC, timezone.get_fixed_timezone(330), timezone.get_fixed_timezone(-300))


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(datetimes(timezones=sampled_from(ZONES)))
def test_moments__of_any_instant__are_what_python_writes(at):
    as_postgres = re.sub(r"(\.\d*?)0+(?=[+-])", r"\1", str(at)).removesuffix(":00")

    assert packaging._moments([as_postgres, None]) == [str(at), None]


# -- how it is kept -------------------------------------------------------------------------------------------------


def test_package__at_rest__is_encrypted_for_its_owner_alone(filled, built, package_dir):
    built("email:ada0@example.com")

    (file,) = package_dir.iterdir()
    assert file.read_bytes()[:2] != b"PK"
    assert (file.stat().st_mode & 0o777, package_dir.stat().st_mode & 0o777) == (0o600, 0o700)


def test_package__is_read_under_a_trace_that_comes_first(filled, order, workspace, now, as_login):
    made = order("email:ada0@example.com")
    as_login("rights")

    packaging.build_next(workspace_id=workspace.pk, now=now)

    steps = list(made.steps.order_by("pk").values_list("step", "stepped_by"))
    assert steps[-2:] == [("package.read", "rights"), ("package.built", "rights")]
    assert "event" in made.steps.get(step="package.read").note


def test_build__that_fails__keeps_no_file_and_is_tried_again(
    filled, order, workspace, now, as_login, package_dir, monkeypatch
):
    made = order("email:ada0@example.com")
    as_login("rights")
    with monkeypatch.context() as broken:
        broken.setattr(packaging, "_fill", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        packaging.build_next(workspace_id=workspace.pk, now=now)
    failed = DataPackage.objects.get()

    packaging.build_next(workspace_id=workspace.pk, now=now)

    assert (failed.failures, failed.error, failed.built_at) == (1, "OSError", None)
    assert DataPackage.objects.get().built_at == now
    assert len(list(package_dir.iterdir())) == 1
    assert made.steps.filter(step="package.read").count() == 2


def test_build__after_a_killed_one__has_another_key_and_leaves_one_file(
    filled, order, workspace, now, as_login, package_dir
):
    made = order("email:ada0@example.com")
    before = bytes(DataPackage.objects.get().secrets)
    package_dir.mkdir()
    (package_dir / f"{workspace.pk}-{made.pk}-0123.sealed").write_bytes(b"half")
    (package_dir / f"{workspace.pk}-{made.pk}7-0123.sealed").write_bytes(b"of another request")
    as_login("rights")

    packaging.build_next(workspace_id=workspace.pk, now=now)

    built = DataPackage.objects.get()
    assert {file.name for file in package_dir.iterdir()} == {built.stored_as, f"{workspace.pk}-{made.pk}7-0123.sealed"}
    assert decrypted(built.secrets) != decrypted(before)


def test_tasks__as_rights__build_and_tell_what_is_due(filled, order, workspace, now, as_login, log):
    late = now - timedelta(days=60)
    made = order("email:ada0@example.com")
    as_login("web")
    named = {
        "workspace_id": workspace.pk,
        "kind": Right.ACCESS,
        "identifiers": [Name("email", "b@example.com")],
        "by": BY,
    }
    due = requests.receive_request(received_at=late, now=now, **named)
    doubted = requests.receive_request(received_at=late, now=now, **named)
    requests.doubt_identity(workspace_id=workspace.pk, request_id=doubted.pk, reason="shared", by=BY, now=now)
    as_login("rights")

    tasks.build_packages()
    tasks.tell_due_requests()

    assert DataPackage.objects.get(request=made).built_at is not None
    told = [event["requests"] for event in log.events if event["event"] == "data_requests.due"]
    assert len(told) == 1
    assert due.pk in told[0]
    assert doubted.pk not in told[0]


def test_tasks__of_the_rights__forget_old_packages_and_tell_of_breaches(filled, order, workspace, now, as_login, log):
    made = order("email:ada0@example.com")
    late = timezone.now() - timedelta(hours=60)
    breach = breaches.record_breach(
        workspace_id=workspace.pk,
        noticed_at=late,
        facts="A laptop was lost.",
        nature="CONFIDENTIALITY",
        now=timezone.now(),
    )
    as_login("rights")
    packaging.build_next(workspace_id=workspace.pk, now=timezone.now() - timedelta(days=31))

    tasks.forget_packages()
    tasks.tell_due_requests()

    assert DataPackage.objects.get(request=made).stored_as == ""
    assert [event["breaches"] for event in log.events if event["event"] == "breaches.due"] == [[breach.pk]]


def test_build__when_nothing_waits__does_nothing(workspace, now, as_login):
    as_login("rights")

    assert packaging.build_next(workspace_id=workspace.pk, now=now) is None


def test_complete__before_the_package_is_built__is_refused(filled, order, workspace, now):
    made = order("email:ada0@example.com")

    with pytest.raises(requests.NoPackageError):
        requests.complete_request(workspace_id=workspace.pk, request_id=made.pk, by=BY, now=now)

    made.refresh_from_db()
    assert made.state == "IN_PROGRESS"


def test_link__is_counted_ends_and_is_replaced(filled, order, workspace, now, as_login):
    made = order("email:ada0@example.com")
    as_login("rights")
    packaging.build_next(workspace_id=workspace.pk, now=now)
    as_login("web")
    link = {"workspace_id": workspace.pk, "request_id": made.pk, "by": BY, "now": now}
    old, _ = packaging.make_link(**link)
    token, _ = packaging.make_link(**link)

    for _ in range(3):
        packaging.open_package(token, now=now)

    for refused, moment in ((token, now), (old, now), ("1.x", now), ("x", now), (f"{workspace.pk + 1}.x", now)):
        with pytest.raises(packaging.NoSuchLinkError):
            packaging.open_package(refused, now=moment)
    fresh, _ = packaging.make_link(**link)
    with pytest.raises(packaging.NoSuchLinkError):
        packaging.open_package(fresh, now=now + timedelta(days=7))
    assert DataPackage.objects.get().downloads_left == 3
    assert made.steps.filter(step="package.downloaded").count() == 3
    assert token.partition(".")[2] not in DataPackage.objects.get().link_digest


def test_forget_old__after_its_time__deletes_file_and_key(filled, order, workspace, now, as_login, package_dir):
    made = order("email:ada0@example.com")
    as_login("rights")
    packaging.build_next(workspace_id=workspace.pk, now=now)
    before = bytes(DataPackage.objects.get().secrets)

    assert packaging.forget_old(workspace_id=workspace.pk, now=now + timedelta(days=30)) == 0
    assert packaging.forget_old(workspace_id=workspace.pk, now=now + timedelta(days=31)) == 1

    assert list(package_dir.iterdir()) == []
    assert bytes(DataPackage.objects.get().secrets) != before
    with pytest.raises(packaging.PackageNotBuiltError):
        packaging.make_link(workspace_id=workspace.pk, request_id=made.pk, by=BY, now=now)


MANY_EVENTS = """
INSERT INTO event (workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, received_at, seen_with,
                   properties, context)
SELECT workspace_id, source_id, identifier_id, 'many-' || n, kind, name, occurred_at, received_at, seen_with,
       jsonb_build_object('text', repeat('x', 4000)), context
FROM event, generate_series(1, 5000) n WHERE message_id = '0-0'
"""


def test_package__of_five_thousand_events__is_built_in_little_memory(filled, order, workspace, now, as_login):
    with connection.cursor() as cursor:
        cursor.execute(MANY_EVENTS)
    order("email:ada0@example.com")
    as_login("rights")
    tracemalloc.start()

    packaging.build_next(workspace_id=workspace.pk, now=now)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert DataPackage.objects.get().counts["events"] == 5_003
    assert peak < 16 * 2**20  # the events alone are 20 MB in each format
    assert Identifier.objects.count() == 4


@pytest.mark.parametrize("locale", ["en", "fr"])
def test_package__speaks_the_language_of_the_person_to_people_and_the_same_to_machines(locale, filled, built):
    named = f"email:{filled.people[0].value}"
    archive, other = built(named, locale=locale), built(named)

    index = archive.read("index.html").decode()
    with translation.override(locale):
        shown = [html.escape(str(each)) for each in (words.YOUR_DATA, words.TITLES["events"], answers.COMPLAINTS)]
    assert f'<html lang="{locale}">' in index
    assert all(each in index for each in shown)
    assert f'<html lang="{locale}">'.encode() in archive.read("html/observed/events.html")
    assert archive.namelist() == other.namelist()
    assert archive.read("json/observed/events.json") == other.read("json/observed/events.json")


@pytest.mark.parametrize("locale", ["en", "fr"])
def test_columns__have_words_for_people_and_names_for_machines_and_a_page_that_tells_which_is_which(
    locale, filled, built
):
    archive = built(f"email:{filled.people[0].value}", locale=locale)

    with translation.override(locale):
        heads = "".join(f"<th>{html.escape(str(words.COLUMNS[name]))}</th>" for name in ("type", "value", "person"))
        explained = f"<td><code>person</code></td><td>{words.COLUMNS['person']}</td>"
    assert heads in archive.read("html/provided/identifiers.html").decode()
    assert archive.read("csv/provided/identifiers.csv").startswith(b"type,value,person,known_since")
    assert explained in archive.read("columns.html").decode()
    assert 'href="columns.html"' in archive.read("index.html").decode()


def test_words__name_every_column_of_every_section_and_no_other(filled):
    nobody = {"identifiers": [], "profiles": [], "digests": [], "named": [], "workspace": 0}
    named = set()
    with connection.cursor() as cursor:
        for section in SECTIONS:
            cursor.execute(section.query, nobody)
            named |= {column.name for column in cursor.description}

    assert set(words.COLUMNS) == named


def test_words__name_every_section_and_origin():
    assert set(words.TITLES) == {section.name for section in SECTIONS}
    assert set(words.ORIGINS) == set(Origin)
