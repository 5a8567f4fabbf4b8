"""A processor with its certificate, controllers that are registered, and the worker of rights."""

import pytest
from django.utils import timezone

from cdp import tasks
from consent import packaging
from consent.opendsr import controllers, turns
from tests.api.opendsr.controller import DOMAIN, Controller
from tests.fakes.authority import Authority


@pytest.fixture(scope="module")
def authority():
    return Authority(timezone.now())


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue(DOMAIN)


@pytest.fixture(autouse=True)
def _processor(settings, tmp_path, certificate, monkeypatch):
    """We are a processor; nobody is woken, the tests take the turns themselves."""
    settings.OPENDSR_DOMAIN = DOMAIN
    paths = certificate.write(tmp_path, "processor")
    settings.OPENDSR_CERTIFICATE, settings.OPENDSR_KEY = map(str, paths)
    settings.PACKAGE_DIR = tmp_path / "packages"
    monkeypatch.setattr(tasks, "wake_opendsr", lambda: None)


@pytest.fixture
def register(client, workspace):
    """`register("acme", is_lenient=True)`: a controller of the workspace, or of another one."""
    client.raise_request_exception = False

    def make(slug="acme", of=workspace, **more):
        given = {"hosts": ["controller.example.com"], **more}
        row, token = controllers.register_controller(workspace_id=of.pk, slug=slug, now=timezone.now(), **given)
        return Controller(client, row, token)

    return make


@pytest.fixture
def acme(register, as_login):
    made = register()
    as_login("web")
    return made


@pytest.fixture
def turn(workspace, as_login):
    """The worker of rights takes one; then the test goes on as `web`."""

    def take():
        as_login("rights")
        turns.take_turn(workspace_id=workspace.pk, now=timezone.now())
        while packaging.build_next(workspace_id=workspace.pk, now=timezone.now()):
            pass
        turns.take_turn(workspace_id=workspace.pk, now=timezone.now())
        as_login("web")

    return take
