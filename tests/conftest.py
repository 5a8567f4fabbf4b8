"""Every test gets real Postgres. A test that touches it names `workspace`, or asks for a login with `as_login`."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_django
from django.conf import settings
from django.db import connection
from django.utils import timezone, translation

from cdp.kernel.purposes import Purpose
from cdp.models import User, Workspace
from cdp.models.closing import close_workspace
from consent.models import ErasureMark
from tests import databases
from tests.factories import WorkspaceFactory

MANY = 70  # tests of a file that takes long although each of them is short


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, and journeys before all: with two workers, none waits long for the last file of the other."""
    of_file = Counter(item.path for item in items)
    long = {path for path, number in of_file.items() if number >= MANY}
    long |= {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("browser")}
    items.sort(key=lambda item: (item.path not in long, item.path.parent.name != "journeys"))


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[None]:
    """Each xdist worker has a database of its own, copied from a template that `owner` migrated."""
    name = databases.default_name()
    databases.create(name)
    connection.close()
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = name
    yield
    with django_db_blocker.unblock():
        connection.close()
    databases.drop(name)


@pytest.fixture(autouse=True)
def erasure_ledger_of_its_own(settings: pytest_django.Settings, tmp_path: Path) -> None:
    """Whoever is erased in a test is no business of the installation: it would wait for somebody to do it again."""
    settings.ERASURE_LEDGER = tmp_path / "erasures.jsonl"


@pytest.fixture(autouse=True)
def language_of_its_own() -> Iterator[None]:
    """A page in French would else leave the next test in French."""
    yield
    translation.deactivate()


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def workspace(db: None) -> Workspace:
    """A workspace with the default purposes; the statements of the test belong to it."""
    made = WorkspaceFactory()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(made.pk)])
    return made


@pytest.fixture
def committed(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[Workspace]:
    """A workspace whose rows other connections see. Afterwards it is closed, and of the test no row is left anywhere."""
    with django_db_blocker.unblock():
        before = databases.row_counts()
        made = WorkspaceFactory(slug="committed")
        yield made
        close_workspace(slug=made.slug, now=timezone.now())
        for beside in (User, ErasureMark):
            beside.objects.all().delete()
        assert databases.row_counts() == before


@pytest.fixture
def as_login(db: None) -> Iterator[Callable[[str], None]]:
    """`as_login("web")`: from here on the test has the rights of that login and no others."""

    def become(login: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('role', %s, true)", [login])

    yield become
    assert connection.needs_rollback or become("none") is None


@pytest.fixture(params=[purpose for purpose in Purpose if purpose.is_gated])
def gated_purpose(request: pytest.FixtureRequest) -> Purpose:
    purpose: Purpose = request.param
    return purpose
