"""What the demo must remember between two starts, so that one that was killed goes on where it stopped."""

import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path


@dataclass
class State:
    """Lies in `.data/demo/state.json`, readable by its owner alone: it holds the keys of the demo's workspace."""

    day: str  # the dates of the purchases are moved to it
    password: str
    signing_key: str
    receiver_port: int = 0
    write_key: str = ""
    api_key: str = ""
    chosen: dict[str, str] = field(default_factory=dict)  # act → identifier of the person in it
    is_finished: bool = False

    @property
    def today(self) -> date:
        return date.fromisoformat(self.day)


def load(directory: Path) -> State | None:
    file = directory / "state.json"
    return State(**json.loads(file.read_text())) if file.exists() else None


def begin(directory: Path, *, today: date) -> State:
    shutil.rmtree(directory, ignore_errors=True)  # what the last demo left, the receiver's journal included
    directory.mkdir(mode=0o700, parents=True)
    state = State(day=today.isoformat(), password=secrets.token_urlsafe(9), signing_key=secrets.token_hex(32))
    save(directory, state)
    return state


def save(directory: Path, state: State) -> None:
    """Beside and renamed: a demo that is killed leaves the old or the new, never half a file."""
    partial = directory / "state.json.partial"
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        json.dump(asdict(state), handle, indent=1)
    partial.rename(directory / "state.json")
