"""The stream of entries and exits under the server as production runs it: at once, in few places, and freed again."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from cdp.embedded import CHECKOUT, default_stack
from cdp.kernel.purposes import Purpose
from cdp.models import ApiKey, Cause
from cdp.models.keys import digest_of, new_secret
from cdp.models.tenancy import workspace_scope
from consent import gate
from segments import membership, services
from tests.factories import IdentifierFactory, SourceFactory
from tests.factories.segments import know

pytestmark = pytest.mark.slow


@pytest.fixture
def address(committed):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    environment = {
        **os.environ,
        "DATABASE_URL": default_stack().database_url("web", connection.settings_dict["NAME"]),
        "BROKER_URL": "redis+socket:///nowhere/valkey.sock",
        "DJANGO_SETTINGS_MODULE": "cdp.settings",
        "SECRET_KEY": "for tests",
        "SEGMENT_STREAMS": "1",
    }
    process = subprocess.Popen(
        [Path(sys.executable).parent / "granian", "--interface", "wsgi", "--port", port, "--blocking-threads", "4",
         "cdp.wsgi:application"],
        cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield _awaited(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=20)


def _awaited(url):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(OSError):
            urllib.request.urlopen(f"{url}/health/live", timeout=5).close()
            return url
        time.sleep(0.1)
    raise AssertionError("the web server did not start")


@pytest.fixture
def secret(committed):
    made = new_secret("key")
    ApiKey.objects.create(
        workspace=committed, name="test", hint=made[:8], digest=digest_of(made), scopes=["segments:read"],
        purpose=Purpose.SEGMENTATION,
    )  # fmt: skip
    return made


def opened(address, secret):
    headers = {"Authorization": f"Bearer {secret}", "Accept": "text/event-stream"}
    request = urllib.request.Request(f"{address}/api/v1/segment-changes/stream", headers=headers)
    return urllib.request.urlopen(request, timeout=20)


def test_stream__under_the_web_server__tells_within_a_second_and_gives_its_place_back(committed, address, secret):
    with workspace_scope(committed.pk):
        source, ada = SourceFactory(workspace=committed), IdentifierFactory(workspace=committed)
    rule = 'trait "city" = "Paris"'
    services.create_segment(
        workspace_id=committed.pk, slug="parisians", name="", definition=rule, author=None, now=timezone.now()
    )
    stream = opened(address, secret)
    assert stream.readline() == b"retry: 1000\n"
    with pytest.raises(urllib.error.HTTPError) as refused:
        opened(address, secret)

    with workspace_scope(committed.pk):
        know(ada, source, city="Paris")
    with gate.permit(Purpose.SEGMENTATION, workspace_id=committed.pk) as permit:
        membership.evaluate(permit, {ada.pk: Cause.LEARNT}, now=timezone.now())
    began = time.monotonic()
    assert stream.readline() == b"\n"
    lines = [stream.readline().decode() for _ in range(3)]
    took = time.monotonic() - began
    stream.close()

    assert refused.value.code == 503
    assert lines[1] == "event: entered\n"
    assert json.loads(lines[2].removeprefix("data: "))["profile"] == ada.pk
    assert took < 5  # a quarter of a second, and what else this machine does
    assert _is_free_again(address, secret)


def _is_free_again(address, secret):
    """The server finds out that a client has gone when it next has something to send."""
    until = time.monotonic() + 40
    while time.monotonic() < until:
        with suppress(urllib.error.HTTPError):
            opened(address, secret).close()
            return True
        time.sleep(0.5)
    return False
