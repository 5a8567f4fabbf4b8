"""Lists by hand: who is on them, what a segment hears of it, files, merges and erasures."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Stage, User
from consent import gate
from consent.models import ConsentState
from segments import list_files, lists, services
from segments.lists import By
from segments.models import ListEntry, SegmentList
from tests import outbox
from tests.factories import IdentifierFactory, say
from tests.factories.segments import merge, people, split

HOUR = timedelta(hours=1)


@pytest.fixture
def steward(db):
    return User.objects.create_user("steward")


@pytest.fixture
def vip(workspace):
    return lists.make_list(workspace_id=workspace.pk, slug="vip", name="Very important")


def waiting(workspace) -> list[tuple[int, str]]:
    return [(subject, cause) for _, subject, cause in outbox.waiting(stage=Stage.SEGMENTS, workspace=workspace)]


def listed(workspace, slug="vip") -> list[int]:
    return list(lists.profiles_on(workspace_id=workspace.pk, slug=slug))


def put_on(workspace, profiles, now, by=By()) -> int:  # noqa: B008  # frozen
    return lists.put_on(workspace_id=workspace.pk, slug="vip", profiles=profiles, by=by, now=now)


def test_people__put_on_twice_and_taken_off__leave_a_history_and_tell_segments_once(workspace, vip, steward, now):
    ada, grace = people(2, workspace)

    first = put_on(workspace, [ada.pk, grace.pk, 999_999], now, By(steward, "asked for it"))
    again = put_on(workspace, [ada.pk, grace.pk], now + HOUR)
    off = lists.take_off(workspace_id=workspace.pk, slug="vip", profiles=[ada.pk], by=By(steward), now=now + HOUR)

    assert (first, again, off) == (2, 0, 1)
    assert listed(workspace) == [grace.pk]
    assert waiting(workspace) == [(ada.pk, Cause.LIST), (grace.pk, Cause.LIST), (ada.pk, Cause.LIST)]
    entries = lists.history_of(workspace_id=workspace.pk, slug="vip")
    assert [
        (row.identifier_id, row.author, row.reason, row.added_at, row.removed_at, row.remover) for row in entries
    ] == [
        (grace.pk, steward, "asked for it", now, None, None),
        (ada.pk, steward, "asked for it", now, now + HOUR, steward),
    ]


def test_entry__through_a_merge_and_its_undo__follows_the_person(workspace, vip, now):
    ada, other = people(2, workspace)
    put_on(workspace, [other.pk], now)

    merge(ada, other)
    merged, again = listed(workspace), put_on(workspace, [ada.pk], now)
    split(other)

    assert (merged, again) == ([ada.pk], 0)
    assert listed(workspace) == [other.pk]


def test_merged_person__taken_off__is_off_by_every_identifier(workspace, vip, now):
    ada, other = people(2, workspace)
    put_on(workspace, [ada.pk, other.pk], now)
    merge(ada, other)

    assert lists.take_off(workspace_id=workspace.pk, slug="vip", profiles=[ada.pk], by=By(), now=now + HOUR) == 1

    assert listed(workspace) == []
    assert ListEntry.objects.filter(removed_at=now + HOUR).count() == 2


def test_person__who_withdraws__is_seen_on_no_list_and_can_still_be_taken_off(workspace, vip, now):
    [ada] = people(1, workspace)
    put_on(workspace, [ada.pk], now)
    say(ada, Purpose.SEGMENTATION, ConsentState.WITHDRAWN)

    seen = listed(workspace)
    put_again = put_on(workspace, [ada.pk], now)
    off = lists.take_off(workspace_id=workspace.pk, slug="vip", profiles=[ada.pk], by=By(), now=now + HOUR)

    assert (seen, put_again, off) == ([], 0, 1)
    assert not ListEntry.objects.filter(removed_at=None).exists()


def test_erased_person__is_on_no_list(workspace, vip, now):
    ada, grace = people(2, workspace)
    put_on(workspace, [ada.pk, grace.pk], now)

    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM core.erasure_rule WHERE table_name = 'segment_list_entry'")
        statement = cursor.fetchone()[0]
        cursor.execute(statement.replace("$1", "%s::bigint[]").replace("$2", "%s::bigint"), [[ada.pk], ada.pk])

    assert [row.identifier_id for row in ListEntry.objects.all()] == [grace.pk]


def test_file__with_good_and_bad_lines__puts_on_who_is_named_and_tells_the_others(workspace, vip, now, monkeypatch):
    monkeypatch.setattr(list_files, "LINES", 2)
    ada, grace, third = people(3, workspace)
    phone = IdentifierFactory(workspace=workspace, type="phone", value="+33612345678")
    told: list[tuple[int, str]] = []
    lines = [
        f"\ufeffEMAIL:{ada.value}\n".replace("EMAIL", "email"), "\n", grace.value.upper(), f"profile:{third.pk}",
        "phone:06 12 34 56 78", "email:nobody@example.com", "no sense", f"{ada.pk}", "email:null", "9" * 400,
    ]  # fmt: skip

    done = list_files.load(
        workspace_id=workspace.pk, slug="vip", lines=lines, is_removal=False, by=By(), now=now,
        refuse=lambda number, code: told.append((number, code)),
    )  # fmt: skip

    assert done == list_files.Loaded(lines=9, changed=4, refused=4)
    assert sorted(told) == [
        (6, "unknown_profile"), (7, "identifier_syntax"), (9, "invalid_identifier"), (10, "unreadable_line"),
    ]  # fmt: skip
    assert listed(workspace) == [ada.pk, grace.pk, third.pk, phone.profile_id]


def test_file__for_an_unknown_list__is_refused_and_changes_nothing(workspace, now):
    with pytest.raises(lists.UnknownListError):
        list_files.load(
            workspace_id=workspace.pk, slug="vip", lines=[], is_removal=False, by=By(), now=now, refuse=print
        )

    assert not SegmentList.objects.exists()


@pytest.mark.parametrize("slug", ["", "+vip", "-vip", "two words", "x" * 51, "é"])
def test_list__with_a_slug_that_segments_keep_for_themselves__is_refused(workspace, slug):
    with pytest.raises(lists.ListSlugError):
        lists.make_list(workspace_id=workspace.pk, slug=slug, name="")

    assert not SegmentList.objects.exists()


def test_list__that_exists__is_refused(workspace, vip):
    with pytest.raises(lists.ListExistsError):
        lists.make_list(workspace_id=workspace.pk, slug="vip", name="")

    assert SegmentList.objects.get().name == "Very important"


def test_view_of_lists__of_another_workspace__shows_nothing(workspace, vip, now):
    [ada] = people(1, workspace)
    put_on(workspace, [ada.pk], now)

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk + 1), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM list_entry")
        assert cursor.fetchone() == (0,)


# -- the command ----------------------------------------------------------------------------------------------------


def command(*arguments) -> dict[str, object]:
    out = StringIO()
    call_command(*arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_command__makes_a_list_loads_a_file_and_moves_people_by_hand(workspace, tmp_path, now, capsys):
    ada, grace = people(2, workspace)
    segment = services.create_segment(
        workspace_id=workspace.pk, slug="french", name="", definition='trait "x" = 1', author=None, now=now
    )
    file = tmp_path / "people.txt"
    file.write_text(f"{ada.value}\n{grace.pk}\nnobody\n")
    of = ("--workspace", workspace.slug)

    assert command("lists", "make", "vip", "--name", "Very", *of) == {"list": "vip"}
    assert command("lists", "put-on", "vip", str(file), *of) == {"lines": 3, "changed": 2, "refused": 1}
    assert command("lists", "take-off", "vip", str(file), *of)["changed"] == 2
    assert command("lists", "include", segment.slug, str(ada.pk), *of) == {"segment": "french", "changed": 1}
    assert command("lists", "exclude", segment.slug, str(ada.pk), *of)["changed"] == 1
    assert command("lists", "leave", segment.slug, str(ada.pk), *of)["changed"] == 1
    assert command("lists", "show", *of) == {"lists": [{"list": "vip", "name": "Very"}]}
    assert "line 3: identifier_syntax" in capsys.readouterr().err
    assert not ListEntry.objects.filter(removed_at=None).exists()


def test_command__of_a_file_that_is_not_there__says_so(workspace, vip, tmp_path):
    with pytest.raises(CommandError, match="cannot be read"):
        command("lists", "put-on", "vip", str(tmp_path / "gone"), "--workspace", workspace.slug)

    with pytest.raises(CommandError, match="200 characters"):
        command("lists", "put-on", "vip", "x", "--reason", "x" * 201, "--workspace", workspace.slug)
