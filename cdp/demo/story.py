"""The main job, end to end: load, resolve, enrich, segment, send; and then life goes on.

Each act may run again: keys and message ids are fixed, so a demo that was killed in the middle goes on and neither
loses nor doubles anything. Workers, web server and receiver are the real ones, each in its own process or thread.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any, Final

from django.core.management import call_command
from django.utils import timezone

from cdp import pipeline, tasks
from cdp.demo import questions
from cdp.demo.client import NotInTimeError, TesseraClient, wait_until
from cdp.demo.people import CRM_MAPPING, WEBSHOP_MAPPING, Row, Statement, records, statements, write_csv
from cdp.demo.purchases import EVENT_NAME, Purchase, purchases
from cdp.demo.receiver import Receiver
from cdp.demo.setting import AUDIENCES, SLUG, Setting, add_learned_segment
from cdp.kernel.purposes import Purpose
from cdp.models import Stage
from consent import gate
from identity import services as identity
from identity.models import Verdict

DRAIN_SECONDS: Final = 120
SOON_SECONDS: Final = 60

# What a careless tracking snippet sends: each is refused with a reason, and costs the good ones beside it nothing.
BROKEN_EVENTS: Final[list[dict[str, Any]]] = [
    {"type": "track", "event": "Order Completed", "messageId": "broken-1"},  # by nobody
    {"type": "track", "userId": "rec-1-dup-0", "messageId": "broken-2"},  # without a name
    {"type": "purchase", "userId": "rec-1-dup-0", "messageId": "broken-3"},  # of no known type
]

LEARNING: Final = """\
model: rfm
event: Order Completed
money: revenue
k: {{min: 2, max: 8}}
seed: 20261121
at: {day}
"""


class Story:
    """`tell` is called with a line whenever something begins."""

    def __init__(
        self, setting: Setting, client: TesseraClient, receiver: Receiver, tell: Callable[[str], None]
    ) -> None:
        self.setting, self.client, self.receiver, self.tell = setting, client, receiver, tell
        self.directory: Path = setting.directory
        self.workspace_id = setting.workspace_id
        self.stages: list[dict[str, Any]] = []

    def play(self) -> dict[str, Any]:
        """Play all acts and return the result, as docs/tour.md describes it."""
        began = time.monotonic()
        crm, webshop = records()
        came_in = self.load(crm, webshop)
        self.ask_for_consent(crm, webshop)
        self.resolve_identity()
        learned = self.learn()
        self.send_audiences()
        result = {
            "came_in": came_in,
            "people": questions.people(crm, webshop, workspace_id=self.workspace_id),
            "enrichment": questions.enrichment(workspace_id=self.workspace_id),
            "segments": self.segments(),
            "learned": learned,
            "audiences": [self.audience(slug) for slug in AUDIENCES],
        }
        life = [self.withdrawal(), self.purchase(), self.wrong_merge()]
        return {**result, "life": life, "stages": self.stages, "seconds": round(time.monotonic() - began, 1)}

    # -- the main job ---------------------------------------------------------------------------------------------

    def load(self, crm: list[Row], webshop: list[Row]) -> dict[str, Mapping[str, int]]:
        return {
            "crm": self._load_records("crm", crm, CRM_MAPPING),
            "webshop": self._load_records("webshop", webshop, WEBSHOP_MAPPING),
            "purchases": self._track(purchases(webshop, today=self.setting.state.today)),
        }

    def ask_for_consent(self, crm: list[Row], webshop: list[Row]) -> None:
        said = list(statements(webshop, crm))
        with self.timed("consents recorded through the API", len(said), "statements"):
            self.client.record_consents(
                said, purpose=Purpose.ADVERTISING, at=self.setting.day_before, notice="demo-notice-1"
            )
        with self.timed("everything into profiles and segments", len(crm) + len(webshop), "records"):
            self.drain()

    def resolve_identity(self) -> None:
        with self.timed("record linkage: training without labels", 10_000, "records"):
            self.command("identity", "train")
        with self.timed("record linkage: scoring, clustering", 10_000, "records") as timing:
            found = self.command("identity", "resolve")
            timing["items"], timing["unit"] = found["pairs"], "pairs"
        with self.timed("profiles, traits and segments kept in step", found["judgements"], "links"):
            self.drain()

    def learn(self) -> dict[str, Any]:
        file = self.directory / "rfm.yaml"
        file.write_text(LEARNING.format(day=self.setting.state.day))
        with self.timed("groups learned from recency, frequency, money", 0, "customers") as timing:
            learned = self.command("segments", "learn", str(file))
            timing["items"] = sum(group["size"] for group in learned["chosen"]["groups"])
        plot = self.directory / "rfm.svg"
        plot.write_text(add_learned_segment(self.setting, learned["chosen"]["groups"][0]["group"]))
        self.drain()
        return {
            **learned["chosen"],
            "metrics": learned["metrics"],
            "stability": learned["stability"],
            "plot": str(plot),
        }

    def send_audiences(self) -> None:
        with self.timed("audiences in step at the receiver", 0, "addresses") as timing:
            self.setting.open_audiences(self.receiver)
            self.drain()
            timing["items"] = sum(len(self.receiver.members(slug)) for slug in AUDIENCES)

    # -- life -----------------------------------------------------------------------------------------------------

    def withdrawal(self) -> dict[str, Any]:
        """One person withdraws consent and leaves the audience."""
        who = self.chosen("withdraws", lambda: questions.a_present_member("lapsed", workspace_id=self.workspace_id))
        keys = self.addresses(f"user_id:{who}")
        self.client.record_consents(
            [Statement(f"user_id:{who}", "WITHDRAWN")], purpose=Purpose.ADVERTISING,
            at=datetime.fromisoformat(self.chosen("withdraws_at", timezone.now().isoformat)), notice="demo-withdrawal",
        )  # fmt: skip
        seconds = wait_until(lambda: not keys & self.receiver.members("lapsed"), "leaving the audience", SOON_SECONDS)
        return act(f"{who} withdrew consent to advertising and left the audience", seconds)

    def purchase(self) -> dict[str, Any]:
        """One person buys and enters a segment."""
        who = self.chosen("buys", lambda: questions.a_near_member(EVENT_NAME, workspace_id=self.workspace_id))
        began = time.monotonic()
        self.client.track([Purchase(who, f"demo-life-{who}", timezone.now(), 1, 19.99)])
        wait_until(lambda: "frequent" in self.client.segments_of(f"user_id:{who}"), "entering", SOON_SECONDS)
        keys = self.addresses(f"user_id:{who}")
        wait_until(lambda: keys <= self.receiver.members("frequent"), "entering the audience", SOON_SECONDS)
        return act(f"{who} bought a third time and entered segment and audience 'frequent'", time.monotonic() - began)

    def wrong_merge(self) -> dict[str, Any]:
        """A steward merges two strangers, sees the mistake, and undoes it."""
        self.drain()
        pair = questions.two_strangers(workspace_id=self.workspace_id)
        before = self.picture(pair)
        began = time.monotonic()
        self.judge(pair, Verdict.SAME)
        wait_until(lambda: self.are_one(pair), "the merge", SOON_SECONDS)
        self.drain()
        self.undo(pair)
        wait_until(lambda: not self.are_one(pair), "the undo", SOON_SECONDS)
        self.drain()
        wait_until(lambda: self.picture(pair) == before, "everything as before", SOON_SECONDS)
        return act(
            "two strangers were merged by mistake; undone: ids, traits, memberships and audiences as before",
            time.monotonic() - began,
        )

    # -- means ----------------------------------------------------------------------------------------------------

    def segments(self) -> list[dict[str, Any]]:
        sizes = questions.sizes(workspace_id=self.workspace_id)
        return [
            {"slug": slug, "members": sizes.get(slug, 0), "sentence": sentence}
            for slug, sentence in self.setting.sentences().items()
        ]

    def audience(self, slug: str) -> dict[str, Any]:
        known = questions.audience(slug, workspace_id=self.workspace_id)
        return {"segment": slug, **known, "arrived": len(self.receiver.members(slug))}

    def judge(self, pair: tuple[int, int], verdict: Verdict) -> None:
        with gate.permit(Purpose.IDENTITY, workspace_id=self.workspace_id):
            identity.judge(
                workspace_id=self.workspace_id, left_id=pair[0], right_id=pair[1], verdict=verdict,
                author=self.setting.steward, evidence={"why": "demo"}, now=timezone.now(),
            )  # fmt: skip
        tasks.wake(Stage.IDENTITY, workspace_id=self.workspace_id)

    def undo(self, pair: tuple[int, int]) -> None:
        with gate.permit(Purpose.IDENTITY, workspace_id=self.workspace_id):
            identity.undo_merge(
                workspace_id=self.workspace_id, left_id=pair[0], right_id=pair[1], author=self.setting.steward,
                now=timezone.now(),
            )  # fmt: skip
        tasks.wake(Stage.IDENTITY, workspace_id=self.workspace_id)

    def are_one(self, pair: tuple[int, int]) -> bool:
        return questions.are_one(pair, workspace_id=self.workspace_id)

    def picture(self, pair: tuple[int, int]) -> str:
        on_platforms = {slug: sorted(self.receiver.members(slug)) for slug in AUDIENCES}
        return json.dumps([questions.picture(pair, workspace_id=self.workspace_id), on_platforms])

    def addresses(self, identifier: str) -> set[str]:
        return questions.addresses_of(identifier, workspace_id=self.workspace_id)

    def chosen(self, act_name: str, choose: Callable[[], str]) -> str:
        """Who is in an act, or when it was: chosen once, so that the act played again is the same one."""
        if act_name not in self.setting.state.chosen:
            self.setting.state.chosen[act_name] = choose()
            self.setting.save()
        return self.setting.state.chosen[act_name]

    def drain(self) -> None:
        """Wait until nothing is on its way; who waits in vain is told for which stages."""
        try:
            wait_until(self._idle, "the pipeline", DRAIN_SECONDS)
        except NotInTimeError as error:
            raise NotInTimeError(f"{error}; waiting: {pipeline.waiting(self.workspace_id)}") from error

    def _idle(self) -> bool:
        return not pipeline.waiting(self.workspace_id) and not questions.pending_members(workspace_id=self.workspace_id)

    def command(self, *arguments: str) -> dict[str, Any]:
        """Run a command of manage.py as a user would, in this process, and read its JSON."""
        output = StringIO()
        call_command(*arguments, "--workspace", SLUG, "--json", stdout=output)
        result: dict[str, Any] = json.loads(output.getvalue())
        return result

    @contextmanager
    def timed(self, stage: str, items: int, unit: str) -> Iterator[dict[str, Any]]:
        self.tell(f"{stage} …")
        began = time.monotonic()
        timing: dict[str, Any] = {"stage": stage, "items": items, "unit": unit}
        yield timing
        seconds = max(time.monotonic() - began, 0.001)
        self.stages.append({**timing, "seconds": round(seconds, 2), "per_second": round(timing["items"] / seconds)})
        self.tell(f"    {seconds:.1f} s")

    def _load_records(self, source: str, rows: list[Row], mapping: str) -> Mapping[str, int]:
        file = write_csv(rows, self.directory / f"{source}.csv")
        mapping_file = self.directory / f"{source}.yaml"
        mapping_file.write_text(mapping)
        with self.timed(f"records of {source} loaded", len(rows), "records"):
            return self.command("load", "records", str(file), "--source", source, "--mapping", str(mapping_file))

    def _track(self, made: list[Purchase]) -> Mapping[str, int]:
        before = questions.stored(workspace_id=self.workspace_id)
        with self.timed("purchases accepted by the tracking API", len(made), "events"):
            self.client.track(made)
            refused = self.client.send_batch(BROKEN_EVENTS)["rejected"]
        with self.timed("purchases stored and linked", len(made), "events"):
            self.drain()
        accepted = questions.stored(workspace_id=self.workspace_id) - before
        return {
            "read": len(made) + len(BROKEN_EVENTS), "accepted": accepted,
            "duplicates": len(made) - accepted, "quarantined": len(refused),
        }  # fmt: skip


def act(what: str, seconds: float) -> dict[str, Any]:
    return {"what": what, "seconds": round(seconds, 2), "ok": True}
