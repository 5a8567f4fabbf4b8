"""What production is made of: the compose file, its secrets, and a database that is provisioned from outside."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml
from cryptography.fernet import Fernet

from cdp.celery import app
from cdp.embedded import CHECKOUT, Stack
from cdp.kernel.logins import FIGURES_QUEUE, OWNER, RIGHTS, RIGHTS_QUEUE, WEB, WEBHOOKS_QUEUE, WORKER_BY_QUEUE
from cdp.kernel.purposes import Purpose
from cdp.provision import LOGINS, new_passwords

COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("tessera:")}
SCRIPTS = Path(sys.executable).parent


# -- the files ------------------------------------------------------------------------------------------------------


def test_compose__keeps_to_the_specification():
    done = subprocess.run(
        [SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", CHECKOUT / "docker-compose.yml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout


def test_compose__gives_every_queue_a_worker_with_its_own_login():
    workers = {
        service["environment"]["QUEUE"]: urlsplit(service["environment"]["DATABASE_URL"]).username
        for service in SERVICES.values()
        if "QUEUE" in service.get("environment", {})
    }

    others = {RIGHTS_QUEUE: RIGHTS, WEBHOOKS_QUEUE: WEB, FIGURES_QUEUE: WORKER_BY_QUEUE["segments"]}
    assert workers == {**WORKER_BY_QUEUE, **others}
    assert {entry["options"]["queue"] for entry in app.conf.beat_schedule.values()} == workers.keys()


def test_schedule__leaves_the_queue_of_segments_to_entries_and_exits():
    tasks = [each["task"] for each in app.conf.beat_schedule.values() if each["options"]["queue"] == "segments"]

    assert tasks == ["cdp.sweep"]


def test_compose__lets_only_provisioning_be_superuser_and_only_migration_be_owner():
    logins = {name: urlsplit(service["environment"]["DATABASE_URL"]).username for name, service in OURS.items()}

    assert [name for name, login in logins.items() if login == "postgres"] == ["provision"]
    assert [name for name, login in logins.items() if login == OWNER] == ["migrate"]
    assert logins["web"] == WEB
    assert set(logins.values()) <= {*LOGINS, "postgres"}


def test_compose__gives_each_login_the_password_that_provisioning_sets():
    provisioned = json.loads(SERVICES["provision"]["environment"]["LOGIN_PASSWORDS"])

    assert set(provisioned) == set(LOGINS)
    for name, service in OURS.items():
        address = urlsplit(service["environment"]["DATABASE_URL"])
        if name != "provision":
            assert variable(provisioned[address.username]) == variable(address.netloc)


def variable(text):
    return re.search(r"\$\{(\w+)", text)[1]


@pytest.mark.parametrize("name", SERVICES)
def test_service__has_no_rights_that_it_does_not_need(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert name in OURS or service["user"] not in {"root", "0", "0:0"}


@pytest.mark.parametrize("name", SERVICES)
def test_service__that_stays__says_how_it_is(name):
    comes_and_goes = SERVICES[name]["restart"] == "no"

    assert ("healthcheck" in SERVICES[name]) is not comes_and_goes


def test_compose__publishes_the_web_server_alone_and_on_this_machine():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["web"]
    assert SERVICES["web"]["ports"] == ["${BIND:-127.0.0.1}:${PORT:-8000}:8000"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == SERVICES["valkey"]["networks"] == ["inside"]


def test_compose__lets_out_those_alone_that_talk_to_other_systems():
    out = [name for name, service in SERVICES.items() if "outside" in service["networks"]]

    workers = [f"worker-{queue}" for queue in ("ingestion", "enrichment", "figures", "activation", "webhooks")]
    assert out == ["web", *workers, "operator"]
    assert all("inside" in service["networks"] for service in SERVICES.values())


def test_compose__reads_what_the_example_lists_and_nothing_else():
    text = (CHECKOUT / "docker-compose.yml").read_text()
    read = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    listed = set(re.findall(r"^(\w+)=", (CHECKOUT / "deploy" / "env.example").read_text(), re.MULTILINE))

    assert read == listed


def test_dockerfile__installs_by_hash_and_runs_as_nobody():
    text = (CHECKOUT / "Dockerfile").read_text()

    assert "--require-hashes --no-deps --only-binary :all:" in text
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert not re.search(r"apt-get|build-essential|gcc", text)


def test_image__has_the_libraries_of_every_connection():
    [installed] = re.findall(r"^COPY (\S+\.lock) ", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    ignored = (CHECKOUT / ".dockerignore").read_text().splitlines()

    assert installed == "requirements-extras.lock"
    assert f"!{installed}" in ignored


def test_docker_context__holds_every_app_and_no_data():
    ignored = (CHECKOUT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (\w+) \1$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)

    assert ignored[1] == "*"
    assert set(copied) == {"cdp", "consent", "identity", "enrichment", "segments", "activation"}
    assert {f"!{app}" for app in copied} <= set(ignored)


def new_env():
    done = subprocess.run(
        [sys.executable, CHECKOUT / "deploy" / "new_env.py"], capture_output=True, text=True, check=True
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if line and not line.startswith("#"))


def test_new_env__leaves_no_secret_open_and_repeats_none():
    first, second = new_env(), new_env()
    secrets = [name for name in first if first[name] != second[name]]

    assert {name for name, value in first.items() if not value} == {"CSRF_TRUSTED_ORIGINS", "TRUSTED_PROXIES"}
    assert len(secrets) == 14
    assert len({first[name] for name in secrets}) == 14
    assert all(re.fullmatch(r"[\w-]{30,}=?", first[name]) for name in secrets)
    Fernet(first["FIELD_ENCRYPTION_KEYS"])


# -- the database ---------------------------------------------------------------------------------------------------


class BareStack(Stack):
    """Servers as a cloud gives them: running, with an administrator, and nothing of Tessera inside."""

    def _provision(self):
        pass


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    stack = BareStack(tmp_path_factory.mktemp("bare") / "data")
    stack.start()
    with stack.connect_as_superuser() as admin:
        admin.execute("CREATE ROLE cloud LOGIN CREATEROLE CREATEDB PASSWORD 'cloud'")
    yield stack
    stack.stop()
    if stack.state != stack.home:
        shutil.rmtree(stack.state)


@pytest.fixture(scope="module")
def passwords():
    return new_passwords()


@pytest.fixture(scope="module")
def environment(bare):
    """What all services have in common."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "SECRET_KEY": "s" * 50,
        "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "BROKER_URL": bare.broker_url,
    }


def address(bare, login, password, database="tessera"):
    ours = bare.database_url("postgres", database)
    return ours.replace(f"postgres:{bare.credentials['postgres']}", f"{login}:{password}")


def manage(environment, *arguments, check=True, **more):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=CHECKOUT, env={**environment, **more},
        capture_output=True, text=True, check=check,
    )  # fmt: skip


@pytest.fixture(scope="module")
def provisioned(bare, environment, passwords):
    """Provisioned by an administrator without superuser rights, twice, and migrated by the owner."""
    by_cloud = {"DATABASE_URL": address(bare, "cloud", "cloud", "postgres"), "LOGIN_PASSWORDS": json.dumps(passwords)}
    for _ in range(2):
        done = manage(environment, "provision", "--json", check=False, **by_cloud)
        assert done.returncode == 0, done.stderr
    migrated = manage(environment, "migrate", check=False, DATABASE_URL=address(bare, OWNER, passwords[OWNER]))
    assert migrated.returncode == 0, migrated.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_provision__by_a_cloud_administrator__makes_every_role(bare, provisioned):
    assert provisioned == {"database": "tessera", "logins": sorted(LOGINS), "purposes": sorted(Purpose)}
    with bare.connect_as_superuser() as admin:
        rows = admin.execute(
            "SELECT rolname, rolcanlogin, rolinherit, rolsuper FROM pg_roles WHERE rolname = ANY(%s)",
            ([*LOGINS, *Purpose],),
        ).fetchall()
    roles = {name: rest for name, *rest in rows}

    assert set(roles) == {*LOGINS, *Purpose}
    assert all(roles[login] == [True, False, False] for login in LOGINS)
    assert all(roles[purpose][0] is False for purpose in Purpose)


@pytest.mark.slow
@pytest.mark.parametrize("login", WORKER_BY_QUEUE.values())
def test_worker__of_a_provisioned_database__sees_nobody_without_a_purpose(login, bare, provisioned, passwords):
    with (
        psycopg.connect(address(bare, login, passwords[login])) as worker,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        worker.execute("SELECT * FROM core.identifier")


@pytest.mark.slow
def test_purpose__of_a_provisioned_database__opens_its_views(bare, provisioned, passwords):
    login = WORKER_BY_QUEUE["activation"]
    with psycopg.connect(address(bare, login, passwords[login])) as worker:
        worker.execute("SET ROLE advertising")
        assert worker.execute("SELECT count(*) FROM advertising.identifier").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute("SET ROLE identity")


@pytest.mark.slow
def test_operator__doing_what_the_readme_says__can(bare, provisioned, environment, passwords):
    as_operator = {
        "DATABASE_URL": address(bare, "operator", passwords["operator"]),
        "DJANGO_SUPERUSER_PASSWORD": "a long one",
    }
    readme = (CHECKOUT / "deploy" / "README.md").read_text()
    said = [line.split() for line in re.findall(r"run --rm operator (.*)", readme)]
    assert [words[0] for words in said] == ["workspaces", "createsuperuser", "doctor", "load"]

    for words in said[:3]:
        answers = (
            ["--noinput", "--username", "ada", "--email", "ada@example.com"] if words[0] == "createsuperuser" else []
        )
        done = manage(environment, *words, *answers, check=False, **as_operator)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_web_server__as_compose_starts_it__is_healthy(bare, provisioned, environment, passwords):
    command = re.search(r"^CMD (\[.*\])$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)[1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [
        {"0.0.0.0": "127.0.0.1", "8000": port, "granian": str(SCRIPTS / "granian")}.get(w, w)
        for w in json.loads(command)
    ]
    server = subprocess.Popen(
        words, cwd=CHECKOUT, env={**environment, "DATABASE_URL": address(bare, WEB, passwords[WEB])},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert status_of(f"http://127.0.0.1:{port}/health/live") == 200
        assert status_of(f"http://127.0.0.1:{port}/console/login/") == 200
    finally:
        end(server)


def end(server):
    """As compose ends a service: asked first, and then made to."""
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def status_of(url):
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status
        except OSError as error:
            if time.monotonic() > deadline:
                return str(error)
            time.sleep(0.2)


@pytest.mark.slow
def test_worker__as_compose_starts_it__answers_its_health_check(bare, provisioned, environment, passwords):
    service = SERVICES["worker-identity"]
    login = WORKER_BY_QUEUE["identity"]
    inside = {
        **environment, "DATABASE_URL": address(bare, login, passwords[login]), "QUEUE": "identity", "CONCURRENCY": "1",
        "HOSTNAME": "here", "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
    }  # fmt: skip
    program, *arguments = [word.replace("$$", "$") for word in service["command"]]
    worker = subprocess.Popen(
        [program, *arguments], cwd=CHECKOUT, env=inside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        healthy = service["healthcheck"]["test"][1].replace("$$", "$")
        for _ in range(6):
            done = subprocess.run(["sh", "-c", healthy], cwd=CHECKOUT, env=inside, capture_output=True, check=False)
            if done.returncode == 0:
                break
        assert done.returncode == 0, done.stderr
    finally:
        worker.terminate()
        worker.wait(30)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Set DATABASE_URL to the address of a superuser"),
        ({"DATABASE_URL": "postgres://a:b@127.0.0.1:1/x", "LOGIN_PASSWORDS": "{}"}, "Postgres does not let us in"),
    ],
)
def test_provision__that_cannot_work__says_what_to_do(given, message):
    done = manage({"PATH": os.environ["PATH"]}, "provision", check=False, SECRET_KEY="s", **given)

    assert done.returncode == 1
    assert done.stderr.startswith("provision: ")
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("given", ["", "[]", '{"owner": 5}', "{'owner': 'x'}", '{"owner": "x", "web": "y"}'])
def test_provision__with_passwords_that_are_none__changes_nothing(given, bare, environment):
    with bare.connect_as_superuser() as admin:
        before = admin.execute("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1").fetchall()

        done = manage(
            environment,
            "provision",
            check=False,
            DATABASE_URL=bare.database_url("postgres", "postgres"),
            LOGIN_PASSWORDS=given,
        )

        assert done.returncode == 1
        assert "LOGIN_PASSWORDS" in done.stderr or "No password is given for operator, rights" in done.stderr
        assert admin.execute("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1").fetchall() == before
