"""What is installed is what was tested: pinned, with hashes, from whatever index the machine has."""

import re
import tomllib

import pytest

from cdp.embedded import CHECKOUT

LOCKS = sorted(CHECKOUT.glob("requirements*.lock"))


def requirements(lock):
    """Logical lines: name, version and hashes of a package."""
    return [line for line in lock.read_text().replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def names_in(lock):
    return {re.split(r"[=\[ ]", line)[0].lower().replace("_", "-") for line in requirements(lock)}


def test_locks__are_all_there():
    assert [lock.name for lock in LOCKS] == [
        "requirements-data.lock",
        "requirements-demo.lock",
        "requirements-dev.lock",
        "requirements-extras.lock",
        "requirements-rival.lock",
        "requirements-spark.lock",
        "requirements.lock",
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock__pins_every_package_with_its_hashes(lock):
    loose = [line for line in requirements(lock) if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)]

    assert not loose


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock__names_no_address(lock):
    assert "://" not in lock.read_text()
    assert "index-url" not in lock.read_text()


def of_connections(extras):
    """What people install for the systems that they connect: every extra but our own two, and Spark."""
    return [name for extra, names in extras.items() if extra not in {"demo", "dev", "spark"} for name in names]


def test_locks__hold_what_pyproject_asks_for():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    for lock, wanted in {
        "requirements.lock": project["dependencies"],
        "requirements-extras.lock": [*project["dependencies"], *of_connections(extras)],
        "requirements-spark.lock": [*project["dependencies"], *extras["spark"]],
        "requirements-demo.lock": [*project["dependencies"], *extras["demo"]],
        "requirements-dev.lock": [
            *project["dependencies"],
            *of_connections(extras),
            *extras["spark"],
            *extras["demo"],
            *extras["dev"],
        ],
    }.items():
        plain = {re.split(r"[\[=<>~! ]", name)[0].lower().replace("_", "-") for name in wanted}
        assert plain <= names_in(CHECKOUT / lock), f"run `make lock`: {lock} lacks {plain - names_in(CHECKOUT / lock)}"


def test_smaller_locks__are_part_of_the_largest():
    """For which systems may differ: what one extra needs on Windows alone, another one needs everywhere."""
    largest = unmarked(CHECKOUT / "requirements-dev.lock")

    for name in ("requirements.lock", "requirements-demo.lock", "requirements-extras.lock"):
        assert unmarked(CHECKOUT / name) <= largest


def unmarked(lock):
    return {re.sub(r" +;.*?(?= --hash)", "", re.sub(r" +", " ", line)) for line in requirements(lock)}
