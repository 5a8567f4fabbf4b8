"""People with events, traits and groups, for tests of segments: written straight into the tables."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from cdp.models import Identifier, Source, Trait
from segments.models import LearnedModel, Membership, Score
from tests.factories import LONG_AGO, IdentifierFactory


def happen(
    identifier: Identifier, source: Source, name: str, at: datetime, properties: Mapping[str, Any] | None = None
) -> str:
    """An event of this identifier. Returns its message id."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM event")
        message_id = f"m{cursor.fetchone()[0]}"
        cursor.execute(
            "INSERT INTO event (workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, received_at,"
            " seen_with, properties, context) VALUES (%s, %s, %s, %s, 'track', %s, %s, %s, '{}', %s::jsonb, '{}')",
            [identifier.workspace_id, source.pk, identifier.pk, message_id, name, at, at, as_json(properties or {})],
        )
    return message_id


def know(identifier: Identifier, source: Source, **traits: Any) -> None:
    """Values of the golden record of the profile."""
    for name, value in traits.items():
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO trait (workspace_id, profile_id, name, value, source_id, identifier_id, observed_at,"
                " confidence, rule) VALUES (%s, %s, %s, %s::jsonb, %s, %s, %s, 1, 'RECENT')"
                " ON CONFLICT (profile_id, name) DO UPDATE SET value = excluded.value",
                [
                    identifier.workspace_id,
                    identifier.profile_id,
                    name,
                    as_json(value),
                    source.pk,
                    identifier.pk,
                    LONG_AGO,
                ],
            )


def forget(identifier: Identifier, name: str) -> None:
    Trait.objects.filter(profile_id=identifier.profile_id, name=name).delete()


def put_in_group(identifier: Identifier, model: str, group: str) -> None:
    learned, _ = LearnedModel.objects.get_or_create(
        workspace_id=identifier.workspace_id, slug=model, version=1, defaults={"specification": {}, "result": {}}
    )
    Score.objects.create(
        workspace_id=identifier.workspace_id, model_slug=model, profile_id=identifier.profile_id, group=group,
        model=learned, computed_at=LONG_AGO,
    )  # fmt: skip


def merge(survivor: Identifier, other: Identifier) -> None:
    """What identity does: identifiers move, the younger profile redirects."""
    Identifier.objects.filter(profile_id=other.profile_id).update(profile_id=survivor.profile_id)
    _redirect(other.pk, survivor.profile_id)
    other.refresh_from_db()


def split(identifier: Identifier) -> None:
    """The identifier is a person of its own again."""
    Identifier.objects.filter(pk=identifier.pk).update(profile_id=identifier.pk)
    _redirect(identifier.pk, None)
    identifier.refresh_from_db()


def people(count: int, workspace: Any) -> list[Identifier]:
    return IdentifierFactory.create_batch(count, workspace=workspace)


def history(memberships: Iterable[Membership]) -> list[tuple[int, datetime, str, datetime | None, str]]:
    """Periods in order: profile, entered when and why, left when and why."""
    rows = sorted(memberships, key=lambda row: (row.profile_id, row.entered_at, row.pk))
    return [(row.profile_id, row.entered_at, row.entered_cause, row.left_at, row.left_cause) for row in rows]


def as_json(value: Any) -> str:
    """Decimals as the numbers that they are."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {as_json(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_json(each) for each in value) + "]"
    return json.dumps(value)


def _redirect(profile_id: int, into: int | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE profile SET merged_into_id = %s WHERE id = %s", [into, profile_id])
