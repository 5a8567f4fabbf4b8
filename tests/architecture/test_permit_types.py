"""Consent is a type: mypy refuses a call without the permit of the right purpose (docs/adr/0002)."""

import subprocess
import sys

import pytest

from cdp.embedded import CHECKOUT

PRELUDE = """
from datetime import datetime
from cdp.kernel.purposes import Purpose
from consent import gate

def send(permit: gate.Permit[gate.Advertising], *, now: datetime) -> None: ...
"""

CALLS = {
    "the_right_permit": (
        "with gate.permit(Purpose.ADVERTISING, workspace_id=1) as permit: send(permit, now=NOW)",
        None,
    ),
    "another_purpose": (
        "with gate.permit(Purpose.SEGMENTATION, workspace_id=1) as permit: send(permit, now=NOW)",
        'Argument 1 to "send" has incompatible type "Permit[Literal[Purpose.SEGMENTATION]]"',
    ),
    "a_purpose_known_at_run_time": (
        "with gate.permit(Purpose(input()), workspace_id=1) as permit: send(permit, now=NOW)",
        'Argument 1 to "send" has incompatible type "Permit[Purpose]"',
    ),
    "no_permit": ("send(now=NOW)", 'Missing positional argument "permit" in call to "send"'),
    "nothing_but_a_workspace": ("send(1, now=NOW)", 'Argument 1 to "send" has incompatible type "int"'),
}


@pytest.mark.slow
def test_stage__called_without_its_permit__is_refused_by_mypy(tmp_path):
    for name, (call, _) in CALLS.items():
        (tmp_path / f"{name}.py").write_text(f"{PRELUDE}NOW = datetime.min\n{call}\n")

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", CHECKOUT / "pyproject.toml", "--no-error-summary", tmp_path],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    errors = {name: [line for line in done.stdout.splitlines() if f"{name}.py" in line] for name in CALLS}
    assert errors.pop("the_right_permit") == [], done.stdout + done.stderr
    for name, lines in errors.items():
        assert len(lines) == 1, done.stdout + done.stderr
        assert CALLS[name][1] in lines[0]
