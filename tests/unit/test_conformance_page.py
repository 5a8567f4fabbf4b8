"""The conformance suite without its SDKs: its page is whole, and what it installs is pinned."""

import json
import re

import pytest

from cdp.embedded import CHECKOUT
from tests.conformance import page
from tests.conformance.sdks import SDKS

SUITE = CHECKOUT / "tests" / "conformance"
PYTHON = [sdk for sdk in SDKS if sdk.language == "python"]
LOCK = json.loads((SUITE / "node" / "package-lock.json").read_text())


def test_page__has_a_cell_for_each_sdk_in_each_table_and_the_words_of_the_suite():
    assert page.FILE.read_text() == page.rendered(page.written())


def test_python_sdks__each_have_a_lock_file_and_no_other_is_there():
    assert {f"{sdk}.lock" for sdk in PYTHON} == {file.name for file in (SUITE / "python").glob("*.lock")}


@pytest.mark.parametrize("sdk", PYTHON, ids=str)
def test_lock_of_a_python_sdk__pins_it_and_all_it_needs_with_hashes(sdk):
    text = (SUITE / "python" / f"{sdk}.lock").read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line]

    assert [line for line in lines if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []
    assert f"{sdk.package}=={sdk.version} " in text
    assert "://" not in text


def test_lock_of_the_node_sdks__pins_them_and_all_they_need_with_hashes():
    packages = {name: one for name, one in LOCK["packages"].items() if name}

    assert [name for name, one in packages.items() if "integrity" not in one] == []
    assert {str(sdk) for sdk in SDKS} - {str(sdk) for sdk in PYTHON} == set(LOCK["packages"][""]["dependencies"])
    assert "://" not in json.dumps(LOCK)
