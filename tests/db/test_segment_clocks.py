"""Two editions of the time zones: which places they differ about, and from which day on."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cdp.management import doctor
from segments import clocks

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Newer(ZoneInfo):
    """An edition in which Kathmandu takes an hour more from the 1st of June on."""

    def utcoffset(self, at):
        offset = super().utcoffset(at)
        is_later = self.key == "Asia/Kathmandu" and at.replace(tzinfo=None) >= datetime(2026, 6, 1)
        return offset + timedelta(hours=1) if is_later else offset


@pytest.mark.django_db
def test_editions__that_differ_about_a_place__name_it_from_that_day_on(monkeypatch):
    same = clocks.disagreements(NOW)
    monkeypatch.setattr(clocks, "ZoneInfo", Newer)
    differing = clocks.disagreements(NOW)

    assert "Asia/Kathmandu" not in same
    assert differing == {**same, "Asia/Kathmandu": datetime(2026, 6, 1, 12, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("differing", "told"),
    [
        ({}, "Python and Postgres show the same time"),
        (
            {"Africa/Casablanca": NOW, "Africa/El_Aaiun": NOW},
            (
                "Python and Postgres differ about Africa/Casablanca from 2026-01-01; Africa/El_Aaiun from 2026-01-01:"
                " update the time zones of both together"
            ),
        ),
    ],
)  # fmt: skip
def test_doctor__of_editions_that_differ__warns_and_is_content(workspace, monkeypatch, differing, told):
    monkeypatch.setattr(clocks, "disagreements", lambda _: differing)

    [check] = [check for check in doctor.examine(lambda: NOW) if check.name == "time_zones"]

    assert (check.ok, check.detail) == (True, told)
