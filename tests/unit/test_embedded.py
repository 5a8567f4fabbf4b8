"""What the embedded stack says when it cannot start, and when it has nothing to do."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from cdp import embedded
from cdp.embedded import EmbeddedError, Stack


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def stack(tmp_path):
    stack = Stack(tmp_path / "data")
    yield stack
    if stack.state != stack.home:  # root's servers live elsewhere
        shutil.rmtree(stack.state, ignore_errors=True)


def test_full_disk__is_said_before_anything_is_made(stack, monkeypatch):
    monkeypatch.setattr("cdp.embedded.shutil.disk_usage", lambda _: Usage(10**12, 10**12 - 2**20, 2**20))

    with pytest.raises(
        EmbeddedError, match=r"Only 1 MiB are free .* needs 300 MiB to start. Free some, or set DATA_DIR"
    ):
        stack.start()

    assert not stack.postgres_data.exists()
    assert not (stack.home / "credentials.json").exists()


@pytest.mark.parametrize("home", ["/proc/tessera", "/dev/null/tessera", "/dev/null"])
def test_home__that_cannot_be_made__is_named_with_what_to_do(home):
    with pytest.raises(EmbeddedError, match=r"Cannot make /\S+: .*\. Set DATA_DIR to a directory that can be written"):
        Stack(Path(home)).start()


def test_socket_directory__of_a_short_home__lies_inside(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert Stack(Path("/home/ada/tessera/.data")).sockets == Path("/home/ada/tessera/.data/run")


@pytest.mark.parametrize("user", [0, 1000])
def test_socket__under_any_home__fits_into_its_107_bytes(user, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: user)
    for length in range(1, 400, 7):
        stack = Stack(Path("/" + "h" * length) / ".data")

        assert len(bytes(stack.sockets / ".s.PGSQL.5432")) <= 107
        assert len(bytes(stack.valkey_socket)) <= 107


def test_socket_directory__does_not_depend_on_tmpdir(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    home = Path("/" + "h" * 200)
    before = Stack(home).sockets

    monkeypatch.setenv("TMPDIR", "/somewhere/else")

    assert Stack(home).sockets == before


def test_socket_directory__that_is_a_link__is_refused(stack, tmp_path, monkeypatch):
    """Else whoever may write to /tmp could have us give away a directory of theirs choosing."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(Stack, "sockets", tmp_path / "link")
    before = (tmp_path / "elsewhere").stat().st_uid

    with pytest.raises(EmbeddedError, match="belongs to somebody else"):
        stack.start()

    assert (tmp_path / "elsewhere").stat().st_uid == before


def test_two_homes__have_two_keys(tmp_path):
    assert Stack(tmp_path / "a").key != Stack(tmp_path / "b").key
    assert Stack(tmp_path / "a").key == Stack(tmp_path / "b" / ".." / "a").key


def test_adopt__with_both_addresses_in_the_environment__starts_nothing(stack, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://somewhere")
    monkeypatch.setenv("BROKER_URL", "redis://somewhere")
    before = dict(os.environ)

    embedded.adopt(stack=stack)

    assert not stack.home.exists()
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("given", "started"),
    [("DATABASE_URL", {"postgres": False, "valkey": True}), ("BROKER_URL", {"postgres": True, "valkey": False})],
)
def test_adopt__with_one_address_in_the_environment__starts_only_the_other_server(given, started, stack, monkeypatch):
    asked = []
    monkeypatch.setattr(Stack, "start", lambda _, **servers: asked.append(servers))
    monkeypatch.setattr(Stack, "credentials", {"operator": "secret", "SECRET_KEY": "k", "FIELD_ENCRYPTION_KEYS": "f"})
    monkeypatch.setattr("cdp.embedded.ensure_schema", lambda _: None)
    for name in ("DATABASE_URL", "BROKER_URL", embedded.EMBEDDED_MARK):
        monkeypatch.setenv(name, "to be put back")
        monkeypatch.delenv(name)
    monkeypatch.setenv(given, "postgres://given" if given == "DATABASE_URL" else "redis://given")

    embedded.adopt(stack=stack)

    assert asked == [started]
    assert os.environ[given].endswith("://given")
    assert (embedded.EMBEDDED_MARK in os.environ) is started["postgres"]


def test_child__of_a_process_with_an_outside_database__keeps_its_address(monkeypatch):
    monkeypatch.delenv(embedded.EMBEDDED_MARK, raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgres://outside")

    assert embedded.environment_for("web")["DATABASE_URL"] == "postgres://outside"


def test_shared_memory__of_a_container__makes_postgres_use_files(monkeypatch):
    monkeypatch.setattr("cdp.embedded.shutil.disk_usage", lambda _: Usage(64 * 2**20, 0, 64 * 2**20))

    assert embedded._tuning()["dynamic_shared_memory_type"] == "mmap"


def test_package__that_is_missing__is_named_with_what_to_do():
    with pytest.raises(EmbeddedError, match=r"The package no_such_wheel is not installed in .*: run `make demo`"):
        embedded._package_directory("no_such_wheel")


@pytest.mark.parametrize("content", ["", "no number", "999999999", "{us}"])
def test_pid_file__of_nobody_that_we_know__names_nobody(content, tmp_path):
    file = tmp_path / "server.pid"
    file.write_text(content.format(us=os.getpid()))

    assert embedded._pid_of(file, "unixsocket:/nowhere") is None
    assert embedded._pid_of(tmp_path / "missing.pid", "python") is None


def test_only_migrations__log_in_as_owner():
    assert embedded.command_login(["migrate"]) == "owner"
    assert embedded.command_login(["load", "records"]) == "operator"
    assert embedded.command_login([]) == "operator"
