"""What an SDK makes of each answer that a server may give: why ours are what they are."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.conformance.road import Answer
from tests.conformance.scenarios import Run
from tests.conformance.sdks import Sdk

RETRIES = 3  # so 4 requests are all of them
OURS = {"code": "invalid_json", "message": "The body must be a JSON object in UTF-8."}


@dataclass(frozen=True)
class Always:
    """A server that has one answer for everything."""

    title: str
    answer: Answer

    def ends(self, sdk: Sdk) -> bool:
        """The browser's SDK comes again for hours, as long as its page is open, after these two."""
        return sdk.language != "browser" or self.answer.status not in {301, 500}

    def __str__(self) -> str:
        return self.title.replace(" ", "-")


ANSWERS = (
    Always("200 JSON", Answer(200, {"success": True})),
    Always("202 JSON", Answer(202, {"success": True})),
    Always("204", Answer(204)),
    Always("301", Answer(301, headers={"Location": "/health/live"})),  # which answers a GET with 200
    Always("400 detail", Answer(400, {"detail": "No."})),
    Always("400 code", Answer(400, OURS)),
    Always("413 code", Answer(413, OURS)),
    Always("500 code", Answer(500, OURS)),
)


def what_it_made_of(run: Run) -> str:
    """How many requests it took, and what the SDK believes afterwards."""
    outcome = "failed" if run.report["failed"] else "ok"
    return f"{len(run.requests)} {outcome}"


# -- how they speak -------------------------------------------------------------------------------------------------


SPEECH = ("Content-Type", "body", "key", "path", "time", "sent", "traits", "absent id", "User-Agent")


def way_of_speaking(run: Run) -> Mapping[str, str]:
    """What a run of each call shows of the SDK's habits."""
    first = run.requests[0]
    events = {event["type"]: event for seen in run.requests for event in seen.events}
    return {
        "Content-Type": first.header("Content-Type").partition(";")[0],
        "body": "gzip" if first.is_gzip else "plain",
        "key": _key(run),
        "path": f"`{first.path}`",
        "time": " + ".join(name for name in ("timestamp", "originalTimestamp") if name in events["page"]),
        "sent": "event" if "sentAt" in events["page"] and "batch" in first.body else "request",
        "traits": " + ".join(_places_of_traits(events["identify"])),
        "absent id": _absent(events["track"]),
        "User-Agent": _agent(first.header("User-Agent")),
    }


def _key(run: Run) -> str:
    first = run.requests[0]
    places = {"header": bool(first.header("Authorization")), "body": "writeKey" in first.body}
    return " + ".join(place for place, is_there in places.items() if is_there)


def _places_of_traits(event: Mapping[str, object]) -> list[str]:
    context = event.get("context")
    within = isinstance(context, dict) and bool(context.get("traits"))
    return [name for name, is_there in {"traits": "traits" in event, "context.traits": within}.items() if is_there]


def _absent(event: Mapping[str, object]) -> str:
    if "anonymousId" not in event:
        return "left out"
    return "null" if event["anonymousId"] is None else "never"


def _agent(text: str) -> str:
    return "the browser's" if text.startswith("Mozilla") else f"`{text}`"
