"""Times of the command line are in UTC, or refused."""

from datetime import UTC, datetime

import pytest
from django.core.management.base import CommandError

from cdp.management.times import read_time


def test_time__with_a_zone__is_read_in_utc():
    assert read_time("2026-01-31T09:00:00+01:00") == datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert read_time("2026-01-31T09:00:00+01:00").tzinfo is UTC
    assert read_time("") is None


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31", "2026-01-31T09:00:00", "2026-02-30T09:00:00Z"])
def test_time__of_another_form__is_refused(text):
    with pytest.raises(CommandError, match="ISO 8601 with their zone"):
        read_time(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_time__that_is_none_in_utc__is_refused(text):
    with pytest.raises(CommandError, match="There is no such time"):
        read_time(text)
