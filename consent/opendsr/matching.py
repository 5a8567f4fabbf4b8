"""Whom the identities of a request name: in clear, or by a digest of the normal value, which is looked for.

A digest is compared with those of all values of its type, computed in Postgres over the index of identifiers: nothing
is stored for it, and a workspace without such requests pays nothing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from django.db import connection

from cdp.kernel.identifiers import Identifier, IdentifierSyntaxError
from consent.opendsr.messages import Asked, Identity, MalformedError
from consent.opendsr.words import RAW, identifier_type

# The value under which somebody is known, of a type and a value as they were written; None where it names nobody.
Normal = Callable[[str, str], str | None]

LONGEST_SEARCH: Final = "20s"
_LIMIT: Final = "SELECT current_setting('statement_timeout')"
_SET_LIMIT: Final = "SELECT set_config('statement_timeout', %s, true)"
_MATCHES: Final[Mapping[str, str]] = {
    "md5": """
        SELECT type, value FROM identifier WHERE workspace_id = %s AND type = %s AND md5(value) = ANY(%s)
        ORDER BY value LIMIT %s
    """,
    "sha256": """
        SELECT type, value FROM identifier
        WHERE workspace_id = %s AND type = %s AND encode(sha256(convert_to(value, 'UTF8')), 'hex') = ANY(%s)
        ORDER BY value LIMIT %s
    """,
}


def identifiers_of(workspace_id: int, asked: Asked, normal: Normal) -> list[Identifier]:
    """Everything that the request names, each once. In the scope of the workspace.

    A digest that nobody has stays one, of the type `email_sha256`, say: the request is kept and answered all the same.
    """
    found = [*_named(asked, normal), *_in_clear(asked.identities, normal)]
    for (kind, form), group in groupby(sorted(asked.identities, key=_kind), key=_kind):
        if form != RAW:
            found += _matched(workspace_id, kind, form, [each.identity_value.lower() for each in group])
    return list(dict.fromkeys(found))


def _kind(one: Identity) -> tuple[str, str]:
    return identifier_type(one.identity_type), one.identity_format


def _in_clear(identities: Sequence[Identity], normal: Normal) -> Iterator[Identifier]:
    for place, one in enumerate(identities):
        if one.identity_format == RAW:
            kind = identifier_type(one.identity_type)
            yield _normal(kind, one.identity_value, normal, f"subject_identities[{place}]")


def _named(asked: Asked, normal: Normal) -> Iterator[Identifier]:
    for number, text in enumerate(asked.identifiers):
        place = f"extensions.identifiers[{number}]"
        try:
            one = Identifier.parse(text)
        except IdentifierSyntaxError:
            raise MalformedError("invalid_identity", "An identifier is written TYPE:VALUE.", place) from None
        yield _normal(one.type, one.value, normal, place)


def _normal(kind: str, value: str, normal: Normal, place: str) -> Identifier:
    found = normal(kind, value)
    if found is None:
        raise MalformedError("invalid_identity", "Nobody is identified by this value.", place)
    return Identifier(kind, found)


def _matched(workspace_id: int, kind: str, form: str, digests: Sequence[str]) -> list[Identifier]:
    wanted = sorted(set(digests))
    with connection.cursor() as cursor:
        cursor.execute(_LIMIT)
        (limit,) = cursor.fetchone()
        cursor.execute(_SET_LIMIT, [LONGEST_SEARCH])
        cursor.execute(_MATCHES[form], [workspace_id, kind, wanted, len(wanted)])
        found = [Identifier(*row) for row in cursor.fetchall()]
        cursor.execute(_SET_LIMIT, [limit])
    return [*found, *_unknown(kind, form, wanted, found)]


def _unknown(kind: str, form: str, wanted: Sequence[str], found: Sequence[Identifier]) -> Iterator[Identifier]:
    known = {digest_in(form, one.value) for one in found}
    return (Identifier(f"{kind}_{form}", digest) for digest in wanted if digest not in known)


def digest_in(form: str, value: str) -> str:
    """In hexadecimal digits."""
    return hashlib.new(form, value.encode(), usedforsecurity=False).hexdigest()
