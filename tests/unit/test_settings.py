"""Settings come from the environment, and bad values are refused with the name of the variable."""

import json
import os
import subprocess
import sys

import pytest

from cdp.embedded import CHECKOUT

CODE = """
import json, sys
from django.core.exceptions import ImproperlyConfigured
try:
    from cdp import settings
except ImproperlyConfigured as error:
    sys.exit(str(error))
json.dump({name: getattr(settings, name) for name in sys.argv[1:]}, sys.stdout, default=str)
"""


def read(*names, **environment):
    """The settings of a process with this environment and no other; or what it says on its way out."""
    kept = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *names], cwd=CHECKOUT, env={**kept, **environment}, capture_output=True, text=True, check=False
    )  # fmt: skip
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()


def test_settings__of_an_empty_environment__are_safe():
    names = ("DEBUG", "ALLOWED_HOSTS", "PRIVATE_ADDRESSES_ALLOWED", "FIELD_ENCRYPTION_KEYS", "METRICS_TOKEN")

    assert read(*names) == {
        "DEBUG": False,
        "ALLOWED_HOSTS": ["127.0.0.1", "localhost", "[::1]"],
        "PRIVATE_ADDRESSES_ALLOWED": False,
        "FIELD_ENCRYPTION_KEYS": [],
        "METRICS_TOKEN": "",
    }


def test_lists__are_read_without_blanks_and_empty_words():
    assert read("ALLOWED_HOSTS", ALLOWED_HOSTS=" a.example , ,b.example,") == {
        "ALLOWED_HOSTS": ["a.example", "b.example"]
    }


@pytest.mark.parametrize(
    ("given", "expected"), [("true", True), ("TRUE", True), ("1", True), ("no", False), ("0", False)]
)
def test_flag__is_read_in_any_case(given, expected):
    assert read("DEBUG", DEBUG=given) == {"DEBUG": expected}


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("DEBUG", "maybe", "DEBUG must be true or false, not 'maybe'"),
        ("SECURE_COOKIES", "", "SECURE_COOKIES must be true or false, not ''"),
        ("TRACKING_BODY_BYTES", "8MB", "TRACKING_BODY_BYTES must be a whole number, not '8MB'"),
        ("TRACKING_BODY_BYTES", "-1", "TRACKING_BODY_BYTES must be a whole number, not '-1'"),
    ],
)
def test_value__that_cannot_be_read__is_refused_with_its_name(name, given, message):
    assert read("DEBUG", **{name: given}) == message


@pytest.mark.parametrize("secret", [{}, {"SECRET_KEY": ""}])
def test_database_of_ones_own__without_a_secret_key__is_refused(secret):
    """Else sessions would be signed with a key that everybody knows."""
    assert read("DEBUG", DATABASE_URL="postgres://somewhere/x", **secret).startswith("SECRET_KEY must be set")


def test_database_of_ones_own__with_a_secret_key__is_used():
    given = {"DATABASE_URL": "postgres://web:secret@db.example:5433/x", "SECRET_KEY": "k" * 50}

    found = read("DATABASES", "SECRET_KEY", **given)

    assert found["SECRET_KEY"] == "k" * 50
    assert (
        found["DATABASES"]["default"] | {"HOST": "db.example", "PORT": 5433, "USER": "web", "NAME": "x"}
        == found["DATABASES"]["default"]
    )
