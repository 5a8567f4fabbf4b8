"""The feed of entries and exits, written by triggers with the transition itself, and whom it is pushed to.

Who changes memberships of a workspace holds its turn of the feed from before the first id until the end of the
transaction. So ids are in the order in which changes become visible, and whoever read up to one has missed none.

A change says to which purposes the person was shown in the segment before and after. What somebody permits changes in
transactions that have no turn: they leave in `permission_change` what was before, and the next evaluation of the person,
which comes of every such change, tells the difference. Until then all that is told goes by what was before.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import RETENTION, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import erasure_rule, grant, purpose_view, row_security

READ_FOR = (Purpose.SEGMENTATION, Purpose.ADVERTISING, Purpose.ANALYTICS)
BITS = sum(purpose.bit for purpose in READ_FOR)

CAUSES = [
    ("EVENT", "an event or record arrived"),
    ("LEARNT", "an identifier, a link or a value became known"),
    ("MERGE", "profiles were merged"),
    ("SPLIT", "a merge was undone"),
    ("CONSENT", "a consent changed"),
    ("DEFINITION", "the definition changed"),
    ("LIST", "somebody was put on a list, or taken off"),
    ("RANK", "a ranking was computed anew"),
    ("REFERENCE", "membership of another segment changed"),
    ("DEADLINE", "time passed"),
]

ID = "ALTER TABLE core.membership_change ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY"

TURN = "pg_advisory_xact_lock(hashtext('membership_change'), {workspace}::integer)"

# What was told of a person so far goes by what they permitted then.
TOLD = f"""
COALESCE(
    (SELECT q.before FROM permission_change q WHERE q.profile_id = c.profile_id ORDER BY q.id LIMIT 1),
    (SELECT (p.permitted & {BITS})::smallint FROM profile p WHERE p.id = c.profile_id),
    0::smallint
)
"""  # noqa: S608  # text of our own
COLUMNS = "workspace_id, segment_id, profile_id, told_before, told_after, at, cause, recorded_at"

DEFINER = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp"

FEED = f"""
CREATE FUNCTION core.memberships_came() RETURNS trigger {DEFINER} AS $$
BEGIN
    PERFORM {TURN.format(workspace="workspace_id")} FROM (SELECT workspace_id FROM came LIMIT 1) AS one;
    INSERT INTO membership_change ({COLUMNS})
    SELECT c.workspace_id, c.segment_id, c.profile_id, 0, {TOLD}, c.entered_at, c.entered_cause, clock_timestamp()
    FROM came c WHERE c.left_at IS NULL ORDER BY c.entered_at;
    RETURN NULL;
END $$;

-- A membership ends, or one that a merge had ended is given back.
CREATE FUNCTION core.memberships_changed() RETURNS trigger {DEFINER} AS $$
BEGIN
    PERFORM {TURN.format(workspace="workspace_id")} FROM (SELECT workspace_id FROM is_now LIMIT 1) AS one;
    INSERT INTO membership_change ({COLUMNS})
    SELECT c.workspace_id, c.segment_id, c.profile_id,
           CASE WHEN has_left THEN told ELSE 0 END, CASE WHEN has_left THEN 0 ELSE told END,
           CASE WHEN has_left THEN c.left_at ELSE c.entered_at END, CASE WHEN has_left THEN c.left_cause ELSE 'SPLIT' END,
           clock_timestamp()
    FROM is_now c JOIN was w ON w.id = c.id CROSS JOIN LATERAL (
        SELECT c.left_at IS NOT NULL AS has_left, {TOLD} AS told
    ) AS change
    WHERE (c.left_at IS NULL) <> (w.left_at IS NULL) ORDER BY c.left_at;
    RETURN NULL;
END $$;

-- Who is erased leaves everything. With a closed workspace all goes, and nobody is told.
CREATE FUNCTION core.memberships_went() RETURNS trigger {DEFINER} AS $$
BEGIN
    PERFORM {TURN.format(workspace="workspace_id")} FROM (SELECT workspace_id FROM gone LIMIT 1) AS one;
    INSERT INTO membership_change ({COLUMNS})
    SELECT c.workspace_id, c.segment_id, c.profile_id, {TOLD}, 0, clock_timestamp(), 'CONSENT', clock_timestamp()
    FROM gone c JOIN workspace w ON w.id = c.workspace_id WHERE c.left_at IS NULL AND w.closed_at IS NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER memberships_came AFTER INSERT ON core.membership
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION core.memberships_came();
CREATE TRIGGER memberships_changed AFTER UPDATE ON core.membership
    REFERENCING OLD TABLE AS was NEW TABLE AS is_now FOR EACH STATEMENT EXECUTE FUNCTION core.memberships_changed();
CREATE TRIGGER memberships_went AFTER DELETE ON core.membership
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION core.memberships_went();

CREATE FUNCTION core.profiles_permit_otherwise() RETURNS trigger {DEFINER} AS $$
BEGIN
    INSERT INTO permission_change (workspace_id, profile_id, before)
    SELECT w.workspace_id, w.id, w.permitted & {BITS} FROM was w JOIN is_now n ON n.id = w.id
    WHERE (w.permitted # n.permitted) & {BITS} <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER profiles_permit_otherwise AFTER UPDATE ON core.profile
    REFERENCING OLD TABLE AS was NEW TABLE AS is_now FOR EACH STATEMENT EXECUTE FUNCTION core.profiles_permit_otherwise();

CREATE FUNCTION core.tell_permissions(profiles bigint[], moment timestamptz) RETURNS void {DEFINER} AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM permission_change) THEN
        RETURN;
    END IF;
    WITH taken AS (DELETE FROM permission_change WHERE profile_id = ANY(profiles) RETURNING id, profile_id, before),
    told AS (SELECT DISTINCT ON (profile_id) profile_id, before FROM taken ORDER BY profile_id, id)
    INSERT INTO membership_change ({COLUMNS})
    SELECT m.workspace_id, m.segment_id, m.profile_id, t.before, p.permitted & {BITS}, moment, 'CONSENT', clock_timestamp()
    FROM told t JOIN profile p ON p.id = t.profile_id
    JOIN membership m ON m.profile_id = t.profile_id AND m.left_at IS NULL
    WHERE t.before <> p.permitted & {BITS};
END $$;
REVOKE ALL ON FUNCTION core.tell_permissions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.tell_permissions TO {Purpose.SEGMENTATION};
"""  # noqa: S608  # text of our own
NO_FEED = """
DROP FUNCTION core.tell_permissions;
DROP TRIGGER profiles_permit_otherwise ON core.profile;
DROP TRIGGER memberships_went ON core.membership;
DROP TRIGGER memberships_changed ON core.membership;
DROP TRIGGER memberships_came ON core.membership;
DROP FUNCTION core.profiles_permit_otherwise, core.memberships_went, core.memberships_changed, core.memberships_came;
"""


def feed_for(purpose: Purpose) -> str:
    """Entries of whom the purpose may see now, and all exits that it is to hear of; of whom it may not see, the id alone."""
    was, is_now = f"c.told_before & {purpose.bit} <> 0", f"c.told_after & {purpose.bit} <> 0"
    return f"""
    SELECT c.id, c.workspace_id, c.segment_id, c.profile_id, {is_now} AS is_entry,
           CASE WHEN p.id IS NOT NULL THEN c.at END AS at, CASE WHEN p.id IS NOT NULL THEN c.cause END AS cause,
           c.recorded_at, ({was}) <> ({is_now}) AND (p.id IS NOT NULL OR {was}) AS is_told
    FROM core.membership_change c
    LEFT JOIN core.profile p ON p.id = c.profile_id AND p.merged_into_id IS NULL AND {{permitted:p}}
    """  # noqa: S608  # text of our own


# Its place is before that of memberships: whoever was told of the person hears that they left, by an id of nobody.
ERASED = f"""
WITH turn AS MATERIALIZED (SELECT {TURN.format(workspace="$5")})
DELETE FROM membership_change USING turn WHERE profile_id = ANY($1 || $2)
"""  # noqa: S608  # text of our own


class Migration(migrations.Migration):
    dependencies = [("segments", "0010_backfill"), ("consent", "0022_consents_end"), ("cdp", "0024_file_scope")]

    operations = [
        migrations.CreateModel(
            name="MembershipChange",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "workspace_id", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("id", models.BigIntegerField()),
                ("segment_id", models.BigIntegerField()),
                ("profile_id", models.BigIntegerField()),
                ("told_before", models.SmallIntegerField()),
                ("told_after", models.SmallIntegerField()),
                ("at", models.DateTimeField()),
                ("cause", models.CharField(choices=CAUSES, max_length=12)),
                ("recorded_at", models.DateTimeField()),
                (
                    "workspace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="cdp.workspace",
                    ),
                ),
            ],
            options={"db_table": "membership_change"},
        ),
        migrations.CreateModel(
            name="PermissionChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("profile_id", models.BigIntegerField()),
                ("before", models.SmallIntegerField()),
                (
                    "workspace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="cdp.workspace",
                    ),
                ),
            ],
            options={
                "db_table": "permission_change",
                "indexes": [models.Index(fields=["profile_id"], name="permission_change_by_profile")],
            },
        ),
        migrations.CreateModel(
            name="SegmentWebhook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("url", models.CharField(max_length=2000, verbose_name="address")),
                (
                    "purpose",
                    models.CharField(
                        choices=[(p.value, p.value) for p in Purpose], max_length=20, verbose_name="purpose"
                    ),
                ),
                (
                    "segments",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.SlugField(),
                        blank=True,
                        default=list,
                        size=None,
                        verbose_name="segments",
                    ),
                ),
                ("secret", models.BinaryField(help_text="under FIELD_ENCRYPTION_KEYS")),
                ("position", models.BigIntegerField(default=0)),
                ("position_at", models.DateTimeField()),
                ("sending_to", models.BigIntegerField(null=True)),
                (
                    "due_at",
                    models.DateTimeField(help_text="of the next attempt; also the lease of one that is under way"),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("failing_since", models.DateTimeField(null=True, verbose_name="failing since")),
                (
                    "error",
                    models.CharField(
                        blank=True, help_text="code of the last failure", max_length=100, verbose_name="error"
                    ),
                ),
                ("delivered_at", models.DateTimeField(null=True, verbose_name="delivered at")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("disabled_at", models.DateTimeField(null=True, verbose_name="disabled at")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "webhook of segments",
                "verbose_name_plural": "webhooks of segments",
                "db_table": "segment_webhook",
                "indexes": [
                    models.Index(
                        condition=models.Q(("disabled_at", None)),
                        fields=["workspace", "due_at"],
                        name="segment_webhook_due",
                    )
                ],
            },
        ),
        migrations.RunSQL(ID, migrations.RunSQL.noop),
        row_security("membership_change", "permission_change", "segment_webhook"),
        migrations.RunSQL(FEED, NO_FEED),
        *(purpose_view(purpose, "membership_change", feed_for(purpose)) for purpose in READ_FOR),
        grant("SELECT (id, workspace_id, recorded_at), DELETE", "membership_change", to=RETENTION),
        grant("SELECT, INSERT, UPDATE, DELETE", "segment_webhook", to=WEB),
        # Whether anything happened since; what it was is read under the purpose of the webhook.
        grant("SELECT (id, workspace_id)", "membership_change", to=WEB),
        erasure_rule("membership_change", ERASED, place=4),
        erasure_rule("permission_change", "DELETE FROM permission_change WHERE profile_id = ANY($1 || $2)", place=60),
    ]
