"""`consent …`: what a person permits, why, and says; is the ledger whole; to suppress, restrict and erase a person."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.normalise import identifier_value
from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.management.command import TesseraCommand
from cdp.management.times import read_time
from cdp.models import Workspace
from cdp.models.tenancy import workspace_scope
from consent import chain, erasure, published_heads, queries, restriction, services, suppression
from consent.models import ConsentState, SignalKind
from consent.signals import reading
from consent.signals.bits import LARGEST_ID
from consent.signals.strings import OPT_OUTS, TCF_PURPOSES

RIGHTS = {
    "suppress": "store nobody with this identifier any more",
    "unsuppress": "take an identifier off the suppression list",
    "restrict": "show a person to no purpose (Art. 18), or object to one of them (Art. 21)",
    "lift": "end a restriction, or with --purpose an objection",
    "erase": "erase a person everywhere, and keep them from coming back (Art. 17)",
}
STATES = [state.value.lower() for state in ConsentState]


class BrokenLedgerError(TesseraError):
    """The ledger is not what was recorded: `findings` names each record. Restore it from a backup, and find out who could write."""

    code = "broken_ledger"


class Command(TesseraCommand):
    help = "Explain or record what a person permits, verify the ledger; suppress, restrict or erase a person."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        purposes = [purpose.value for purpose in Purpose]
        explain = actions.add_parser("explain", help="may a person's data be used for a purpose, and why")
        record = actions.add_parser("record", help="record what a person says")
        verify = actions.add_parser("verify", help="is every record what was recorded, in its order, and none gone")
        verify.add_argument("--head", type=_head, metavar="POSITION:HASH", help="one that was noted earlier")
        verify.add_argument("--published", type=Path, metavar="FILE", help="all heads that were published")
        actions.add_parser("publish-head", help="add what the ledger is now to the file of published heads")
        settings = actions.add_parser(
            "settings", help="how the workspace asks by double opt-in; without options: show it"
        )
        settings.add_argument(
            "--keep-addresses", choices=["yes", "no"], help="the IP addresses of asking and confirming"
        )
        settings.add_argument("--confirmation-hours", type=_hours, help="how long a token can be used")
        settings.add_argument(
            "--vendor", type=_vendor, metavar="ID", help="of the Global Vendor List: you, in TC strings"
        )
        settings.add_argument(
            "--jurisdiction-trait",
            metavar="NAME",
            help="whose value is where a person lives, as FR or US-CA; '' for none",
        )
        decode = actions.add_parser("decode", help="what a TC string, a GPP string or US Privacy says")
        decode.add_argument("signal", metavar="STRING")
        decode.add_argument("--vendor", type=int, metavar="ID", help="of the Global Vendor List: what may it do")
        signals = actions.add_parser("signals", help="list what signals in events mean; with --purpose, map one")
        meant = signals.add_mutually_exclusive_group()
        meant.add_argument("--category", metavar="NAME", help="of the consent banner, as in context.consent")
        meant.add_argument("--gpc", action="store_true", help="Global Privacy Control")
        meant.add_argument("--tcf-purpose", type=int, choices=TCF_PURPOSES, help="of a TC string, permitted by consent")
        meant.add_argument("--opt-out", choices=OPT_OUTS, help="of a GPP string, under a law of the United States")
        signals.add_argument("--purpose", choices=purposes)
        signals.add_argument("--remove", action="store_true", help="it says nothing any more of the purpose")
        for action in (explain, record):
            action.add_argument("--identifier", required=True, metavar="TYPE:VALUE")
            action.add_argument("--purpose", required=True, choices=purposes)
            action.add_argument("--recipient", default="", metavar="NAME", help="this one alone; default: all of them")
        record.add_argument("--state", required=True, type=str.lower, choices=STATES)
        record.add_argument("--at", default="", metavar="TIME", help="when it was said, ISO 8601; default: now")
        record.add_argument("--expires", default="", metavar="TIME", help="ISO 8601")
        record.add_argument("--verified", action="store_true", help="logged in, or confirmed by double opt-in")
        record.add_argument("--key", default="", help="the same key again records nothing")

        for name, does in RIGHTS.items():
            action = actions.add_parser(name, help=does)
            action.add_argument("--identifier", required=True, metavar="TYPE:VALUE")
            if name == "suppress":
                action.add_argument("--until", default="", metavar="TIME", help="ISO 8601; default: for ever")
            if name == "erase":
                action.add_argument("--key", default="", help="of the request: the same key again erases nothing")
            if name in {"restrict", "lift"}:
                action.add_argument("--purpose", choices=purposes, help="the objection to this purpose alone")

    def handle(self, *_: Any, **options: Any) -> None:
        if options["action"] == "decode":
            self.emit(reading.read(options["signal"], now=timezone.now(), vendor=options["vendor"]))
            return
        workspace_id = self.workspace_id(options)
        if options["action"] == "verify":
            self._verify(workspace_id, _noted(workspace_id, options))
            return
        if (answer := _OF_THE_WORKSPACE.get(options["action"])) is not None:
            self.emit(answer(workspace_id, options))
            return
        identifier = _identifier(workspace_id, options["identifier"])
        self.emit(_OF_A_PERSON[options["action"]](workspace_id, identifier, options))

    def _verify(self, workspace_id: int, noted: list[chain.Head]) -> None:
        with workspace_scope(workspace_id):
            found = chain.verify(workspace_id, *noted)
        self.emit({**asdict(found), "noted": len(noted), "is_whole": found.is_whole})
        if not found.is_whole:
            raise BrokenLedgerError


def _head(text: str) -> chain.Head:
    position, _, digest = text.partition(":")
    return chain.Head(int(position), digest)


def _noted(workspace_id: int, options: dict[str, Any]) -> list[chain.Head]:
    """The head of the command line, and all of the file: with neither, what was cut off at the end is not seen."""
    noted = [options["head"]] if options["head"] else []
    if options["published"] is None:
        return noted
    if not options["published"].is_file():
        raise CommandError(f"There is no file {options['published']}.", returncode=2)
    return [*noted, *published_heads.published_heads(options["published"], workspace_id=workspace_id)]


def _published(workspace_id: int, _: dict[str, Any]) -> dict[str, Any]:
    return asdict(published_heads.publish_head(workspace_id=workspace_id, now=timezone.now()))


def _hours(text: str) -> int:
    hours = int(text)
    if hours < 1:
        raise ValueError
    return hours


def _vendor(text: str) -> int:
    number = int(text)
    if not 1 <= number <= LARGEST_ID:
        raise ValueError
    return number


def _configured(workspace_id: int, options: dict[str, Any]) -> dict[str, Any]:
    keeps = options["keep_addresses"]
    settings = services.configure_consent(
        workspace_id=workspace_id,
        keeps_addresses=None if keeps is None else keeps == "yes",
        confirmation_hours=options["confirmation_hours"],
        vendor_id=options["vendor"],
        jurisdiction_trait=options["jurisdiction_trait"],
    )
    return {
        "keeps_addresses": settings.keeps_addresses,
        "confirmation_hours": settings.confirmation_hours,
        "vendor": settings.vendor_id,
        "jurisdiction_trait": settings.jurisdiction_trait,
    }


def _explained(workspace_id: int, identifier: Identifier, options: dict[str, Any]) -> dict[str, Any]:
    purpose = Purpose(options["purpose"])
    with workspace_scope(workspace_id):
        answer = queries.explain(
            workspace_id=workspace_id,
            identifier=identifier,
            purpose=purpose,
            now=timezone.now(),
            recipient=options["recipient"],
        )
    return {
        "allowed": answer.allowed,
        "purpose": purpose.value,
        "recipient": options["recipient"],
        "legal_basis": answer.legal_basis,
        "profile": answer.profile_id,
        "changes_at": answer.decision.changes_at,
        "why": [
            *({"kind": "rule", "rule": rule, "text": text} for rule, text in answer.rules),
            *({"kind": "ledger", **asdict(row)} for row in answer.records),
        ],
    }


def _recorded(workspace_id: int, identifier: Identifier, options: dict[str, Any]) -> dict[str, Any]:
    now = timezone.now()
    statement = services.ConsentStatement(
        identifier=identifier,
        purpose=options["purpose"],
        state=options["state"].upper(),
        occurred_at=read_time(options["at"]) or now,
        expires_at=read_time(options["expires"]),
        is_verified=options["verified"],
        key=options["key"],
        recipient=options["recipient"],
    )
    return asdict(services.record_consents(workspace_id=workspace_id, statements=[statement], now=now))


def _signals(workspace_id: int, options: dict[str, Any]) -> dict[str, Any]:
    signal = _signal(options)
    if (signal is None) is bool(options["purpose"]):
        raise CommandError("Give a signal, and --purpose with it; or none, to list them.", returncode=2)
    if signal is not None:
        kind, category = signal
        change = services.unmap_signal if options["remove"] else services.map_signal
        change(workspace_id=workspace_id, kind=kind, category=category, purpose=Purpose(options["purpose"]))
    with workspace_scope(workspace_id):
        mapped = queries.purposes_by_signal(workspace_id)
    return {
        "signals": [
            {"kind": kind, "category": category, "purposes": sorted(purpose.value for purpose in purposes)}
            for (kind, category), purposes in mapped.items()
        ]
    }


def _signal(options: dict[str, Any]) -> tuple[str, str] | None:
    """Kind and category; None where none is named."""
    named = {
        SignalKind.CATEGORY: options["category"],
        SignalKind.TCF: options["tcf_purpose"],
        SignalKind.OPT_OUT: options["opt_out"],
        SignalKind.GPC: "" if options["gpc"] else None,
    }
    return next(((kind.value, str(category)) for kind, category in named.items() if category is not None), None)


def _identifier(workspace_id: int, text: str) -> Identifier:
    named = Identifier.parse(text)
    region = Workspace.objects.values_list("default_region", flat=True).get(pk=workspace_id)
    value = identifier_value(named.type, named.value, region=region, corrections=corrections_of(workspace_id))
    if value is None:
        raise CommandError(f"The value of this {named.type} identifies nobody.", returncode=2)
    return Identifier(named.type, value)


def _suppressed(workspace_id: int, identifier: Identifier, options: dict[str, Any]) -> dict[str, Any]:
    until = read_time(options["until"])
    kept = suppression.suppress(workspace_id=workspace_id, identifier=identifier, now=timezone.now(), until=until)
    return {"suppressed": True, "until": kept.until}


def _unsuppressed(workspace_id: int, identifier: Identifier, _: dict[str, Any]) -> dict[str, Any]:
    return {"unsuppressed": suppression.unsuppress(workspace_id=workspace_id, identifier=identifier)}


def _restricted(workspace_id: int, identifier: Identifier, options: dict[str, Any]) -> dict[str, Any]:
    kept = restriction.deny(
        workspace_id=workspace_id, identifier=identifier, purpose=_purpose(options), now=timezone.now()
    )
    return {"kind": kept.kind, "since": kept.created_at}


def _lifted(workspace_id: int, identifier: Identifier, options: dict[str, Any]) -> dict[str, Any]:
    lifted = restriction.lift(
        workspace_id=workspace_id, identifier=identifier, purpose=_purpose(options), now=timezone.now()
    )
    return {"lifted": lifted}


def _purpose(options: dict[str, Any]) -> Purpose | None:
    return Purpose(options["purpose"]) if options["purpose"] else None


def _erased(workspace_id: int, identifier: Identifier, options: dict[str, Any]) -> dict[str, Any]:
    done = erasure.erase_person(
        workspace_id=workspace_id, identifier=identifier, now=timezone.now(), key=options["key"]
    )
    with workspace_scope(workspace_id):
        return erasure.certificate(done)


_OF_THE_WORKSPACE: dict[str, Callable[[int, dict[str, Any]], dict[str, Any]]] = {
    "publish-head": _published,
    "settings": _configured,
    "signals": _signals,
}
_OF_A_PERSON: dict[str, Callable[[int, Identifier, dict[str, Any]], dict[str, Any]]] = {
    "explain": _explained,
    "record": _recorded,
    "suppress": _suppressed,
    "unsuppress": _unsuppressed,
    "restrict": _restricted,
    "lift": _lifted,
    "erase": _erased,
}
