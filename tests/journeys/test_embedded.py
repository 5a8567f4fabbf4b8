"""The embedded servers themselves: killed, stopped, side by side, in awkward places. Nothing is mocked here."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import psycopg
import pytest

from cdp.embedded import CHECKOUT, DATABASE, Stack
from cdp.kernel.logins import OWNER, WEB
from tests.stacks import forget

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory):
    """One stack for many tests: each starts it again, whatever the one before did to it."""
    stack = Stack(tmp_path_factory.mktemp("embedded") / "data")
    yield stack
    forget(stack)


@pytest.fixture
def stack(shared_stack):
    shared_stack.start()
    with shared_stack.connect_as_superuser(DATABASE) as admin:
        admin.execute("DROP TABLE IF EXISTS core.kept")
        admin.execute("CREATE TABLE core.kept (word text)")
    return shared_stack


@pytest.fixture
def another_stack(tmp_path):
    """`another_stack(home)`: one that is forgotten at the end of the test."""
    made = []

    def make(home=tmp_path / "data"):
        made.append(Stack(home))
        return made[-1]

    yield make
    for stack in made:
        forget(stack)


def keep(stack, word):
    with stack.connect_as_superuser(DATABASE) as admin:
        admin.execute("INSERT INTO core.kept VALUES (%s)", (word,))


def kept(stack):
    with stack.connect_as_superuser(DATABASE) as admin:
        return [word for (word,) in admin.execute("SELECT word FROM core.kept ORDER BY word")]


def say_to_valkey(stack, words):
    return stack._tell_valkey(words.encode())


def pids(stack):
    return stack._postgres_pid(), stack._valkey_pid()


def kill(pid):
    process = psutil.Process(pid)
    process.kill()
    process.wait(10)


def test_start__when_it_runs__finds_it_again(stack):
    before = pids(stack)

    Stack(stack.home).start()

    assert None not in before
    assert pids(stack) == before


def test_stop__then_start__keeps_what_was_committed(stack):
    keep(stack, "before")

    stack.stop()
    stopped = pids(stack)
    stack.start()

    assert stopped == (None, None)
    assert kept(stack) == ["before"]


def test_stop__by_another_process_while_the_starter_lives__takes_no_time(stack):
    assert os.getpid() not in {psutil.Process(pid).ppid() for pid in pids(stack)}
    code = f"from pathlib import Path; from cdp.embedded import Stack; Stack(Path({str(stack.home)!r})).stop()"

    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True, timeout=60)

    assert pids(stack) == (None, None)
    assert time.monotonic() - begun < 45


def test_start__by_four_processes_at_once__starts_one_of_each(stack):
    stack.stop()
    code = f"from pathlib import Path; from cdp.embedded import Stack; Stack(Path({str(stack.home)!r})).start()"

    starters = [subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT) for _ in range(4)]
    assert [starter.wait(90) for starter in starters] == [0, 0, 0, 0]

    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert sum(str(stack.postgres_data) in command for command in commands) == 1
    assert sum(f"unixsocket:{stack.valkey_socket}" in " ".join(command) for command in commands) == 1


def test_postgres__killed__has_every_committed_row_when_started_again(stack):
    keep(stack, "before")

    kill(stack._postgres_pid())
    stack.start()

    assert kept(stack) == ["before"]


def test_postgres__killed_while_a_statement_runs__starts_again_within_its_time(stack):
    """The backend does not notice until its statement is done, and holds the shared memory until then."""

    def work_on_and_on():
        with pytest.raises(psycopg.OperationalError), stack.connect_as_superuser() as admin:
            admin.execute("SELECT count(*) FROM generate_series(1, 100000000000)")

    keep(stack, "before")
    worker = threading.Thread(target=work_on_and_on)
    worker.start()
    time.sleep(0.5)

    begun = time.monotonic()
    kill(stack._postgres_pid())
    stack.start()

    assert time.monotonic() - begun < 45
    assert kept(stack) == ["before"]
    worker.join(10)
    assert not worker.is_alive()


def test_postmaster_pid__of_a_process_that_is_something_else_now__is_no_obstacle(stack):
    keep(stack, "before")
    file = stack.postgres_data / "postmaster.pid"
    lines = file.read_text().splitlines()
    kill(stack._postgres_pid())
    file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    stack.start()

    assert kept(stack) == ["before"]
    assert stack._postgres_pid() != os.getpid()


def test_valkey__killed__has_what_it_answered_for_when_started_again(stack):
    assert say_to_valkey(stack, "SET kept before") == b"+OK\r\n"

    kill(stack._valkey_pid())
    stack.start()

    assert say_to_valkey(stack, "GET kept") == b"$6\r\nbefore\r\n"


def test_valkey_pid__of_another_process__is_left_alone(stack):
    kill(stack._valkey_pid())
    (stack.home / "valkey.pid").write_text(str(os.getpid()))

    stack.stop()
    stack.start()

    assert stack._valkey_pid() not in {None, os.getpid()}
    assert say_to_valkey(stack, "PING") == b"+PONG\r\n"


def test_provisioning__that_was_interrupted__is_finished_at_the_next_start(stack):
    (stack.state / "provisioned").unlink()
    with stack.connect_as_superuser(DATABASE) as admin:
        admin.execute("DROP OWNED BY web")
        admin.execute("ALTER ROLE web PASSWORD 'another'")
        admin.execute("GRANT retention TO worker_ingestion")  # as an earlier version had it

    stack.start()

    with psycopg.connect(stack.database_url(WEB)) as web:
        assert web.execute("SELECT current_user").fetchone() == ("web",)
        assert web.execute("SELECT pg_has_role('worker_ingestion', 'retention', 'MEMBER')").fetchone() == (False,)
        assert web.execute("SELECT pg_has_role('rights', 'retention', 'MEMBER')").fetchone() == (True,)


def test_servers__listen_on_sockets_that_others_cannot_reach(stack):
    assert stack.sockets.stat().st_mode & 0o777 == 0o700
    for pid in pids(stack):
        assert [found for found in psutil.Process(pid).net_connections("inet") if found.status == "LISTEN"] == []


def test_two_stacks__side_by_side__know_nothing_of_each_other(stack, another_stack):
    other = another_stack()

    other.start()
    say_to_valkey(other, "SET whose other")
    say_to_valkey(stack, "SET whose mine")
    keep(stack, "mine")

    with other.connect_as_superuser(DATABASE) as admin:
        assert admin.execute("SELECT to_regclass('core.kept')").fetchone() == (None,)
    assert say_to_valkey(other, "GET whose") == b"$5\r\nother\r\n"
    assert {*pids(other)}.isdisjoint(pids(stack))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(stack.database_url(OWNER).replace(stack.credentials[OWNER], other.credentials[OWNER]))


def test_awkward_home__closed_to_others_long_and_with_signs__works_and_is_left_as_it_was(tmp_path, another_stack):
    closed = tmp_path / "a home, closed $HOME"
    checkout = closed / ("long " * 20).strip() / "checkout"
    checkout.mkdir(parents=True)
    closed.chmod(0o700)
    above = [checkout, *checkout.parents]
    before = [(path.stat().st_mode, path.stat().st_uid) for path in above]
    stack = another_stack(checkout / ".data")
    umask = os.umask(0o077)

    try:
        stack.start()
        with psycopg.connect(stack.database_url(OWNER)) as owner:
            assert owner.execute("SELECT 1").fetchone() == (1,)
        assert say_to_valkey(stack, "PING") == b"+PONG\r\n"
    finally:
        os.umask(umask)

    assert [(path.stat().st_mode, path.stat().st_uid) for path in above] == before
    assert stack.home.stat().st_mode & 0o777 == 0o700
    assert stack.postgres_data.stat().st_mode & 0o777 == 0o700


def test_initdb__killed_half_way__is_done_anew(tmp_path, another_stack):
    stack = another_stack()
    half_made = stack.state / "postgres.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    (half_made / "global").mkdir()

    stack.start()

    assert not half_made.exists()
    with psycopg.connect(stack.database_url(OWNER)) as owner:
        assert owner.execute("SELECT datlocale FROM pg_database WHERE datname = current_database()").fetchone() == (
            "C.UTF-8",
        )


def test_home__removed_without_stopping__begins_a_new_life(another_stack):
    stack = another_stack()
    stack.start()
    old = pids(stack)
    with stack.connect_as_superuser(DATABASE) as admin:
        admin.execute("CREATE TABLE core.old_life ()")

    shutil.rmtree(stack.home)
    born_again = another_stack(stack.home)
    born_again.start()

    with born_again.connect_as_superuser(DATABASE) as admin:
        assert admin.execute("SELECT to_regclass('core.old_life')").fetchone() == (None,)
    assert {*pids(born_again)}.isdisjoint(old)
    for pid in old:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
