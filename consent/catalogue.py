"""Is the wall whole? Reads Postgres's own catalogue and names every way past the gate and between workspaces.

What is allowed is declared here with its reason. Whatever else the catalogue shows is a finding: a new table, function
or grant must be declared before it passes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cdp.kernel.logins import DUTIES, DUTIES_BY_LOGIN, OPERATOR, OWNER, PURPOSES_BY_LOGIN, RETENTION, RIGHTS, WEB
from cdp.kernel.purposes import Purpose
from consent import side_doors
from consent.pg_catalogue import CORE, OUR_ROLES, our_schemas, rows


@dataclass(frozen=True, slots=True)
class Check:
    """`detail` names what was found, for whoever must mend it."""

    name: str
    ok: bool
    detail: str


# -- what is allowed ------------------------------------------------------------------------------------------------

TABLES_ACROSS_WORKSPACES: Final[Mapping[str, str]] = {
    "outbox": "a worker must find work before it knows the workspace; ids only",
    "source": "a write key leads to its source before the workspace is known; nothing personal",
    "write_key": "found by digest before the workspace is known",
    "api_key": "found by digest before the workspace is known",
    "member": "read at login, to know the workspaces of a user",
}

DEFINER_FUNCTIONS: Final[Mapping[str, str]] = {
    "refresh_permissions": "has the masks written, however many they are",
    "decide_permissions": "writes the masks, which no login may write",
    "refresh_expired_permissions": "decides anew when time has passed a mask",
    "identifiers_come": "trigger: looks up the mask of somebody who said nothing, which whoever comes now will have",
    "identifiers_came": "trigger: a new identifier gets its profile and its mask",
    "identifiers_moved": "trigger: a merge or its undo gets its masks",
    "consent_is_chained": "trigger: links what was said to the chain, which no login may write",
    "consent_was_recorded": "trigger: what was said is felt at once",
    "purposes_changed": "trigger: another legal basis is felt at once",
    "identifiers_are_not_suppressed": "trigger: whoever is suppressed is not stored; the restricted get their mask",
    "places_changed": "trigger: where a person lives is felt at once, if the workspace says that it matters",
    "restrictions_changed": "trigger: a restriction or an objection is felt at once",
    "erase_person": "erases by the rules of `erasure_rule`, which only migrations write, for logins that see nobody",
    "mentions_in": "finds and blots out words that an officer gives, for logins that see nobody: only ids go out",
    "erase_and_name": "likewise, and names the person to destinations that must be told: it is called by `erase_person`",
    "ensure_event_partition": "makes a month's partition, which belongs to the owner",
    "memberships_came": "trigger: tells an entry to the purposes that the person permits, which no login may read",
    "memberships_changed": "trigger: likewise an exit",
    "memberships_went": "trigger: likewise that somebody left who was erased",
    "profiles_permit_otherwise": "trigger: keeps what was permitted until those who were told of the person hear of it",
    "tell_permissions": "tells purposes that a person came or went though no segment changed; returns nothing",
    "drop_event_partition": "drops a month's partition that is past its period, if no other workspace has rows in it",
}
FIXED_PATH: Final = "search_path=core, pg_temp"

PERSONAL_TABLES: Final = frozenset(
    {
        "announcement",
        "audience_member",
        "blocking_key",
        "breach_evidence",
        "confirmation",
        "consent_record",
        "data_request",
        "data_request_step",
        "erasure_subject",
        "event",
        "identifier",
        "identifier_trait",
        "identity_doubt",
        "inbox",
        "judgement",
        "membership",
        "membership_change",
        "message",
        "permission_change",
        "profile",
        "quarantine",
        "quarantine_order",
        "quarantine_reading",
        "record",
        "refusal",
        "relation",
        "request_work",
        "restriction",
        "review_pair",
        "review_verdict",
        "score",
        "segment_list_entry",
        "sighting",
        "source_notice",
        "suppression",
        "trait",
    }
)

_IDS_AND_TIMES = "deletes what is past its period: ids and times alone"
_WRITES = "stores what arrives, before anybody's permission can be known"
READERS: Final[Mapping[tuple[str, str], str]] = {
    (Purpose.COLLECTION, "announcement"): "fetches what a webhook announced: ids at the other system",
    (Purpose.COLLECTION, "inbox"): _WRITES,
    (Purpose.COLLECTION, "message"): _WRITES,
    (Purpose.COLLECTION, "sighting"): _WRITES,
    (Purpose.COLLECTION, "identifier"): "finds the identifiers that it stores events for",
    (Purpose.COLLECTION, "identifier_trait"): _WRITES,
    (Purpose.COLLECTION, "record"): _WRITES,
    (Purpose.COLLECTION, "quarantine"): _WRITES,
    (Purpose.COLLECTION, "quarantine_order"): "mends and replays what people ordered",
    (Purpose.COLLECTION, "quarantine_reading"): _WRITES,
    (Purpose.COLLECTION, "event"): "measures what a source sends; and copies the log in columns, where an event"
    " is that of an identifier, whose people nobody knows who does not ask through the gate",
    (Purpose.COLLECTION, "consent_record"): "records what signals in events say; digests",
    (Purpose.COLLECTION, "suppression"): "stores nobody who is suppressed; digests",
    (Purpose.IDENTITY, "sighting"): "ids only: which identifiers were seen together",
    (Purpose.IDENTITY, "profile"): "ids only: which profile redirects to which",
    (Purpose.IDENTITY, "judgement"): "ids and weights",
    (Purpose.IDENTITY, "review_pair"): "ids and weights",
    (Purpose.IDENTITY, "refusal"): "ids, reasons and counts",
    (Purpose.IDENTITY, "relation"): "ends the relations of people whom it may no longer see; ids and digests",
    (Purpose.IDENTITY, "membership"): "counts what hangs on a pair that waits for a steward: ids alone",
    (Purpose.IDENTITY, "audience_member"): "likewise: ids alone",
    (Purpose.IDENTITY, "blocking_key"): "ids and keyed hashes; what the records say is read through the gate",
    (Purpose.SEGMENTATION, "membership"): "ends the memberships of people whom it may no longer see; ids and times",
    (
        Purpose.SEGMENTATION,
        "segment_list_entry",
    ): "takes people off lists whom it may no longer see; ids, times, reasons",
    (
        Purpose.ADVERTISING,
        "erasure_subject",
    ): "tells destinations whom to erase; encrypted, and gone when they answered",
    (Purpose.ADVERTISING, "audience_member"): "removes people who withdrew from where they were sent; hashes",
    **{
        (RETENTION, table): _IDS_AND_TIMES
        for table in (
            "announcement",
            "audience_member",
            "event",
            "membership",
            "membership_change",
            "quarantine",
            "record",
            "score",
        )
    },
    (OPERATOR, "inbox"): "loads files",
    (OPERATOR, "quarantine"): "mends and replays",
    (OPERATOR, "quarantine_order"): "mends and replays",
    (OPERATOR, "quarantine_reading"): "mends and replays",
    (OPERATOR, "breach_evidence"): "shows how many were affected: ids",
    (OPERATOR, "source_notice"): "lists who must still be told: ids",
    (OPERATOR, "erasure_subject"): "numbers of rows that it has written",
    (OPERATOR, "consent_record"): "records and explains consents",
    (OPERATOR, "restriction"): "restricts and lifts; digests",
    (OPERATOR, "suppression"): "suppresses and erases; digests",
    (OPERATOR, "identifier"): "explains consents: digests and masks, without values",
    (OPERATOR, "data_request"): "receives and answers requests of people; who asks is encrypted",
    (OPERATOR, "data_request_step"): "shows what happened to a request: reasons that officers wrote",
    (OPERATOR, "identity_doubt"): "stops and starts the clock of a request",
    (OPERATOR, "request_work"): "orders what was asked for, and notes what came of it",
    (OPERATOR, "profile"): "explains consents: masks by recipient, and where the person lives",
}
MAY_READ_PEOPLE: Final = frozenset({WEB, RIGHTS, OWNER})  # the console and the answers to people themselves

TEMPORARY: Final = frozenset({OWNER, Purpose.COLLECTION.value})  # COPY goes through a temporary table


# -- the checks -----------------------------------------------------------------------------------------------------


def inspect() -> list[Check]:
    """All checks of the catalogue. Any login may call it: the catalogue is open."""
    return [_checked(name, find, all_is_well) for name, (find, all_is_well) in _CHECKS.items()]


def _checked(name: str, find: Callable[[], Iterable[str]], all_is_well: str) -> Check:
    findings = sorted(find())
    return Check(name, not findings, "; ".join(findings) or all_is_well)


_ROLES = """
SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin, rolinherit
FROM pg_roles WHERE rolname = ANY(%s)
"""


def _roles_with_power() -> Iterable[str]:
    """No role of Tessera stands above the wall, and only logins log in."""
    logins = {OWNER, *PURPOSES_BY_LOGIN}
    purposes = {purpose.value for purpose in Purpose} | DUTIES
    powers = ("SUPERUSER", "BYPASSRLS", "CREATEROLE", "CREATEDB", "REPLICATION")
    found = {name: flags for name, *flags in rows(_ROLES, [[*logins, *purposes]])}
    yield from (f"role {name} is missing" for name in (logins | purposes) - found.keys())
    for name, (*held, can_login, inherits) in found.items():
        yield from (f"{name} is {power}" for power, has in zip(powers, held, strict=True) if has)
        if can_login is not (name in logins):
            yield f"{name} {'may' if can_login else 'cannot'} log in"
        if name in logins and inherits:
            yield f"{name} is INHERIT: it would have the rights of its purposes without naming one"


# Who made a role without being superuser keeps ADMIN of it, and that alone is no way in.
_MEMBERSHIPS = """
SELECT member.rolname, granted.rolname, m.admin_option, m.inherit_option
FROM pg_auth_members m JOIN pg_roles member ON member.oid = m.member JOIN pg_roles granted ON granted.oid = m.roleid
WHERE member.rolname = ANY(%s)
OR granted.rolname = ANY(%s) AND (NOT member.rolcreaterole OR m.inherit_option OR m.set_option)
"""


def _memberships() -> Iterable[str]:
    """Each login is a member of its own purposes, and of nothing else."""
    declared = {(login, purpose.value) for login, purposes in PURPOSES_BY_LOGIN.items() for purpose in purposes}
    declared |= {(login, duty) for login, duties in DUTIES_BY_LOGIN.items() for duty in duties}
    found = set()
    for member, granted, is_admin, inherits in rows(_MEMBERSHIPS, [list(OUR_ROLES), list(OUR_ROLES)]):
        found.add((member, granted))
        if is_admin or inherits:
            yield f"{member} holds {granted} with {'ADMIN' if is_admin else 'INHERIT'}"
    yield from (f"{member} is a member of {granted}" for member, granted in found - declared)
    yield from (f"{member} is no member of {granted}" for member, granted in declared - found)


_OWNED = """
SELECT pg_get_userbyid(relowner), n.nspname || '.' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT pg_get_userbyid(proowner), n.nspname || '.' || proname || '()' FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
WHERE n.nspname = ANY(%(schemas)s)
UNION ALL
SELECT pg_get_userbyid(nspowner), 'schema ' || nspname FROM pg_namespace WHERE nspname = ANY(%(schemas)s)
"""


def _ownership() -> Iterable[str]:
    """`owner` owns everything: what a superuser owned would pass every wall, what a login owned it could change."""
    for owner, thing in rows(_OWNED, {"schemas": our_schemas()}):
        if owner != OWNER:
            yield f"{thing} belongs to {owner}"


_TABLES = """
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity,
       ARRAY(SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = c.oid AND polpermissive)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id' AND NOT a.attisdropped
WHERE n.nspname = 'core' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


def _row_security() -> Iterable[str]:
    """Every table with a workspace shows the rows of one alone, even to its owner, by one policy."""
    for table, is_forced, policies in rows(_TABLES):
        if table in TABLES_ACROSS_WORKSPACES:
            continue
        if not is_forced:
            yield f"{table} has no forced row-level security"
        elif len(policies) != 1 or "tessera.workspace" not in (policies[0] or ""):
            yield f"{table} has another policy than that of the workspace"


_PARTITIONS = """
SELECT c.relname, acl.grantee::regrole::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
     aclexplode(c.relacl) AS acl
WHERE n.nspname = 'core' AND c.relispartition AND acl.grantee <> c.relowner
"""


def _partitions() -> Iterable[str]:
    """Read by its own name a partition has no policy: nobody may."""
    for partition, role in rows(_PARTITIONS):
        yield f"{role} may reach partition {partition}"


# Grants on the table and on its columns; grantee 0 is PUBLIC.
_READERS = """
SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, relname FROM (
    SELECT c.relname, acl.grantee, acl.privilege_type FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
         aclexplode(c.relacl) AS acl WHERE n.nspname = 'core'
    UNION ALL
    SELECT c.relname, acl.grantee, acl.privilege_type FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(a.attacl) AS acl WHERE n.nspname = 'core'
) AS granted WHERE privilege_type = 'SELECT'
"""


def _readers() -> Iterable[str]:
    """Purposes see people through their views; beside them they read what is declared, and workers nothing."""
    for role, table in rows(_READERS):
        if table in PERSONAL_TABLES and role not in MAY_READ_PEOPLE and (role, table) not in READERS:
            yield f"{role} may read {CORE}.{table}"


_RELATIONS = """
SELECT n.nspname, c.relname, c.relkind::text, COALESCE(c.reloptions, '{}')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""


def _views() -> Iterable[str]:
    """Views of purposes are security barriers with the rights of `owner`; there are no others."""
    for schema, name, kind, options in rows(_RELATIONS):
        if kind != "v":
            continue
        if schema not in set(Purpose):
            yield f"view {schema}.{name} belongs to no purpose"
        if "security_barrier=true" not in options:
            yield f"view {schema}.{name} is no security barrier"
        if "security_invoker=true" in options:
            yield f"view {schema}.{name} runs with its caller's rights"


def _copies() -> Iterable[str]:
    """A materialised view or a foreign table holds people whom no withdrawal reaches."""
    names = {"m": "materialised view", "f": "foreign table"}
    return [f"{names[kind]} {schema}.{name}" for schema, name, kind, _ in rows(_RELATIONS) if kind in names]


_DEFINERS = """
SELECT n.nspname, p.proname, COALESCE(p.proconfig, '{}'), p.prorettype = 'trigger'::regtype,
       EXISTS (SELECT 1 FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) AS acl
               WHERE acl.grantee = 0 AND acl.privilege_type = 'EXECUTE')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""


def _definer_functions() -> Iterable[str]:
    """They run with the owner's rights: each is known, cannot be led astray, and is not for everybody."""
    for schema, name, configuration, is_trigger, is_public in rows(_DEFINERS):
        if schema != CORE or name not in DEFINER_FUNCTIONS:
            yield f"function {schema}.{name} is SECURITY DEFINER"
            continue
        if FIXED_PATH not in configuration:
            yield f"function {schema}.{name} has no fixed search_path"
        if is_public and not is_trigger:
            yield f"function {schema}.{name} may be called by everybody"


_CREATORS = """
SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, privilege_type, place FROM (
    SELECT acl.grantee, acl.privilege_type, 'the database' AS place FROM pg_database d,
         aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) AS acl WHERE d.datname = current_database()
    UNION ALL
    SELECT acl.grantee, acl.privilege_type, 'schema ' || n.nspname FROM pg_namespace n,
         aclexplode(COALESCE(n.nspacl, acldefault('n', n.nspowner))) AS acl WHERE n.nspname = ANY(%s)
) AS granted WHERE privilege_type IN ('CREATE', 'TEMPORARY')
"""


def _creators() -> Iterable[str]:
    """A table or view of one's own, put before the real one in the search path, could outwit the views."""
    for role, right, place in rows(_CREATORS, [[*our_schemas(), "public"]]):
        if right == "CREATE" and role not in {OWNER, "pg_database_owner"}:
            yield f"{role} may create in {place}"
        if right == "TEMPORARY" and role not in TEMPORARY:
            yield f"{role} may make temporary tables"


_CHECKS: Final[Mapping[str, tuple[Callable[[], Iterable[str]], str]]] = {
    "roles": (_roles_with_power, "no role stands above the wall"),
    "memberships": (_memberships, "every login has its own purposes alone"),
    "ownership": (_ownership, "everything belongs to owner"),
    "row_security": (_row_security, "every table shows one workspace"),
    "partitions": (_partitions, "no partition is read by its own name"),
    "readers": (_readers, "people are read through the views of a purpose"),
    "views": (_views, "every view is a barrier of its purpose"),
    "copies": (_copies, "no copy of people escapes a withdrawal"),
    "definer_functions": (_definer_functions, "every function with the owner's rights is known"),
    "creators": (_creators, "only owner makes tables, views and functions"),
    "rights": (side_doors.rights, "no right reaches past row-level security"),
    "sequences": (side_doors.sequences, "no sequence counts people"),
    "oracles": (lambda: side_doors.oracles(PERSONAL_TABLES), "no foreign key tells who exists"),
    "statistics": (side_doors.statistics, "no statistics show people"),
    "replication": (side_doors.replication, "nobody follows the changes"),
    "session_settings": (side_doors.session_settings, "every login begins without a purpose"),
    "tables": (lambda: side_doors.undeclared_tables(PERSONAL_TABLES), "every table says whether it holds people"),
    "gated_views": (side_doors.ungated_views, "every view asks for permission"),
}
