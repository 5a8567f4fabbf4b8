"""The console speaks French as well: see tests/catalogue.py."""

import re

import polib
import pytest

from tests.catalogue import CATALOGUE, compiled, strings_in_code

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]")


@pytest.fixture(scope="module")
def catalogue() -> polib.POFile:
    return polib.pofile(str(CATALOGUE))


def test_catalogue__of_every_text_in_the_code__has_a_translation(catalogue):
    translated = {entry.msgid for entry in catalogue if entry.translated()}

    missing = sorted(strings_in_code() - translated)

    assert missing == [], "add them to cdp/locale/fr/LC_MESSAGES/django.po, then run `python -m tests.catalogue`"


def test_catalogue__as_compiled__is_the_one_as_written(catalogue):
    kept = CATALOGUE.with_suffix(".mo").read_bytes()

    assert kept == compiled(catalogue), "run `python -m tests.catalogue` and commit the .mo file"


def test_translation__of_a_text_with_places_to_fill__has_the_same_places(catalogue):
    for entry in catalogue:
        for translation in entry.msgstr_plural.values() or [entry.msgstr]:
            assert sorted(PLACEHOLDER.findall(translation)) == sorted(PLACEHOLDER.findall(entry.msgid)), entry.msgid
