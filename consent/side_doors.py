"""Ways to learn of people without reading a table: each check names what it finds, and `catalogue` runs them all.

A right that reaches past row-level security, a sequence that counts people, a foreign key that answers whether somebody
exists, the planner's statistics, a stream of changes, a setting that takes effect at login, a table nobody declared.
"""

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from cdp.kernel.logins import OWNER, RIGHTS, WEB
from cdp.kernel.purposes import Purpose
from consent.pg_catalogue import OUR_ROLES, PURPOSE_ROLES, our_schemas, rows

# -- rights that no wall stops ----------------------------------------------------------------------------------------

_BEYOND = """
SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, privilege_type, n.nspname || '.' || relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS acl
WHERE n.nspname = ANY(%s) AND c.relkind <> 'S' AND acl.grantee <> c.relowner
AND privilege_type IN ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
"""
_DEFAULTS = """
SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, privilege_type
FROM pg_default_acl d, aclexplode(d.defaclacl) AS acl
WHERE d.defaclobjtype IN ('r', 'S') AND acl.grantee <> d.defaclrole AND pg_get_userbyid(d.defaclrole) = ANY(%s)
"""


def rights() -> Iterable[str]:
    """TRUNCATE and REFERENCES know no policy, TRIGGER runs code on every row, defaults grant what nobody has written."""
    for role, right, table in rows(_BEYOND, [our_schemas()]):
        yield f"{role} has {right} on {table}"
    for role, right in rows(_DEFAULTS, [list(OUR_ROLES)]):
        yield f"{role} would get {right} on every new table"


_SEQUENCES = """
SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, n.nspname || '.' || relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS acl
WHERE n.nspname = ANY(%s) AND c.relkind = 'S' AND acl.grantee <> c.relowner
"""


def sequences() -> Iterable[str]:
    """`last_value` counts the people of all workspaces. Identity columns need no right of their own."""
    for role, sequence in rows(_SEQUENCES, [our_schemas()]):
        yield f"{role} may read {sequence}"


# -- foreign keys -----------------------------------------------------------------------------------------------------

# A foreign key says of a number whether it was given to somebody, in whatever workspace. Tests show that it says no more,
# and that each of these roles reads the same numbers elsewhere.
_FOUNDS_A_PROFILE = "reads the id of every profile, and each identifier founds one with its own id"
_WAITS_IN_THE_OUTBOX = "reads the outbox, which names by its id whoever came, whatever they permit"
ORACLES: Final[Mapping[tuple[str, str, str], str]] = {
    (Purpose.ENRICHMENT, "lookup", "identifier"): _WAITS_IN_THE_OUTBOX,
    (Purpose.ENRICHMENT, "identifier_trait", "identifier"): _WAITS_IN_THE_OUTBOX,
    (Purpose.ENRICHMENT, "trait", "identifier"): _WAITS_IN_THE_OUTBOX,
    (Purpose.IDENTITY, "judgement", "identifier"): _FOUNDS_A_PROFILE,
    (Purpose.IDENTITY, "review_pair", "identifier"): _FOUNDS_A_PROFILE,
    (Purpose.IDENTITY, "trait", "identifier"): _FOUNDS_A_PROFILE,
}

# Who writes a table, itself or through a view of its purpose, and whether the key it points to may be read unfiltered. A
# view that checks what is written by this key refuses before the foreign key is asked, whether somebody exists or not.
_PROBES = r"""
WITH writer AS (
    SELECT DISTINCT acl.grantee, target.oid AS child,
           CASE WHEN 'check_option=cascaded' = ANY(c.reloptions) THEN pg_get_viewdef(c.oid) ELSE '' END AS checks
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS acl,
         pg_class target JOIN pg_namespace core ON core.oid = target.relnamespace AND core.nspname = 'core'
    WHERE n.nspname = ANY(%(schemas)s) AND acl.privilege_type = 'INSERT' AND target.relname = c.relname
    AND target.relkind IN ('r', 'p') AND acl.grantee <> target.relowner
)
SELECT DISTINCT CASE w.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(w.grantee) END, child.relname, parent.relname
FROM writer w
JOIN pg_constraint con ON con.contype = 'f' AND con.conrelid = w.child
JOIN pg_class child ON child.oid = con.conrelid JOIN pg_class parent ON parent.oid = con.confrelid
WHERE parent.relname = ANY(%(people)s)
AND (w.grantee = 0 OR NOT has_column_privilege(w.grantee, parent.oid, con.confkey[1], 'SELECT'))
AND w.checks !~ (
    'FROM (?:core\.)?' || parent.relname || ' (\w+)\s+WHERE \(+\1\.id = \w+\.'
    || (SELECT attname FROM pg_attribute WHERE attrelid = child.oid AND attnum = con.conkey[1]) || '\)'
)
"""


def oracles(people: AbstractSet[str]) -> Iterable[str]:
    """The check of a foreign key sees every row: it would tell a writer whether somebody whom it may not see exists."""
    for role, child, parent in rows(_PROBES, {"schemas": our_schemas(), "people": sorted(people)}):
        if role not in {WEB, RIGHTS, OWNER} and (role, child, parent) not in ORACLES:
            yield f"{role} may probe core.{parent} by writing core.{child}"


# -- statistics -------------------------------------------------------------------------------------------------------

_STATISTICS = """
SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, relname
FROM pg_class c, aclexplode(c.relacl) AS acl
WHERE c.oid IN ('pg_statistic'::regclass, 'pg_statistic_ext_data'::regclass) AND acl.grantee <> c.relowner
"""
_PARTITION_KEYS = """
SELECT c.relname, a.attname FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(p.partattrs)
WHERE n.nspname = 'core'
AND (p.partstrat <> 'r' OR a.atttypid IS NULL OR a.atttypid NOT IN ('timestamptz'::regtype, 'date'::regtype))
"""


def statistics() -> Iterable[str]:
    """`pg_stats` hides what a login may not read; the tables below it hide nothing.

    Sizes (`reltuples`) are open to all, so a table is divided by time alone: a partition for each country, workspace or
    person would say how many there are.
    """
    for role, table in rows(_STATISTICS):
        yield f"{role} may read {table}: samples of every column"
    for table, key in rows(_PARTITION_KEYS):
        yield f"{table} is partitioned by {key or 'an expression'}: the sizes of its partitions are open to all"


# -- streams of changes -----------------------------------------------------------------------------------------------

_SLOTS = """
SELECT slot_name FROM pg_replication_slots
WHERE slot_type = 'logical' AND database = current_database() OR NOT active
"""


def replication() -> Iterable[str]:
    """A subscriber has a copy that no withdrawal reaches; a slot that nobody reads keeps what was erased."""
    yield from (f"publication {name}" for (name,) in rows("SELECT pubname FROM pg_publication"))
    yield from (f"replication slot {name}" for (name,) in rows(_SLOTS))


# -- settings ---------------------------------------------------------------------------------------------------------

_SETTINGS = """
SELECT COALESCE(NULLIF(s.setrole, 0)::regrole::text, 'the database'), unnest(s.setconfig)
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
AND (s.setrole = 0 OR r.rolname = ANY(%s))
"""
_DANGEROUS: Final = frozenset(
    {"role", "search_path", "row_security", "session_replication_role", "tessera.workspace", "local_preload_libraries"}
)
_HARMLESS: Final = ("the database", "search_path=core")


def session_settings() -> Iterable[str]:
    """A login that begins with a role, a workspace or another search path has taken up a purpose that it never named."""
    for role, setting in rows(_SETTINGS, [list(OUR_ROLES)]):
        if setting.partition("=")[0] in _DANGEROUS and (role, setting) != _HARMLESS:
            yield f"{role} begins with {setting}"


# -- what nobody declared ---------------------------------------------------------------------------------------------

_MACHINERY = "of Django: the staff's accounts, rights and sessions"
_CONFIGURATION = "what the workspace configured"
_WORK = "ids, states and times of work"
IMPERSONAL_TABLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("auth_group", "auth_group_permissions", "auth_permission", "auth_user_groups"), _MACHINERY),
    **dict.fromkeys(("auth_user", "auth_user_user_permissions", "django_content_type", "django_session"), _MACHINERY),
    **dict.fromkeys(("django_migrations", "django_admin_log", "member"), _MACHINERY),
    **dict.fromkeys(("api_key", "write_key", "workspace", "source", "connection", "destination"), _CONFIGURATION),
    **dict.fromkeys(
        (
            "audience",
            "segment",
            "segment_version",
            "segment_list",
            "computed_trait",
            "computed_trait_version",
            "segment_webhook",
            "identity_rules",
            "survivorship_rule",
            "review_rules",
            "purpose",
            "notice",
        ),
        _CONFIGURATION,
    ),
    **dict.fromkeys(("kpi", "kpi_version", "kpi_watch"), _CONFIGURATION),
    **dict.fromkeys(("kpi_value", "kpi_alert"), "counts and sums over several people"),
    **dict.fromkeys(("tracking_plan_version", "quality_thresholds", "correction", "mapping_text"), _CONFIGURATION),
    **dict.fromkeys(("controller_details", "retention_period", "dsr_controller"), _CONFIGURATION),
    **dict.fromkeys(("dsr_request", "dsr_callback"), "numbers, states and times; who asks lies in `data_request`"),
    **dict.fromkeys(("signal_mapping", "purpose_rule", "consent_settings", "erasure_rule"), _CONFIGURATION),
    **dict.fromkeys(("breach", "retention_evidence"), "facts and numbers, of nobody in particular"),
    **dict.fromkeys(("erasure", "erasure_mark", "suppressed_day"), "how many and when, of nobody who could be named"),
    "erasure_order": "which destination was told to remove somebody: the id of a profile that is no more",
    "erasure_attempt": "when a destination was told of an erasure, and what it answered",
    **dict.fromkeys(("signing_key", "verification_code", "data_package"), "keys, digests of codes and counts"),
    "consent_link": "hashes of the ledger",
    "consent_string": "hashes of consent strings, and what they said of a vendor",
    **dict.fromkeys(("deadline", "lookup", "outbox", "run", "sync_run", "upload"), _WORK),
    **dict.fromkeys(("backfill", "backfill_touch", "staged_answer"), _WORK),
    **dict.fromkeys(
        ("learned_model", "linkage_model", "model_activation"), "what was learned of many: weights and groups"
    ),
    "rank_threshold": "the number at which a ranking ends, and the id of the last one inside",
    "blocking_index": "which model the hashes of records were made for",
    **dict.fromkeys(("columnar_copy", "columnar_file"), "which files the copy of the events has, and how far it goes"),
    "stale_event": "ids of events, which lead to nobody",
    **dict.fromkeys(("plan_violation", "quality_report"), "counts and shapes of what arrived"),
}

_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


def undeclared_tables(people: AbstractSet[str]) -> Iterable[str]:
    """Whoever makes a table says whether it holds people: only then the other checks know what to look for."""
    for (table,) in rows(_TABLES, [our_schemas()]):
        if table not in people and table not in IMPERSONAL_TABLES:
            yield f"table {table} is declared neither in PERSONAL_TABLES nor in IMPERSONAL_TABLES"


_VIEWS = "SELECT schemaname, viewname, definition FROM pg_views WHERE schemaname = ANY(%s)"


def ungated_views() -> Iterable[str]:
    """Each view of a purpose asks for its bit and for the time until which it was given."""
    for schema, name, definition in rows(_VIEWS, [list(PURPOSE_ROLES)]):
        has_bit = re.search(rf"permitted\)+::integer & {Purpose(schema).bit}\)", definition)
        if not has_bit or "permitted_until > now()" not in definition:
            yield f"view {schema}.{name} shows people who do not permit it"
