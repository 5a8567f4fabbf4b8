"""Embedded stacks of tests: in a directory of their own, and gone without a trace afterwards."""

import os
import shutil

from cdp.embedded import EMBEDDED_MARK, Stack


def forget(stack: Stack) -> None:
    """Stop it and remove what it keeps outside of its home."""
    stack.stop()
    if stack.state != stack.home:
        shutil.rmtree(stack.state, ignore_errors=True)
    if stack.sockets.parent != stack.state:
        shutil.rmtree(stack.sockets, ignore_errors=True)


def environment_of(stack: Stack) -> dict[str, str]:
    """For a command of manage.py that uses this stack and nothing of the tests' own."""
    ours = {"DATABASE_URL", "BROKER_URL", "DJANGO_SETTINGS_MODULE", "SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "PORT"}
    ours |= {EMBEDDED_MARK}
    return {name: value for name, value in os.environ.items() if name not in ours} | {"DATA_DIR": str(stack.home)}
