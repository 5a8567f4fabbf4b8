"""What a person is asked on their own page, and what follows from the answers. A link is the only key to it.

The link holds whom it is for, encrypted, so that it tells nothing in a log and cannot be made by anybody else. It was
sent to the identifier that it names: whoever has it speaks for that identifier, and is believed as verified.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models import secrets
from cdp.models.digests import identifier_digest
from cdp.models.tenancy import workspace_scope
from consent import queries
from consent.models import ConsentState, LegalBasis, PurposePolicy, Scope
from consent.policy import DENYING, PERMITTING
from consent.queries import LastWord
from consent.services import ConsentStatement, Recorded, record_consents

LINK_LASTS: Final = timedelta(days=30)
ASKED: Final = (LegalBasis.CONSENT, LegalBasis.LEGITIMATE_INTEREST)  # of other bases there is nothing to choose


class InvalidLinkError(TesseraError):
    """The link is not valid, or no longer. Ask for a new one where you found it."""

    code = "invalid_link"


@dataclass(frozen=True, slots=True)
class Link:
    workspace_id: int
    identifier: Identifier
    until: datetime


@dataclass(frozen=True, slots=True)
class Question:
    """`answer` is what holds now. Under consent it takes a yes; against a legitimate interest a no is enough."""

    purpose: Purpose
    is_consent: bool
    description: str
    answer: bool


def link_for(identifier: Identifier, *, workspace_id: int, now: datetime) -> tuple[str, datetime]:
    """The last part of the address of the person's page, and until when it opens it."""
    until = now + LINK_LASTS
    content = {
        "workspace": str(workspace_id), "type": identifier.type, "value": identifier.value, "until": until.isoformat(),
    }  # fmt: skip
    return secrets.encrypted(content).decode(), until


def read_link(token: str, *, now: datetime) -> Link:
    """Raises `InvalidLinkError` for one that was forged, changed or ended: they cannot be told apart."""
    try:
        content = secrets.decrypted(token.encode())
        link = Link(
            int(content["workspace"]),
            Identifier(content["type"], content["value"]),
            datetime.fromisoformat(content["until"]),
        )
    except (secrets.UnreadableSecretError, KeyError, ValueError):
        raise InvalidLinkError from None
    if link.until <= now:
        raise InvalidLinkError
    return link


def questions(link: Link, *, now: datetime) -> list[Question]:
    """What the workspace asks this person, in the order of its purposes.

    What is judged device by device only a device is asked: an answer of another identifier would change nothing there.
    """
    with workspace_scope(link.workspace_id):
        policies = PurposePolicy.objects.filter(workspace=link.workspace_id, legal_basis__in=ASKED).order_by("bit")
        if not link.identifier.is_device:
            policies = policies.filter(scope=Scope.PERSON)
        answers = queries.explain_all(workspace_id=link.workspace_id, identifier=link.identifier, now=now)
        asked = [(Purpose(policy.purpose), policy) for policy in policies]
        return [
            Question(
                purpose, policy.legal_basis == LegalBasis.CONSENT, policy.description, answers[purpose].decision.allowed
            )
            for purpose, policy in asked
            if purpose.is_gated
        ]


def answer(link: Link, answers: Mapping[Purpose, bool], *, now: datetime) -> Recorded:
    """Record what is news: an answer that holds already is not said again."""
    said = _last_words(link, answers)
    statements = [
        ConsentStatement(link.identifier, purpose, _state(is_yes, said.get(purpose)), now, is_verified=True)
        for purpose, is_yes in answers.items()
        if not _holds(is_yes, said.get(purpose), now)
    ]
    return record_consents(workspace_id=link.workspace_id, statements=statements, now=now)


def _last_words(link: Link, purposes: Iterable[Purpose]) -> dict[str, LastWord]:
    """Of this identifier alone: what another one of the same person said stays as it is."""
    digest = identifier_digest(link.identifier.type, link.identifier.value)
    subjects = [(link.identifier.type, digest, purpose.value) for purpose in purposes]
    with workspace_scope(link.workspace_id):
        heard = queries.last_words(workspace_id=link.workspace_id, subjects=subjects)
    return {purpose: word for (_, _, purpose), word in heard.items()}


def _holds(is_yes: bool, last: LastWord | None, now: datetime) -> bool:  # noqa: FBT001  # an answer is yes or no
    if last is None or not last.is_verified or (last.expires_at is not None and last.expires_at <= now):
        return False
    return last.state in (PERMITTING if is_yes else DENYING)


def _state(is_yes: bool, last: LastWord | None) -> ConsentState:  # noqa: FBT001  # likewise
    if is_yes:
        return ConsentState.GIVEN
    return ConsentState.WITHDRAWN if last and last.state in PERMITTING else ConsentState.REFUSED
