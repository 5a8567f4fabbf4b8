"""The documentation says what is: commands exist, links lead somewhere, examples parse, settings are all listed."""

import json
import re
import subprocess
from functools import cache
from typing import get_args

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class

from cdp.embedded import CHECKOUT
from cdp.ingestion.mapping import parse_mapping
from cdp.ingestion.mending import read_mend
from cdp.kernel.logins import OWNER, PURPOSES_BY_LOGIN
from cdp.management.command import TesseraCommand
from segments import language
from segments.learned import specification

PAGES = [
    *sorted(CHECKOUT.glob("docs/**/*.md")),
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md")),
]
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fences(kind):
    """Every example of this kind: (page, text)."""
    return [
        pytest.param(text, id=f"{page.name}-{place}")
        for page in PAGES
        for place, (info, text) in enumerate(FENCE.findall(page.read_text()))
        if info == kind
    ]


# -- names ----------------------------------------------------------------------------------------------------------


@cache
def make_targets():
    return set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))


@EACH_PAGE
def test_page__names_only_make_targets_that_exist(page):
    text = page.read_text()
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"^\$ make ([a-z-]+)", text, re.MULTILINE))

    assert named <= make_targets()


@cache
def options_of(command):
    """The words that a command of ours takes: its actions and options; nothing where it is Django's."""
    made = load_command_class(get_commands()[command], command)
    if not made.__module__.startswith(("cdp.", "identity.", "segments.", "consent.", "activation.", "enrichment.")):
        return None
    return list(words_of(made.create_parser("manage.py", command)))


def words_of(parser):
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action.choices, dict):
            for name, inner in action.choices.items():
                yield name
                yield from words_of(inner)
        elif action.choices and not action.option_strings:
            yield from action.choices


def commands_in(text):
    """Command lines, from code blocks and from sentences."""
    lines = re.findall(r"manage\.py ([a-z][^`\n]*)", text)
    lines += re.findall(r"docker compose run --rm operator ([a-z][^`\n]*)", text)
    return [re.split(r" [|>#&]", line)[0].split() for line in lines]


@EACH_PAGE
def test_page__names_only_commands_that_exist(page):
    for name, *words in commands_in(page.read_text()):
        assert name.strip(",.;:)") in get_commands(), f"there is no `manage.py {name}`"
        known = options_of(name.strip(",.;:)"))
        unknown = [word for word in words if known is not None and word.startswith("--") and word not in known]
        assert not unknown, f"`manage.py {name}` has no {unknown}"


def table_of_commands():
    section = (CHECKOUT / "docs" / "interface.md").read_text().split("## manage.py")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [
        example.replace("[", "").replace("]", "").split() for row in rows for example in re.findall(r"`([^`]+)`", row)
    ]


@pytest.mark.parametrize("words", table_of_commands(), ids=" ".join)
def test_interface__lists_commands_with_their_actions_and_options(words):
    name, *rest = words
    known = options_of(name)
    actions = rest[:1] if rest and rest[0].islower() and not rest[0].startswith("--") else []

    assert set(actions) <= set(known)
    assert {word for word in rest if word.startswith("--")} <= set(known)


def test_interface__lists_every_command_of_ours():
    ours = {
        name for name in get_commands() if isinstance(load_command_class(get_commands()[name], name), TesseraCommand)
    }

    assert ours | {"stack"} == {words[0] for words in table_of_commands()}


def test_operations__lists_every_setting_that_is_read():
    read = set(
        re.findall(
            r"read_(?:text|flag|number|list|networks)\(\s*\"(\w+)\"", (CHECKOUT / "cdp" / "settings.py").read_text()
        )
    )
    section = (CHECKOUT / "docs" / "operations.md").read_text().split("## Settings")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE))

    assert len(read) > 10
    assert read == listed


def test_operations__lists_every_login():
    text = (CHECKOUT / "docs" / "operations.md").read_text().split("## Logins")[1].split("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE)) == {OWNER, *PURPOSES_BY_LOGIN}


def test_console__is_described_with_every_entry_of_its_menu():
    page = (CHECKOUT / "docs" / "console.md").read_text()
    titles = [str(item["title"]) for group in settings.UNFOLD["SIDEBAR"]["navigation"] for item in group["items"]]

    assert len(titles) > 10
    assert [title for title in titles if title not in page] == []


# -- links ----------------------------------------------------------------------------------------------------------


@EACH_PAGE
def test_page__links_to_what_is_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(found.read_text()), f"{page.name} links to {target}"


def anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_index__leads_to_every_page():
    text = (CHECKOUT / "docs" / "index.md").read_text()
    missing = [
        page.name
        for page in sorted((CHECKOUT / "docs").rglob("*.md"))
        if page.name != "index.md" and page.relative_to(CHECKOUT / "docs").as_posix() not in text
    ]

    assert missing == []


# -- examples -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", fences("rule"))
def test_rule__of_the_documentation__is_understood(text):
    assert language.explain(language.parse_text(text), "en")


@pytest.mark.parametrize("text", fences("json rule"))
def test_json_rule__of_the_documentation__is_understood(text):
    assert language.explain(language.parse_json(json.loads(text)), "en")


def every_condition():
    """The text, the JSON and the sentence of each example of the page about the language."""
    page = (CHECKOUT / "docs" / "segment-rules.md").read_text()
    return re.findall(r"^```rule\n((?:.*\n)*?)```\n```json rule\n((?:.*\n)*?)```\n> (.*)$", page, re.MULTILINE)


@pytest.mark.parametrize(("text", "document", "sentence"), every_condition())
def test_condition__of_the_documentation__is_the_same_in_both_forms_and_is_said_so(text, document, sentence):
    tree = language.parse_text(text)

    assert language.to_json(tree) == json.loads(document)
    assert language.to_text(language.parse_json(json.loads(document))) == language.to_text(tree)
    assert language.explain(tree, "en") == sentence


def test_conditions__of_the_documentation__are_of_every_kind():
    trees = [language.parse_text(text) for text, _, _ in every_condition()]

    assert {type(leaf) for tree in trees for leaf in language.leaves_of(tree)} == set(get_args(language.Leaf))


@pytest.mark.parametrize("text", fences("yaml mapping"))
def test_mapping__of_the_documentation__is_understood(text):
    assert parse_mapping(yaml.safe_load(text), of_events=False).key


@pytest.mark.parametrize("text", fences("yaml mend"))
def test_mend__of_the_documentation__is_understood(text):
    assert read_mend(text).operations


@pytest.mark.parametrize("text", fences("yaml learned"))
def test_learned_specification__of_the_documentation__is_understood(text):
    assert specification.read(yaml.safe_load(text)).model


@pytest.mark.parametrize("text", fences("python"))
def test_python__of_the_documentation__compiles(text):
    compile(text, "documentation", "exec")


def test_examples__of_every_kind_are_found():
    kinds = ("rule", "json rule", "yaml mapping", "yaml mend", "yaml learned", "python", "console")

    assert {kind: bool(fences(kind)) for kind in kinds} == dict.fromkeys(kinds, True)


def test_signature_example__of_the_documentation__accepts_what_is_sent():
    from activation.destinations.webhook.destination import signature

    page = (CHECKOUT / "docs" / "activation.md").read_text()
    space = {}
    exec(next(text for info, text in FENCE.findall(page) if info == "python"), space)  # noqa: S102  # our own page

    assert space["is_genuine"]("key", "1700000000", b"{}", signature("key", "1700000000", b"{}"))
    assert not space["is_genuine"]("key", "1700000001", b"{}", signature("key", "1700000000", b"{}"))


def test_makefile__explains_every_target():
    command = ["make", "--no-print-directory", "help"]  # the tests themselves may run under make
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)

    assert {line.split()[0] for line in done.stdout.splitlines()} == make_targets()
