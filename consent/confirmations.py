"""Double opt-in: who asks gets a token for the person, and only the token, used once and in time, makes it a grant."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import QuerySet

from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.models.keys import digest_of, new_secret
from cdp.models.tenancy import workspace_scope
from consent import services
from consent.models import Confirmation, ConsentRecord, ConsentSettings, ConsentState
from consent.policy import DENYING, PERMITTING
from consent.services import ConsentStatement


class UnknownTokenError(TesseraError):
    """Nobody gave out this token. Take it from the message as it stands."""

    code = "unknown_token"


class TokenUsedError(TesseraError):
    """The token was used already: the first time counts, and nothing was changed."""

    code = "token_used"


class TokenExpiredError(TesseraError):
    """The time to confirm is over, and nothing was recorded. Ask the person again."""

    code = "token_expired"


class RefusedMeanwhileError(TesseraError):
    """The person refused or withdrew after they were asked: an older question cannot undo that. Ask again."""

    code = "refused_meanwhile"


class AlreadyConfirmedError(TesseraError):
    """The person permits this already, verified: asking again would suspend what they gave. Nothing was changed."""

    code = "already_confirmed"


@dataclass(frozen=True, slots=True)
class Asked:
    """The token is told once and kept as a digest: send it to the person."""

    token: str
    expires_at: datetime


def request_consent(
    *,
    workspace_id: int,
    identifier: Identifier,
    purpose: str,
    now: datetime,
    notice_id: int | None = None,
    recipient: str = "",
    jurisdiction: str = "",
    address: str | None = None,
) -> Asked:
    """Record that the person was asked: nothing is permitted by it. Raises what `record_consents` raises."""
    token = new_secret("confirm")
    asked = ConsentStatement(
        identifier, purpose, ConsentState.REQUESTED, now, notice_id=notice_id, recipient=recipient,
        jurisdiction=jurisdiction, key=f"double-opt-in:{digest_of(token)}",
    )  # fmt: skip
    with workspace_scope(workspace_id):
        settings = _settings(workspace_id)
        _refuse_if_confirmed(asked, workspace_id, now)
        services.record_consents(workspace_id=workspace_id, statements=[asked], now=now)
        opened = Confirmation.objects.create(
            workspace_id=workspace_id,
            token_digest=digest_of(token),
            identifier_type=identifier.type,
            identifier_digest=asked.digest,
            purpose=purpose,
            recipient=recipient,
            jurisdiction=jurisdiction,
            notice_id=notice_id,
            requested_at=now,
            requested_from=address if settings.keeps_addresses else None,
            expires_at=now + timedelta(hours=settings.confirmation_hours),
        )
    return Asked(token, opened.expires_at)


def confirm_consent(*, workspace_id: int, token: str, now: datetime, address: str | None = None) -> int:
    """The person used the token: the grant is recorded as verified. The answer is the id of its record."""
    with workspace_scope(workspace_id):
        _lock_ledger(workspace_id)
        confirmed = _claim(workspace_id, token, now, address)
        grant = _grant(confirmed, now)
        services.record_consents(workspace_id=workspace_id, statements=[grant], now=now)
        return ConsentRecord.objects.values_list("pk", flat=True).get(workspace_id=workspace_id, key=grant.key)


_LOCK: Final = "SELECT pg_advisory_xact_lock(4711, %s)"  # that of recording: a withdrawal is seen, or comes after us


def _lock_ledger(workspace_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [workspace_id])


def _claim(workspace_id: int, token: str, now: datetime, address: str | None) -> Confirmation:
    """Of two clicks at once one waits, and finds the token used."""
    found = Confirmation.objects.filter(workspace_id=workspace_id, token_digest=digest_of(token)).first()
    if found is None:
        raise UnknownTokenError
    if found.confirmed_at is not None:
        raise TokenUsedError
    if found.expires_at <= now:
        raise TokenExpiredError
    if _said(found, workspace_id).filter(state__in=DENYING, occurred_at__gte=found.requested_at).exists():
        raise RefusedMeanwhileError
    found.confirmed_at = now
    found.confirmed_from = address if _settings(workspace_id).keeps_addresses else None
    found.save(update_fields=["confirmed_at", "confirmed_from"])
    return found


def _grant(confirmed: Confirmation, now: datetime) -> ConsentStatement:
    return ConsentStatement(
        Identifier(confirmed.identifier_type, ""), confirmed.purpose, ConsentState.GIVEN, now, is_verified=True,
        notice_id=confirmed.notice_id, key=f"double-opt-in:{confirmed.pk}:given", recipient=confirmed.recipient,
        jurisdiction=confirmed.jurisdiction, known_digest=bytes(confirmed.identifier_digest),
    )  # fmt: skip


def _refuse_if_confirmed(asked: ConsentStatement, workspace_id: int, now: datetime) -> None:
    about = Confirmation(
        identifier_type=asked.identifier.type,
        identifier_digest=asked.digest,
        purpose=asked.purpose,
        recipient=asked.recipient,
    )
    last = _said(about, workspace_id).filter(recipient=asked.recipient).order_by("-occurred_at", "-pk").first()
    if last is None or last.state not in PERMITTING or not last.is_verified:
        return
    if last.expires_at is None or last.expires_at > now:
        raise AlreadyConfirmedError


def _said(about: Confirmation, workspace_id: int) -> QuerySet[ConsentRecord]:
    return ConsentRecord.objects.filter(
        workspace_id=workspace_id,
        identifier_type=about.identifier_type,
        identifier_digest=bytes(about.identifier_digest),
        purpose=about.purpose,
        recipient__in=["", about.recipient],
    )


def _settings(workspace_id: int) -> ConsentSettings:
    return ConsentSettings.objects.filter(pk=workspace_id).first() or ConsentSettings(workspace_id=workspace_id)
