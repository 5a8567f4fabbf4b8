"""Times as people write them on the command line."""

from datetime import UTC, datetime

from django.core.management.base import CommandError
from django.utils.dateparse import parse_datetime


def read_time(text: str) -> datetime | None:
    """In UTC; None where nothing is written."""
    if not text:
        return None
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise CommandError("Write times in ISO 8601 with their zone, such as 2026-11-21T12:00:00Z.", returncode=2)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise CommandError("There is no such time: years go from 1 to 9999, in UTC.", returncode=2) from error
