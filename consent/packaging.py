"""Packages: everything held about a person as JSON, CSV and HTML in one zip, built by the login `rights`.

It reads through cursors of the server and encrypts as it writes, so memory does not grow with the person. That it reads
is written down before it does. A job that is killed leaves a file that nobody can read, and the next one begins anew.
"""

import csv
import html
import io
import json
import re
import secrets
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import F, QuerySet
from django.utils import translation
from psycopg import ServerCursor, postgres
from psycopg.types.string import TextLoader

from cdp.kernel.errors import TesseraError
from cdp.kernel.logins import RIGHTS
from cdp.models.keys import digest_of
from cdp.models.secrets import decrypted, encrypted
from cdp.models.tenancy import workspace_scope
from consent import package_words as words
from consent.answers import COMPLAINTS
from consent.holdings import WITHHELD, Section, sections_for
from consent.models import DataPackage, DataRequest
from consent.package_words import COLUMNS, TITLES
from consent.request_states import RequestState
from consent.requests import UnknownRequestError, changing, identifiers_of, take_step, vouched_for
from consent.rights import Right
from consent.sealed import SealedWriter, new_key, unsealed

log = structlog.get_logger()

ROWS_AT_ONCE: Final = 500
MOST_FAILURES: Final = 5
LINK_LASTS: Final = timedelta(days=7)
DOWNLOADS: Final = 3
KEPT: Final = timedelta(days=30)


class NoSuchLinkError(TesseraError):
    """The link is unknown, has ended, or was used as often as it may be: ask for a new one."""

    code = "no_such_link"


class PackageNotBuiltError(TesseraError):
    """The package is not built yet, or was deleted after its time: come again later, or make another request."""

    code = "package_not_built"


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the queries of the sections ask for."""

    workspace: int
    identifiers: list[int]
    profiles: list[int]
    digests: list[bytes]
    named: list[str]  # in clear: somebody may be named in what was refused, and known nowhere else


# -- build ----------------------------------------------------------------------------------------------------------


def build_next(*, workspace_id: int, now: datetime) -> int | None:
    """Build one package that waits. Returns its request, or None when none waits. A failure is kept, and tried again."""
    request_id = _begin(workspace_id, now)
    if request_id is None:
        return None
    try:
        _build(workspace_id, request_id, now)
    except (OSError, TesseraError, ValueError, DatabaseError) as error:
        log.warning("package.failed", workspace=workspace_id, request=request_id, error=type(error).__name__)
        _keep_failure(workspace_id, request_id, error)
    return request_id


def waiting_packages(workspace_id: int) -> QuerySet[DataPackage]:
    """Those to be built, the ones that failed last. In the scope of the workspace."""
    rows = DataPackage.objects.filter(
        workspace=workspace_id, built_at=None, failures__lt=MOST_FAILURES, request__state=RequestState.IN_PROGRESS
    )
    return rows.order_by("failures", "pk")


def _begin(workspace_id: int, now: datetime) -> int | None:
    """Writes down that somebody's data are about to be read, before they are."""
    with workspace_scope(workspace_id):
        rows = waiting_packages(workspace_id).select_for_update(skip_locked=True, of=("self",))
        package = rows.select_related("request").first()
        if package is None:
            return None
        tables = ", ".join(section.table for section in _sections(package.request))
        _trace(package.request, "package.read", tables, now)
    log.info("package.read", workspace=workspace_id, request=package.request_id)
    return int(package.request_id)


def _build(workspace_id: int, request_id: int, now: datetime) -> None:
    """The row is locked until it is built: another worker finds nothing to do, and a killed one frees it."""
    with workspace_scope(workspace_id):
        rows = DataPackage.objects.select_for_update(skip_locked=True, of=("self",)).select_related("request")
        package = rows.filter(request=request_id, built_at=None).first()
        if package is None:
            return
        key, name = new_key(), _new_name(workspace_id, request_id)
        language = translation.override(package.request.locale)
        with _sealed_zip(package_path(name), key) as (archive, sealed), language:
            counts = _fill(archive, package.request, now)
        package.stored_as, package.counts, package.built_at = name, counts, now
        package.size, package.error, package.secrets = sealed.size, "", encrypted({"key": key})
        package.save()
        _trace(package.request, "package.built", json.dumps(counts), now)
    log.info("package.built", workspace=workspace_id, request=request_id, rows=sum(counts.values()))


def _keep_failure(workspace_id: int, request_id: int, error: Exception) -> None:
    with workspace_scope(workspace_id):
        DataPackage.objects.filter(request=request_id, built_at=None).update(
            failures=F("failures") + 1, error=type(error).__name__
        )


def _trace(request: DataRequest, step: str, note: str, now: datetime) -> None:
    take_step(request, step, RIGHTS, now, note)
    request.save(update_fields=["step", "stepped_at", "stepped_by", "note"])


def _new_name(workspace_id: int, request_id: int) -> str:
    """What a killed builder left goes first. Each try has its own key: one key never encrypts two files."""
    beginning = f"{workspace_id}-{request_id}-"
    for left in Path(settings.PACKAGE_DIR).glob(f"{beginning}*"):
        left.unlink(missing_ok=True)
    return f"{beginning}{secrets.token_hex(8)}.sealed"


def package_path(name: str) -> Path:
    return Path(settings.PACKAGE_DIR) / name


@contextmanager
def _sealed_zip(path: Path, key: str) -> Iterator[tuple[zipfile.ZipFile, SealedWriter]]:
    """A file that is not finished does not stay."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            path.chmod(0o600)
            sealed = SealedWriter(file, key)
            with zipfile.ZipFile(sealed, "w", zipfile.ZIP_DEFLATED) as archive:
                yield archive, sealed
            sealed.close()
    except BaseException:
        path.unlink(missing_ok=True)
        raise


# -- what is in it --------------------------------------------------------------------------------------------------


def _sections(request: DataRequest) -> tuple[Section, ...]:
    return sections_for(is_portability=request.kind == Right.PORTABILITY)


def _fill(archive: zipfile.ZipFile, request: DataRequest, now: datetime) -> dict[str, int]:
    person = _person(request)
    counts = {section.name: _write_section(archive, section, person) for section in _sections(request)}
    about = {
        "request": request.pk, "kind": request.kind, "received_at": request.received_at, "made_at": now,
        "rows": counts, "origins": {section.name: section.origin.value for section in _sections(request)},
        "not_in_here": dict(WITHHELD), "complaints": str(COMPLAINTS), "locale": request.locale,
    }  # fmt: skip
    archive.writestr("about.json", json.dumps(about, default=str, ensure_ascii=False, indent=1))
    archive.writestr("index.html", _index(_sections(request), counts))
    archive.writestr("columns.html", _explained_columns())
    return counts


_PERSON = """
SELECT array_agg(i.id), array_agg(DISTINCT i.profile_id), array_agg(i.digest) FROM core.identifier i
WHERE i.workspace_id = %(workspace)s AND i.profile_id IN (
    SELECT known.profile_id FROM core.identifier known
    WHERE known.workspace_id = %(workspace)s AND known.digest = ANY(%(digests)s)
)
"""


def _person(request: DataRequest) -> Person:
    """Who has the identifiers that were shown to be the person's."""
    shown = [bytes(digest) for digest in request.digests[: vouched_for(request)]]
    with connection.cursor() as cursor:
        cursor.execute(_PERSON, {"workspace": request.workspace_id, "digests": shown})
        identifiers, profiles, known = cursor.fetchone()
    every = {*shown, *(bytes(digest) for digest in known or ())}
    named = [one.value for one in identifiers_of(request)[: vouched_for(request)]]
    return Person(request.workspace_id, identifiers or [], profiles or [], sorted(every), named)


def _write_section(archive: zipfile.ZipFile, section: Section, person: Person) -> int:
    """The same rows three times, from one cursor that is wound back: all formats show one moment."""
    parameters = {name: getattr(person, name) for name in Person.__slots__}
    with connection.connection.cursor(name=f"section_{section.name}", scrollable=True) as cursor:
        for kind in ("jsonb", "timestamptz"):
            cursor.adapters.register_loader(kind, TextLoader)  # as it is written: nobody reads what is in it
        cursor.execute(section.query, parameters)
        columns = [Column(column.name, column.type_code) for column in cursor.description]
        for ending, write in FORMATS.items():
            place = f"{ending}/{section.origin.value}/{section.name}.{ending}"
            with archive.open(place, "w", force_zip64=True) as file:
                number = write(file, section, columns, _slices_of(cursor, columns))
            cursor.scroll(0, mode="absolute")
    return number


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: int  # as Postgres numbers them


Slice = Sequence[Sequence[Any]]
"""Some hundred rows, column by column: what is done to a whole column at once takes a tenth of doing it to each value."""

JSONB: Final = postgres.types["jsonb"].oid
TIMESTAMPTZ: Final = postgres.types["timestamptz"].oid
BETWEEN: Final = "\0"  # no text of Postgres has it


def _slices_of(cursor: ServerCursor[Any], columns: Sequence[Column]) -> Iterator[Slice]:
    """What the cursor gives when it is iterated itself it does not give again after it was wound back."""
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        by_column = zip(columns, zip(*rows, strict=True), strict=True)
        yield [_moments(values) if column.type == TIMESTAMPTZ else values for column, values in by_column]


def _moments(texts: Sequence[str | None]) -> Sequence[str | None]:
    """`2026-01-31 12:00:00.5+00` as Python writes it, which is slower by far: `2026-01-31 12:00:00.500000+00:00`."""
    return [
        f"{text}:00" if text and len(text) in PLAIN_LENGTHS and text[-3] == "+" else text and _moment(text)
        for text in texts
    ]


PLAIN_LENGTHS: Final = {len("2026-01-31 12:00:00+00"), len("2026-01-31 12:00:00.123456+00")}
MOMENT: Final = re.compile(r"(\S+ \d\d:\d\d:\d\d)(?:\.(\d+))?([+-]\d\d)(:\d\d)?")


def _moment(text: str) -> str:
    found = MOMENT.fullmatch(text)
    if not found:  # such as `infinity`
        return text
    instant, fraction, hours, minutes = found.groups()
    return f"{instant}{f'.{fraction:0<6}' if fraction else ''}{hours}{minutes or ':00'}"


in_json: Final = json.JSONEncoder(default=str, ensure_ascii=False).encode
_column_in_json: Final = json.JSONEncoder(default=str, ensure_ascii=False, separators=(BETWEEN, ": ")).encode


def _write_json(file: IO[bytes], _: Section, columns: Sequence[Column], slices: Iterable[Slice]) -> int:
    names = (in_json(column.name).replace("%", "%%") for column in columns)
    line = f"{{{', '.join(f'{name}: %s' for name in names)}}}"
    number = 0
    for each in slices:
        cells = [_values_in_json(column, values) for column, values in zip(columns, each, strict=True)]
        lines = ",\n".join(map(line.__mod__, zip(*cells, strict=True)))
        file.write(f"{',' if number else '['}\n{lines}".encode())
        number += len(each[0])
    file.write(b"\n]\n" if number else b"[\n]\n")
    return number


def _values_in_json(column: Column, values: Sequence[Any]) -> Sequence[str]:
    if column.type == JSONB:
        return ["null" if value is None else value for value in values]
    parts = _column_in_json(values)[1:-1].split(BETWEEN)
    return parts if len(parts) == len(values) else [in_json(value) for value in values]  # a list has parts of its own


def _write_csv(file: IO[bytes], _: Section, columns: Sequence[Column], slices: Iterable[Slice]) -> int:
    number = 0
    for each in _with_heads(columns, slices):
        text = io.StringIO(newline="")
        cells = [[_harmless(word) for word in _in_words(values)] for values in each]
        csv.writer(text).writerows(zip(*cells, strict=True))
        file.write(text.getvalue().encode())
        number += len(each[0])
    return number - 1


def _with_heads(columns: Sequence[Column], slices: Iterable[Slice]) -> Iterator[Slice]:
    yield [[column.name] for column in columns]
    yield from slices


def _write_html(file: IO[bytes], section: Section, columns: Sequence[Column], slices: Iterable[Slice]) -> int:
    heads = "".join(f"<th>{html.escape(str(COLUMNS[column.name]))}</th>" for column in columns)
    file.write(f"{_head()}<h1>{html.escape(str(TITLES[section.name]))}</h1><table><tr>{heads}</tr>\n".encode())
    line = f"<tr>{'<td>%s</td>' * len(columns)}</tr>\n"
    number = 0
    for each in slices:
        cells = [html.escape(BETWEEN.join(_in_words(values))).split(BETWEEN) for values in each]
        file.write("".join(map(line.__mod__, zip(*cells, strict=True))).encode())
        number += len(each[0])
    file.write(b"</table>\n")
    return number


FORMATS: Final[Mapping[str, Callable[[IO[bytes], Section, Sequence[Column], Iterable[Slice]], int]]] = {
    "json": _write_json,
    "csv": _write_csv,
    "html": _write_html,
}
_STYLE: Final = (
    "body{font:1rem system-ui;margin:2rem}table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.3rem;"
    "text-align:left;vertical-align:top}"
)


def _head() -> str:
    language = translation.get_language()
    title = html.escape(str(words.YOUR_DATA))
    return f'<!doctype html><html lang="{language}"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'


def _index(sections: Sequence[Section], counts: Mapping[str, int]) -> str:
    lines = [
        f'<tr><td><a href="html/{each.origin.value}/{each.name}.html">{html.escape(str(TITLES[each.name]))}</a></td>'
        f"<td>{html.escape(str(words.ORIGINS[each.origin]))}</td><td>{counts[each.name]}</td></tr>"
        for each in sections
    ]
    heads = "".join(f"<th>{html.escape(str(each))}</th>" for each in (words.WHAT, words.ORIGIN, words.ROWS))
    told = "".join(f"<p>{html.escape(str(each))}</p>" for each in (words.ABOUT, words.NOT_IN_HERE, COMPLAINTS))
    names = f'<p><a href="columns.html">{html.escape(str(words.COLUMNS_PAGE))}</a></p>'
    table = f"<table><tr>{heads}</tr>{''.join(lines)}</table>"
    return f"{_head()}<h1>{html.escape(str(words.YOUR_DATA))}</h1>{table}{told}{names}"


def _explained_columns() -> str:
    """JSON and CSV have names for machines: here is what they mean."""
    heads = "".join(f"<th>{html.escape(str(each))}</th>" for each in (words.COLUMN, words.MEANING))
    lines = [
        f"<tr><td><code>{name}</code></td><td>{html.escape(str(word))}</td></tr>" for name, word in COLUMNS.items()
    ]
    title = html.escape(str(words.COLUMNS_PAGE))
    return f"{_head()}<h1>{title}</h1><table><tr>{heads}</tr>{''.join(lines)}</table>"


def _in_words(values: Sequence[object]) -> list[str]:
    return [value if type(value) is str else _word(value) for value in values]


def _word(value: object) -> str:
    if value is None:
        return ""
    return in_json(value) if isinstance(value, dict | list) else str(value)


FORMULAS: Final = frozenset("=+-@\t\r")  # with which what a spreadsheet takes for a formula begins


def _harmless(text: str) -> str:
    return f"'{text}" if text[:1] in FORMULAS else text


# -- hand over ------------------------------------------------------------------------------------------------------


def make_link(*, workspace_id: int, request_id: int, by: str, now: datetime) -> tuple[str, DataPackage]:
    """The token of a new link, which is stored nowhere. The link before it ends."""
    secret = secrets.token_urlsafe(32)
    with changing(workspace_id, request_id) as request:
        package = DataPackage.objects.select_for_update().filter(request=request).first()
        if package is None or package.built_at is None or not package.stored_as:
            raise PackageNotBuiltError
        package.link_digest, package.link_expires_at = digest_of(secret), now + LINK_LASTS
        package.downloads_left = DOWNLOADS
        package.save()
        take_step(request, "package.linked", by, now)
    return f"{workspace_id}.{secret}", package


def package_of(*, workspace_id: int, request_id: int) -> DataPackage:
    with workspace_scope(workspace_id):
        package = DataPackage.objects.filter(workspace=workspace_id, request=request_id).first()
    if package is None:
        raise UnknownRequestError(request=request_id)
    return package


def open_package(token: str, *, now: datetime) -> Iterator[bytes]:
    """The zip behind a link, piece by piece; counted before the first piece. Raises `NoSuchLinkError`."""
    workspace, _, secret = token.partition(".")
    if not (workspace.isdecimal() and len(workspace) < 19 and secret):
        raise NoSuchLinkError
    with workspace_scope(int(workspace)):
        rows = DataPackage.objects.select_for_update(of=("self",)).filter(
            workspace=int(workspace), link_digest=digest_of(secret), link_expires_at__gt=now, downloads_left__gt=0
        )
        package = rows.select_related("request").exclude(stored_as="").first()
        if package is None:
            raise NoSuchLinkError
        DataPackage.objects.filter(pk=package.pk).update(downloads_left=F("downloads_left") - 1)
        with changing(int(workspace), package.request_id) as request:
            take_step(request, "package.downloaded", "link", now)
    return _content(package)


def _content(package: DataPackage) -> Iterator[bytes]:
    with package_path(package.stored_as).open("rb") as file:
        yield from unsealed(file, decrypted(package.secrets)["key"])


def forget_old(*, workspace_id: int, now: datetime) -> int:
    """Delete the files of packages that are older than 30 days. The keys go too: no copy of a file can be read."""
    with workspace_scope(workspace_id):
        rows = DataPackage.objects.filter(workspace=workspace_id, built_at__lt=now - KEPT).exclude(stored_as="")
        old = list(rows[:ROWS_AT_ONCE])
        for package in old:
            package_path(package.stored_as).unlink(missing_ok=True)
            package.stored_as, package.link_digest, package.secrets = "", "", encrypted({"key": new_key()})
            package.downloads_left = 0
            package.save()
        return len(old)
