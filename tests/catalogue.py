"""The French of the console: `python -m tests.catalogue` lists what is not translated yet and compiles the .mo file.

Strings are found in the code (`_("…")`, gettext, ngettext) and in templates; those of the theme, which brings no
French, are added by hand. No gettext programs are needed.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import polib

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "cdp" / "locale" / "fr" / "LC_MESSAGES" / "django.po"
APPS = ("cdp", "consent", "identity", "enrichment", "segments", "activation")
FUNCTIONS = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}
_TRANSLATE = re.compile(r'\{% translate "((?:[^"\\]|\\.)*)"')
_BLOCK = re.compile(r"\{% blocktranslate(?P<with>[^%]*)%\}(?P<text>.*?)\{% endblocktranslate %\}", re.DOTALL)
_PLURAL = re.compile(r"\{% plural %\}")
_VARIABLE = re.compile(r"\{\{ (\w+) \}\}")


def strings_in_code() -> set[str]:
    """Every text that asks for a translation."""
    found = set()
    for app in APPS:
        for file in (ROOT / app).rglob("*.py"):
            if "migrations" not in file.parts:
                found.update(_strings_of_module(file))
        for file in (ROOT / app).rglob("*.html"):
            found.update(_strings_of_template(file.read_text()))
    return found


def compiled(catalogue: polib.POFile) -> bytes:
    binary: bytes = catalogue.to_binary()
    return binary


def _strings_of_module(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and node.args:
            text = node.args[0]
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.value


def _strings_of_template(text: str) -> Iterator[str]:
    for match in _TRANSLATE.finditer(text):
        yield match[1]
    for match in _BLOCK.finditer(text):
        yield _VARIABLE.sub(r"%(\1)s", _PLURAL.split(match["text"])[0])


def main() -> int:
    catalogue = polib.pofile(str(CATALOGUE))
    missing = sorted(strings_in_code() - {entry.msgid for entry in catalogue if entry.translated()})
    for text in missing:
        print(f"not translated: {text!r}", file=sys.stderr)  # noqa: T201  # a tool for the command line
    CATALOGUE.with_suffix(".mo").write_bytes(compiled(catalogue))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
