"""Who may touch which table: operations for migrations. The wall of promise 2 is built from these four bricks.

`row_security` keeps workspaces apart, `grant` gives a login or a purpose the tables that it writes,
`purpose_view` shows a purpose the people who permit it, and `append_only` keeps ledgers as they are.
"""

from django.db.migrations import RunSQL

from cdp.kernel.purposes import Purpose

CURRENT_WORKSPACE = "(SELECT NULLIF(current_setting('tessera.workspace', true), '')::bigint)"


def row_security(*tables: str, column: str = "workspace_id") -> RunSQL:
    """Rows of other workspaces do not exist, for the owner neither; without a workspace there are none at all."""
    statements = [
        f"ALTER TABLE core.{table} ENABLE ROW LEVEL SECURITY; ALTER TABLE core.{table} FORCE ROW LEVEL SECURITY;"
        f" CREATE POLICY workspace ON core.{table} USING ({column} = {CURRENT_WORKSPACE});"
        for table in tables
    ]
    return RunSQL("\n".join(statements), RunSQL.noop)


def grant(rights: str, *tables: str, to: str) -> RunSQL:
    """`rights` as in GRANT, with columns if need be: "SELECT (id, profile_id), INSERT". Sequences come with INSERT."""
    statements = [f"GRANT USAGE ON SCHEMA core TO {to};"]
    statements += [f"GRANT {rights} ON core.{table} TO {to};" for table in tables]
    return RunSQL("\n".join(statements), RunSQL.noop)


def purpose_view(purpose: Purpose, name: str, query: str, rights: str = "SELECT") -> RunSQL:
    """A view of the schema of `purpose`. `query` may say {permitted:ALIAS} for the test on identifier or profile, and
    {permitted:ALIAS:EXPRESSION} for the test on a profile of what is sent to one recipient.

    The view belongs to `owner` and is a security barrier: no condition of a caller runs on a row before the gate.
    """
    return RunSQL(
        f"CREATE VIEW {purpose}.{name} WITH (security_barrier) AS {with_gate(query, purpose)};"
        f"GRANT {rights} ON {purpose}.{name} TO {purpose};",
        f"DROP VIEW {purpose}.{name};",
    )


def append_only(*tables: str) -> RunSQL:
    """Rows are added and never changed, whoever asks; only those of a closed workspace may go."""
    statements = [
        f"CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE ON core.{table}"
        f" FOR EACH ROW EXECUTE FUNCTION core.refuse_change();"
        f" CREATE TRIGGER {table}_is_never_emptied BEFORE TRUNCATE ON core.{table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION core.refuse_change();"
        for table in tables
    ]
    return RunSQL("\n".join(statements), RunSQL.noop)


def erasure_rule(table: str, statement: str, *, place: int = 50) -> RunSQL:
    """What the erasure of a person does with `table`: one statement, with the parameters of consent/migrations/0009.

    Rules are followed in the order of their places; the identifiers, to which the others lead, go last.
    """
    return RunSQL(
        [
            (
                "INSERT INTO core.erasure_rule (table_name, place, statement) VALUES (%s, %s, %s)",
                [table, place, statement],
            )
        ],
        [("DELETE FROM core.erasure_rule WHERE table_name = %s", [table])],
    )


def with_gate(query: str, purpose: Purpose) -> str:
    """Replace every {permitted:…}. Past `permitted_until` nothing is permitted: late means closed."""
    head, *rest = query.split("{permitted:")
    for part in rest:
        subject, _, tail = part.partition("}")
        alias, _, recipient = subject.partition(":")
        head += f"({_mask(alias, recipient)} & {purpose.bit}) <> 0"
        head += f" AND ({alias}.permitted_until IS NULL OR {alias}.permitted_until > now())" + tail
    return head


def _mask(alias: str, recipient: str) -> str:
    """Of whoever named a recipient that one's, or that of all who were not named; else the one that holds for all."""
    if not recipient:
        return f"{alias}.permitted"
    masks = f"{alias}.permitted_by_recipient"
    return f"COALESCE(({masks} ->> {recipient})::smallint, ({masks} ->> '')::smallint, {alias}.permitted)"
