"""Stored records read again: what changes, what stands, and that a killed run goes on where it stopped."""

import json
from datetime import UTC, datetime

import pytest
from django.core.management import call_command

from cdp.ingestion import corrections, renormalising
from cdp.ingestion import services as ingestion
from cdp.ingestion.mapping import FileMapping
from cdp.ingestion.mapping_texts import digest_of_mapping, text_of_mapping
from cdp.ingestion.normalise import BUILT_IN, VERSION
from cdp.ingestion.renormalising import Counts, Example, RenormalisingInterruptedError, renormalise
from cdp.models import Identifier, IdentifierTrait, MappingText, OutboxRow, Record, Run, RunState, Sighting, SourceKind
from tests.factories import SourceFactory
from tests.outbox import subjects_waiting

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PEOPLE = "id,given_name,email,city\n1,ADA,ada@acme.con,Lyon\n2,Zoë,zoe@example.com,Grenobl\n3,Sophie,,Paris\n"


@pytest.fixture(autouse=True)
def _fresh_cache():
    corrections.forget_corrections()
    yield
    corrections.forget_corrections()


@pytest.fixture
def crm(workspace):
    return SourceFactory(workspace=workspace, name="crm", kind=SourceKind.FILE, default_region="FR")


@pytest.fixture
def loaded(crm, tmp_path):
    load(crm, tmp_path, PEOPLE)
    OutboxRow.objects.all().delete()
    return crm


def load(source, tmp_path, content, mapping=None, at=NOW):
    path = tmp_path / "people.csv"
    path.write_text(content)
    return ingestion.load_records(
        workspace_id=source.workspace_id, source=source.name, path=path, mapping=mapping, clock=lambda: at,
        report=lambda _: None,
    )  # fmt: skip


def correct(source, *rows):
    entries = [corrections.checked_entry(*row) for row in rows]
    corrections.add_corrections(workspace_id=source.workspace_id, entries=entries, now=NOW)


def again(source, *, is_dry_run=False, mapping=None, report=lambda _: None):
    return renormalise(
        workspace_id=source.workspace_id, source=source.name, mapping=mapping, is_dry_run=is_dry_run,
        clock=lambda: NOW, report=report,
    )  # fmt: skip


def traits_of(key):
    found = IdentifierTrait.objects.filter(identifier__type="crm:id", identifier__value=key)
    return dict(found.values_list("name", "value"))


TWO = (("DOMAIN", "acme.con", "acme.com"), ("TOWN", "Grenobl", "Grenoble"))


def test_load__of_records__remembers_how_they_were_read(loaded):
    marks = set(Record.objects.values_list("normal_version", "dictionary_digest", "mapping_digest"))
    kept = MappingText.objects.get()

    assert marks == {(VERSION, BUILT_IN.digest, kept.digest)}
    assert FileMapping(**json.loads(kept.text)).key_type == "crm:id"


def test_mapping__as_text_and_back__is_the_same():
    mapping = FileMapping(key="id", key_type="crm:id", identifiers={"email": "mail"}, traits={"city": "ville"})

    assert FileMapping(**json.loads(text_of_mapping(mapping))) == mapping
    assert digest_of_mapping(mapping) == digest_of_mapping(FileMapping(**json.loads(text_of_mapping(mapping))))


def test_renormalise__of_records_that_are_up_to_date__reads_none(loaded):
    assert again(loaded).counts == Counts()


def test_dry_run__after_a_correction__counts_and_changes_nothing(loaded):
    correct(loaded, *TWO)
    ada, zoe, _ = Record.objects.order_by("key")
    before = list(IdentifierTrait.objects.order_by("pk").values())

    told = again(loaded, is_dry_run=True)

    assert told.counts == Counts(read=3, changed=2, traits=2, identifiers=1)
    assert list(told.examples) == [Example(ada.pk, ("email",), ("email",)), Example(zoe.pk, ("city",), ())]
    assert list(IdentifierTrait.objects.order_by("pk").values()) == before
    assert not Identifier.objects.filter(value="ada@acme.com").exists()
    assert OutboxRow.objects.count() == 0
    assert set(Record.objects.values_list("dictionary_digest", flat=True)) == {BUILT_IN.digest}


def test_renormalise__after_a_correction__writes_what_reads_otherwise_and_keeps_what_came(loaded):
    correct(loaded, *TWO)
    raw = list(Record.objects.order_by("pk").values_list("fields", "digest"))

    told = again(loaded)

    assert told.counts == Counts(read=3, changed=2, traits=2, identifiers=1)
    assert traits_of("1") == {"given_name": "Ada", "email": "ada@acme.com", "city": "Lyon"}
    assert traits_of("2")["city"] == "Grenoble"
    assert list(Record.objects.order_by("pk").values_list("fields", "digest")) == raw
    assert set(Record.objects.values_list("dictionary_digest", flat=True)) == {
        corrections.corrections_of(loaded.workspace_id).digest
    }


def test_renormalise__with_a_new_identifier__links_it_and_keeps_the_old_one(loaded):
    correct(loaded, *TWO)

    again(loaded)

    key, new = Identifier.objects.get(value="1"), Identifier.objects.get(value="ada@acme.com")
    assert Sighting.objects.filter(left=min(key.pk, new.pk), right=max(key.pk, new.pk)).count() == 1
    assert Identifier.objects.filter(value="ada@acme.con").count() == 1
    touched = set(subjects_waiting(stage="IDENTITY"))
    second = {*Identifier.objects.filter(value__in=["2", "zoe@example.com"]).values_list("pk", flat=True)}
    assert touched == {key.pk, new.pk} | second


def test_renormalise__twice__changes_nothing_the_second_time(loaded):
    correct(loaded, *TWO)
    again(loaded)
    before = list(IdentifierTrait.objects.order_by("pk").values())
    OutboxRow.objects.all().delete()

    told = again(loaded)

    assert told.counts == Counts()
    assert list(IdentifierTrait.objects.order_by("pk").values()) == before
    assert OutboxRow.objects.count() == 0


def test_renormalise__of_a_trait_that_the_source_said_later__lets_that_stand(loaded):
    correct(loaded, *TWO)
    later = datetime(2026, 11, 22, tzinfo=UTC)
    IdentifierTrait.objects.filter(identifier__value="2", name="city").update(value="Nice", observed_at=later)

    told = again(loaded)

    assert traits_of("2")["city"] == "Nice"
    assert told.counts.changed == 1


def test_renormalise__of_records_from_before_versions__needs_their_mapping(loaded, tmp_path):
    Record.objects.update(normal_version=1, dictionary_digest="", mapping_digest="")
    IdentifierTrait.objects.filter(name="given_name").update(value="ADA")
    mapping = tmp_path / "crm.yaml"
    mapping.write_text("key: id\nidentifiers: {email: email}\ntraits: {given_name: given_name, city: city}\n")

    without = again(loaded)
    with_it = again(loaded, mapping=mapping)

    assert without.counts == Counts(read=3, without_mapping=3)
    assert with_it.counts == Counts(read=3, changed=3, traits=3)
    assert traits_of("1")["given_name"] == "Ada"
    assert set(Record.objects.values_list("normal_version", flat=True)) == {VERSION}


def test_renormalise__that_is_killed_between_batches__goes_on_there(loaded, monkeypatch):
    correct(loaded, *TWO)
    monkeypatch.setattr(renormalising, "BATCH", 1)

    def killed(counts):
        if counts.read == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(loaded, report=killed)
    assert Run.objects.filter(kind="normalise records").values_list("state", "position").get() == (
        RunState.RUNNING,
        Record.objects.get(key="2").pk,
    )

    told = again(loaded)

    assert told.counts == Counts(read=3, changed=2, traits=2, identifiers=1)
    assert Run.objects.get(kind="normalise records").state == RunState.DONE


def test_renormalise__that_fails_in_a_batch__keeps_nothing_of_it_and_tells_the_class_alone(loaded, monkeypatch):
    correct(loaded, *TWO)

    def broken(*_):
        raise RuntimeError("ada@acme.con")

    monkeypatch.setattr(renormalising, "_mark", broken)
    with pytest.raises(RuntimeError):
        again(loaded)

    run = Run.objects.get(kind="normalise records")
    assert (run.state, run.error, run.position) == (RunState.FAILED, "RuntimeError", 0)
    assert traits_of("1")["email"] == "ada@acme.con"


def test_renormalise__whose_run_was_cancelled__stops(loaded, monkeypatch):
    correct(loaded, *TWO)
    monkeypatch.setattr(renormalising, "BATCH", 1)

    def cancel(_):
        Run.objects.filter(kind="normalise records").update(state=RunState.CANCELLED)

    with pytest.raises(RenormalisingInterruptedError):
        again(loaded, report=cancel)

    assert Run.objects.get(kind="normalise records").state == RunState.CANCELLED
    assert traits_of("2")["city"] == "Grenobl"


def test_renormalise__of_a_record_whose_key_is_none_any_more__counts_it_and_leaves_it(loaded):
    correct(loaded, *TWO)
    Record.objects.filter(key="2").update(fields={"id": "null", "city": "Grenobl"})

    told = again(loaded)

    assert told.counts == Counts(read=3, changed=1, traits=1, identifiers=1, refused=1)
    assert Record.objects.get(key="2").dictionary_digest == BUILT_IN.digest


def test_normalise_command__of_records__prints_counts_and_examples_without_values(loaded, capsys):
    correct(loaded, *TWO)

    call_command("normalise", "records", "--source", "crm", "--dry-run", "--workspace", loaded.workspace.slug, "--json")

    printed = capsys.readouterr()
    assert json.loads(printed.out)["changed"] == 2
    assert "acme" not in printed.out + printed.err
