"""Embedded stacks of tests: in a directory of their own, and gone without a trace afterwards."""

import shutil

from cdp.embedded import Stack


def forget(stack: Stack) -> None:
    """Stop it and remove what it keeps outside of its home."""
    stack.stop()
    if stack.state != stack.home:
        shutil.rmtree(stack.state, ignore_errors=True)
    if stack.sockets.parent != stack.state:
        shutil.rmtree(stack.sockets, ignore_errors=True)
