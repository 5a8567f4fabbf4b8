"""The project's own Python files, parsed once."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from cdp.embedded import CHECKOUT

APPS_LOW_TO_HIGH = ("cdp", "consent", "identity", "enrichment", "segments", "activation")


@dataclass(frozen=True)
class SourceFile:
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(CHECKOUT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.name)

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(self.tree)

    def place(self, node: ast.AST) -> str:
        return f"{self.name}:{getattr(node, 'lineno', 1)}"


@cache
def product_files() -> tuple[SourceFile, ...]:
    """Every module of the product, migrations and tests apart."""
    files = (file for app in APPS_LOW_TO_HIGH for file in sorted((CHECKOUT / app).rglob("*.py")))
    return tuple(SourceFile(file) for file in files if "migrations" not in file.parts)


@cache
def all_files() -> tuple[SourceFile, ...]:
    """The product, its tests and its benchmarks; what Django wrote is Django's."""
    folders = (*APPS_LOW_TO_HIGH, "tests", "bench")
    files = (file for folder in folders for file in sorted((CHECKOUT / folder).rglob("*.py")))
    return tuple(SourceFile(file) for file in files if not file.name.startswith("0001_"))


def dotted(node: ast.AST) -> str:
    """`a.b.c` for an attribute or a name, else nothing."""
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return node.id if isinstance(node, ast.Name) else ""


def imported_modules(node: ast.AST) -> list[str]:
    """What an import statement reaches for, as dotted names; `from a import b` may mean the module a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []
