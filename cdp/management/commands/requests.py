"""`manage.py requests list|show|open|code|verify|carry-out|mentions|…`: requests of people, for an officer without a browser."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.urls import reverse
from django.utils import timezone

from cdp.ingestion.naming import normal_identifier
from cdp.ingestion.rectifying import normal_values
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.management.command import ActionParser, TesseraCommand
from cdp.management.times import read_time
from cdp.models import Workspace
from cdp.models.tenancy import workspace_scope
from consent import execution, mentions, packaging, requests, verifying
from consent.models import DataRequest, RequestWork
from consent.rights import Right

BY: Final = "command"
MOST_IDS: Final = 100  # of each table, to look at

# The service of each step, what it is for, and the name under which the service takes what is written with it.
STEPS: Final[Mapping[str, tuple[Callable[..., DataRequest], str, str]]] = {
    "doubt": (requests.doubt_identity, "it is doubted who asks: the clock stands still", "reason"),
    "settle": (requests.settle_doubt, "the doubt is over: the clock runs again", ""),
    "extend": (requests.extend_request, "the person was told: two more months", "reason"),
    "refuse": (requests.refuse_request, "the person was told why nothing is done", "reason"),
    "try-again": (requests.carry_out_again, "do now what failed, or was never ordered", ""),
    "outcome": (requests.note_outcome, "what a human decided: the work by hand is done", "outcome"),
    "duplicate": (requests.mark_duplicate, "the same as an earlier request of this person", "of"),
    "take-back": (requests.take_back, "the person no longer asks", ""),
    "complete": (requests.complete_request, "it is done, and the person was told", ""),
}


class Command(TesseraCommand):
    help = "Requests of people (GDPR Art. 15-22, 7(3)): receive, verify and answer them."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        listed = actions.add_parser("list", help="those that are open, the most urgent first")
        listed.add_argument("--all", action="store_true", help="closed ones too")
        _add_opening(actions.add_parser("open", help="keep what a person asks for; the month runs from when they did"))
        numbered = {
            "show": "one request, who asks, and all that happened to it",
            "code": "a new code, for the first identifier of the request and for nobody else",
            "verify": "the person asks themselves",
            "carry-out": "begin: the package is built, or what was asked for is done",
            "link": "a new link to the package, for 7 days and 3 downloads",
            "mentions": "where others wrote of the person in the words that you give; nothing is changed",
            "redact": "likewise, and […] takes their place; what is quarantined and has them is deleted",
            **{name: does for name, (_, does, _) in STEPS.items()},
        }
        for name, does in numbered.items():
            action = actions.add_parser(name, help=does)
            action.add_argument("request", type=int, metavar="NUMBER")
            _add_what_it_takes(name, action)

    def handle(self, *_: Any, **options: Any) -> None:
        answer = ACTIONS.get(options["action"], _step)
        self.emit(answer(self.workspace_id(options), options))


def _add_opening(action: ActionParser) -> None:
    action.add_argument("--kind", required=True, type=str.upper, choices=[right.value for right in Right])
    action.add_argument("--identifier", action="append", required=True, metavar="TYPE:VALUE", help="repeatable")
    action.add_argument("--received", default="", metavar="TIME", help="when the person asked, ISO 8601; default: now")
    action.add_argument("--logged-in", action="store_true", help="all identifiers are known to be the person's")
    action.add_argument("--key", default="", help="the same key again is the same request")
    action.add_argument("--locale", choices=DataRequest.Locale.values, default="en", help="the person's language")
    action.add_argument(
        "--purpose",
        action="append",
        default=[],
        choices=[purpose.value for purpose in Purpose],
        help="that is objected to or withdrawn; repeatable; default: all of them",
    )
    _add_corrections(action)


def _add_what_it_takes(name: str, action: ActionParser) -> None:
    if name == "verify":
        how = action.add_mutually_exclusive_group(required=True)
        how.add_argument("--code", help="that the person received")
        how.add_argument("--how", metavar="TEXT", help="somebody made sure: how")
        how.add_argument("--logged-in", action="store_true", help="all identifiers are known to be the person's")
    if name == "carry-out":
        _add_corrections(action)
    if name in {"mentions", "redact"}:
        action.add_argument("--text", required=True, help="whole words, such as a full name")
        action.add_argument(
            "--in", action="append", dest="places", choices=mentions.PLACES, help="this table alone; repeatable"
        )
    if name == "redact":
        action.add_argument(
            "--row", action="append", dest="rows", metavar="TABLE:ID", help="this row alone; repeatable"
        )
    if name in STEPS and (takes := STEPS[name][2]):
        kind: Callable[[str], Any] = int if takes == "of" else str
        action.add_argument(f"--{takes}", required=True, type=kind, metavar="NUMBER" if takes == "of" else "TEXT")


def _add_corrections(action: ActionParser) -> None:
    action.add_argument(
        "--correct", action="append", default=[], metavar="TRAIT=VALUE", help="the right value; repeatable"
    )


def _list(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    with workspace_scope(workspace_id):
        rows = DataRequest.objects.filter(workspace=workspace_id).order_by("closed_at", "due_at", "pk")
        rows = rows if options["all"] else rows.filter(closed_at=None)
        return {"requests": [_described(row) for row in rows]}


def _show(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    with workspace_scope(workspace_id):
        found = DataRequest.objects.filter(workspace=workspace_id, pk=options["request"]).first()
        if found is None:
            raise requests.UnknownRequestError(request=options["request"])
        steps = list(
            found.steps.order_by("pk").values("step", "from_state", "to_state", "stepped_at", "stepped_by", "note")
        )
        has_work = RequestWork.objects.filter(request=found).exists()
    work = execution.work_of(workspace_id=workspace_id, request_id=found.pk, now=timezone.now()) if has_work else None
    return {
        **_described(found),
        "identifiers": [str(one) for one in requests.identifiers_of(found)],
        "work": work and {"state": work.state, "done": work.done, "error": work.error, "certificate": work.certificate},
        "steps": steps,
    }


def _open(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    now, workspace = timezone.now(), Workspace.objects.get(pk=workspace_id)
    made = requests.receive_request(
        workspace_id=workspace_id,
        kind=Right(options["kind"]),
        identifiers=[normal_identifier(workspace, Identifier.parse(text)) for text in options["identifier"]],
        received_at=read_time(options["received"]) or now,
        by=BY,
        now=now,
        key=options["key"],
        is_logged_in=options["logged_in"],
        purposes=[Purpose(purpose) for purpose in options["purpose"]],
        corrections=_corrections(workspace, options),
        locale=options["locale"],
    )
    return _described(made)


def _code(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    code = verifying.issue_code(**_named(workspace_id, options))
    return {"code": code, "valid_seconds": int(verifying.VALID.total_seconds())}


def _verify(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    named = _named(workspace_id, options)
    if options["logged_in"]:
        return _described(requests.verify_by_login(**named))
    if options["code"] is not None:
        return _described(verifying.verify_by_code(**named, code=options["code"]))
    return _described(requests.verify_by_hand(**named, how=options["how"]))


def _carry_out(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """The schedule of the worker of rights finds it."""
    corrections = _corrections(Workspace.objects.get(pk=workspace_id), options)
    return _described(requests.start_request(**_named(workspace_id, options), corrections=corrections))


def _link(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    token, package = packaging.make_link(**_named(workspace_id, options))
    return {
        "path": reverse("data_package", args=[token]),
        "until": package.link_expires_at,
        "downloads": package.downloads_left,
    }


def _mentions(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Ids, and no values: whoever may see those finds them by these."""
    asked = {**_named(workspace_id, options), "text": options["text"], "places": options["places"] or mentions.PLACES}
    is_redacting = options["action"] == "redact"
    found = (
        mentions.redact_mentions(**asked, chosen=_rows(options["rows"]))
        if is_redacting
        else mentions.find_mentions(**asked)
    )
    return {"rows": found.counts, "ids": {place: ids[:MOST_IDS] for place, ids in found.rows.items()}}


def _rows(written: Sequence[str] | None) -> dict[str, list[int]] | None:
    """`record:4711`; none means all."""
    rows: dict[str, list[int]] = {}
    for place, _, number in (text.partition(":") for text in written or ()):
        if place not in mentions.PLACES or not number.isdecimal():
            raise CommandError("Write a row as TABLE:ID, such as record:4711.", returncode=2)
        rows.setdefault(place, []).append(int(number))
    return rows or None


def _step(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    service, _, takes = STEPS[options["action"]]
    given = {takes: options[takes]} if takes else {}
    return _described(service(**_named(workspace_id, options), **given))


def _named(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"workspace_id": workspace_id, "request_id": options["request"], "by": BY, "now": timezone.now()}


def _corrections(workspace: Workspace, options: Mapping[str, Any]) -> dict[str, Any]:
    pairs = [text.partition("=") for text in options["correct"]]
    if not all(name.strip() and value.strip() for name, _, value in pairs):
        raise CommandError("Write a right value as TRAIT=VALUE, such as city=Paris.", returncode=2)
    return normal_values({name.strip(): value.strip() for name, _, value in pairs}, workspace=workspace)


def _described(request: DataRequest) -> dict[str, Any]:
    """Without who asks."""
    return {
        "request": request.pk,
        "kind": request.kind,
        "state": request.state,
        "verification": request.verification,
        "locale": request.locale,
        "received_at": request.received_at,
        "first_due_at": request.first_due_at,
        "due_at": request.due_at,
        "extension_reason": request.extension_reason,
        "refusal_reason": request.refusal_reason,
        "duplicate_of": request.duplicate_of_id,
        "closed_at": request.closed_at,
    }


ACTIONS: Final[Mapping[str, Callable[[int, Mapping[str, Any]], dict[str, Any]]]] = {
    "list": _list,
    "show": _show,
    "open": _open,
    "code": _code,
    "verify": _verify,
    "carry-out": _carry_out,
    "link": _link,
    "mentions": _mentions,
    "redact": _mentions,
}
