"""Whether a person permits a purpose: the merge rule, without a framework.

Somebody may speak of one recipient alone, such as a platform for advertisements. Each identifier has then one voice for
the purpose as a whole, and one for each recipient that it named. A grant covers what it names: consent to e-mail never
covers matching at a platform. A refusal that names a recipient is taken back only in the name of that recipient.

A purpose may be judged device by device, as cookies are: a yes holds on the device where it was said, and nowhere else.
What belongs to no single device is permitted where every device permits it and nobody else who was heard says no.

Postgres keeps the same rule as the mask of every person (consent/migrations), and a property test compares the two.
This one explains: it says by which rule, and when the answer could next be another one.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

PERMITTING: Final = frozenset({"GIVEN", "RENEWED"})
DENYING: Final = frozenset({"REFUSED", "WITHDRAWN"})
SILENT: Final = "UNKNOWN"
EVERYBODY: Final = ""  # as a recipient: the purpose as a whole
OPT_OUT: Final = "OPT_OUT"


class Rule(StrEnum):
    """Why the answer is what it is; the sentences are in RULE_TEXTS."""

    NOT_PURSUED = "not_pursued"
    DENIED = "denied"
    GRANTED_AFTER_DENIAL = "granted_after_denial"
    GRANTED = "granted"
    NOT_GRANTED = "not_granted"
    SILENCE_REFUSES = "silence_refuses"
    SILENCE_PERMITS = "silence_permits"
    OBJECTION = "objection"
    RESTRICTION = "restriction"
    SUPPRESSION = "suppression"


RULE_TEXTS: Final = {
    Rule.NOT_PURSUED: "the workspace does not pursue this purpose",
    Rule.DENIED: "an identifier of the person refused or withdrew, and no verified one granted later",
    Rule.GRANTED_AFTER_DENIAL: "a verified identifier granted after the last refusal of any other",
    Rule.GRANTED: "an identifier of the person grants, and none refuses",
    Rule.NOT_GRANTED: "something was asked or has lapsed, and no identifier grants",
    Rule.SILENCE_REFUSES: "nobody said anything, and the purpose rests on consent",
    Rule.SILENCE_PERMITS: "nobody said anything, and the purpose does not rest on consent",
    Rule.OBJECTION: "the person objected to this purpose, whatever else was said (Art. 21)",
    Rule.RESTRICTION: "the data of the person are restricted: kept, and used for nothing (Art. 18)",
    Rule.SUPPRESSION: "nobody with this identifier is stored any more",
}


ALLOWING: Final = frozenset({Rule.GRANTED, Rule.GRANTED_AFTER_DENIAL, Rule.SILENCE_PERMITS})


@dataclass(frozen=True, slots=True)
class Policy:
    """On what ground the workspace pursues the purpose. None: it does not pursue it at all.

    `regime` is that of the person's jurisdiction. Where that is not known it is opt-in.
    """

    legal_basis: str | None
    regime: str = "OPT_IN"
    is_by_device: bool = False

    @property
    def silence_permits(self) -> bool:
        return self.legal_basis != "CONSENT" or self.regime == OPT_OUT


def regime_in(regimes: Mapping[str, str], jurisdiction: str) -> str:
    """`US-CA` is looked up as such, then as `US`; where nothing is said silence is no."""
    country = jurisdiction.partition("-")[0]
    return regimes.get(jurisdiction, regimes.get(country, "OPT_IN"))


@dataclass(frozen=True, slots=True)
class Statement:
    """What one identifier said about the purpose."""

    identifier: int | str
    state: str
    occurred_at: datetime
    expires_at: datetime | None = None
    is_verified: bool = False
    recipient: str = EVERYBODY
    record: int = 0

    def grants_at(self, now: datetime) -> bool:
        return self.state in PERMITTING and (self.expires_at is None or self.expires_at > now)

    @property
    def denies(self) -> bool:
        return self.state in DENYING

    def covers(self, recipient: str) -> bool:
        return self.recipient in (EVERYBODY, recipient)


@dataclass(frozen=True, slots=True)
class Decision:
    """`changes_at` is when the answer could next change if nobody says anything: never later than it does."""

    allowed: bool
    rule: Rule
    changes_at: datetime | None

    @property
    def reason(self) -> str:
        return RULE_TEXTS[self.rule]


def decide(
    policy: Policy,
    statements: Iterable[Statement],
    now: datetime,
    recipient: str = EVERYBODY,
    devices: Collection[int | str] = (),
) -> Decision:
    """The answer for one person and one purpose, from what all identifiers of the person ever said about it.

    Without a recipient it must hold for all of them: for whoever was named, and for those of whom nobody spoke. Judged
    device by device it must hold on all `devices` of the person. For a single one give it alone, and what it said itself.
    """
    said = tuple(each for each in statements if recipient == EVERYBODY or each.covers(recipient))
    latest = _latest(said, now)
    asked = [recipient, *sorted({each.recipient for each in latest} - {recipient, EVERYBODY})]
    rules = [rule for one in asked for rule in _rules(policy, latest, now, one, devices)]
    rule = next((each for each in rules if each not in ALLOWING), rules[0])
    return Decision(rule in ALLOWING, rule, _next_change(said, now))


def held_back(decision: Decision, holds: Collection[Rule]) -> Decision:
    """What holds a person back comes after all that was said, and is always no: an objection, a restriction, a suppression.

    The gravest is the reason.
    """
    gravest = next((rule for rule in (Rule.SUPPRESSION, Rule.RESTRICTION, Rule.OBJECTION) if rule in holds), None)
    return decision if gravest is None else Decision(False, gravest, decision.changes_at)


def evidence(statements: Iterable[Statement], now: datetime, recipient: str = EVERYBODY) -> tuple[int, ...]:
    """The records that `decide` answers from: the last word of each voice that counts."""
    last = _latest(statements, now)
    return tuple(
        sorted(
            each.record
            for each in last
            if each.covers(recipient) or (recipient == EVERYBODY and not each.grants_at(now))
        )
    )


def _rules(
    policy: Policy, latest: Collection[Statement], now: datetime, recipient: str, devices: Collection[int | str]
) -> list[Rule]:
    """One for the person; or, the gravest first, one for each device, silent ones too, and for whoever else was heard."""
    if not policy.is_by_device:
        return [_rule(policy, latest, now, recipient)]
    own: dict[int | str, list[Statement]] = {device: [] for device in devices}
    for each in latest:
        if each.state != SILENT and each.covers(recipient):
            own.setdefault(each.identifier, []).append(each)
    rules = [_rule(policy, said, now, recipient) for said in own.values()]
    return sorted(rules or [_rule(policy, (), now, recipient)], key=tuple(Rule).index)


def _rule(policy: Policy, latest: Iterable[Statement], now: datetime, recipient: str) -> Rule:
    if policy.legal_basis is None:
        return Rule.NOT_PURSUED
    heard = [each for each in latest if each.state != SILENT and each.covers(recipient)]
    if any(each.denies and each.recipient for each in heard):
        return Rule.DENIED
    grants = [statement for statement in heard if statement.grants_at(now)]
    denied_at = max((statement.occurred_at for statement in heard if statement.denies), default=None)
    verified_at = max((statement.occurred_at for statement in grants if statement.is_verified), default=None)
    if denied_at is not None:
        outranked = verified_at is not None and verified_at > denied_at
        return Rule.GRANTED_AFTER_DENIAL if outranked else Rule.DENIED
    if grants:
        return Rule.GRANTED
    if heard:
        return Rule.NOT_GRANTED
    return Rule.SILENCE_PERMITS if policy.silence_permits else Rule.SILENCE_REFUSES


def _latest(said: Iterable[Statement], now: datetime) -> Collection[Statement]:
    """The last word of each voice; of two at the same instant the one that permits less."""
    past = [statement for statement in said if statement.occurred_at <= now]
    past.sort(key=lambda each: (each.occurred_at, *_restraint(each, now)))
    return {(statement.identifier, statement.recipient): statement for statement in past}.values()


def _restraint(statement: Statement, now: datetime) -> tuple[bool, bool, bool, bool]:
    return not statement.grants_at(now), statement.denies, statement.state != SILENT, not statement.is_verified


def _next_change(said: Iterable[Statement], now: datetime) -> datetime | None:
    instants = (at for each in said for at in (each.occurred_at, each.expires_at) if at is not None and at > now)
    return min(instants, default=None)
