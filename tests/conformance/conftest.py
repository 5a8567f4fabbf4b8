"""At the end of `python -m tests.conformance` the page is written from what all workers saw."""

import os

from tests.conformance import page


def pytest_sessionfinish(session):
    if page.SEEN in os.environ and not hasattr(session.config, "workerinput"):
        page.write()
