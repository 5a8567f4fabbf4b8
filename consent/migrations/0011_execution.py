"""Requests of people are carried out, and who was erased is kept for the destinations until they have answered.

The trigger that holds the life of a request asks for the work: nothing is completed that is not done.
"""

import uuid

import django.contrib.postgres.functions
import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, RIGHTS, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security

# Both functions are changed where they stand, so that this does not undo what another migration did to them.
CHANGE = """
DO $do$
DECLARE
    does text := pg_get_functiondef('{function}'::regprocedure);
    change text[];
BEGIN
    FOREACH change SLICE 1 IN ARRAY ARRAY[{changes}] LOOP
        IF (length(does) - length(replace(does, change[1], ''))) / length(change[1]) <> 1 THEN
            RAISE EXCEPTION '{function} does not read as expected: %', change[1];
        END IF;
        does := replace(does, change[1], change[2]);
    END LOOP;
    EXECUTE does;
END $do$;
"""

DONE_FIRST = CHANGE.format(
    function="core.data_request_changes()",
    changes="""
        ['    IF NEW.state <> OLD.state AND NEW.step = OLD.step THEN',
$sql$    IF NEW.state = 'COMPLETED' AND OLD.state <> 'COMPLETED'
       AND NOT EXISTS (SELECT FROM request_work WHERE request_id = NEW.id AND done_at IS NOT NULL)
       AND NOT EXISTS (SELECT FROM data_package WHERE request_id = NEW.id AND built_at IS NOT NULL) THEN
        RAISE EXCEPTION 'what was asked for is not done' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state IN ('REFUSED', 'DUPLICATE', 'TAKEN_BACK')
       AND EXISTS (SELECT FROM request_work WHERE request_id = NEW.id AND done_at IS NOT NULL) THEN
        RAISE EXCEPTION 'what was asked for is done' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state <> OLD.state AND NEW.step = OLD.step THEN$sql$]""",
)

# Erases as before, and returns besides which destinations must be told of whom: all identifiers of the person, or those
# of the types that the audiences of the destination send.
ERASE_AND_NAME = CHANGE.format(
    function="core.erase_person(bigint,text[],bigint)",
    changes="""
        ['core.erase_person(', 'core.erase_and_name('],
        ['    addresses text;', $sql$    addresses text;
    names jsonb;$sql$],
        [$sql$    PERFORM set_config('tessera.erasing', 'yes', true);$sql$,
$sql$    INSERT INTO erasure_order (workspace_id, erasure_id, destination_id, destination, profile_id, answer)
    SELECT here, certificate, id, slug, person, 'PENDING' FROM destination
    WHERE workspace_id = here AND erases = 'EVERYBODY'
    ON CONFLICT DO NOTHING;
    SELECT COALESCE(jsonb_agg(jsonb_build_array(type, value) ORDER BY id), '[]') INTO names
    FROM identifier WHERE id = ANY(atoms);

    PERFORM set_config('tessera.erasing', 'yes', true);$sql$],
        ['    RETURN counts;', $sql$    RETURN jsonb_build_object('rows', counts, 'orders', (
        SELECT COALESCE(jsonb_agg(jsonb_build_object(
            'id', o.id, 'is_told_all', d.erases = 'EVERYBODY', 'identifiers', (
                SELECT COALESCE(jsonb_agg(name), '[]') FROM jsonb_array_elements(names) AS name
                WHERE d.erases = 'EVERYBODY' OR EXISTS (
                    SELECT FROM audience a WHERE a.destination_id = d.id AND name ->> 0 = ANY(a.identifier_types)
                )
            )
        )), '[]')
        FROM erasure_order o JOIN destination d ON d.id = o.destination_id
        WHERE o.erasure_id = certificate AND o.profile_id = person AND d.erases <> 'NOBODY'
    ));$sql$]""",
)

# Whoever no longer permits advertising (bit 32) is told to the audiences at once, and not after what waits for the segments.
AT_ONCE = CHANGE.format(
    function="core.refresh_permissions(bigint[],boolean)",
    changes="""
        ['        RETURNING p.workspace_id, p.id,', '        RETURNING p.workspace_id, p.id, old.permitted & ~new.permitted AS lost,'],
        [$sql$'CONSENT' FROM on_profiles WHERE tells;$sql$, $sql$'CONSENT' FROM on_profiles WHERE tells
    UNION ALL SELECT workspace_id, 'ACTIVATION', id, 'CONSENT' FROM on_profiles WHERE tells AND lost & 32 <> 0;$sql$]""",
)

# For processes of the former version: they erase as well, and only the removal from audiences is told.
FORMER = """
REVOKE ALL ON FUNCTION core.erase_and_name FROM PUBLIC;
CREATE OR REPLACE FUNCTION core.erase_person(person bigint, named text[], certificate bigint) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = core, pg_temp
AS $$ SELECT core.erase_and_name(person, named, certificate) -> 'rows' $$;
"""

ASKED_BY = (WEB, OPERATOR, RIGHTS)


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0015_rights_scopes"),
        ("consent", "0010_register"),
        ("activation", "0005_erasing"),
    ]

    operations = [
        migrations.CreateModel(
            name="ErasureSubject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifiers", models.BinaryField(help_text="as JSON under FIELD_ENCRYPTION_KEYS")),
            ],
            options={
                "db_table": "erasure_subject",
            },
        ),
        migrations.CreateModel(
            name="RequestWork",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("ACCESS", "access (Art. 15)"),
                            ("RECTIFICATION", "rectification (Art. 16)"),
                            ("ERASURE", "erasure (Art. 17)"),
                            ("RESTRICTION", "restriction (Art. 18)"),
                            ("PORTABILITY", "portability (Art. 20)"),
                            ("OBJECTION", "objection (Art. 21)"),
                            ("HUMAN_REVIEW", "review by a human (Art. 22)"),
                            ("WITHDRAWAL", "withdrawal of consent (Art. 7(3))"),
                        ],
                        help_text="of the request",
                        max_length=20,
                    ),
                ),
                ("is_by_hand", models.BooleanField(default=False, verbose_name="by hand")),
                (
                    "outcome",
                    models.TextField(blank=True, default="", help_text="of work by hand", verbose_name="outcome"),
                ),
                (
                    "counts",
                    models.JSONField(
                        default=dict,
                        help_text="what → how often: ids and names of ours, no values",
                        verbose_name="done",
                    ),
                ),
                ("failures", models.PositiveIntegerField(db_default=0, default=0, verbose_name="failures")),
                (
                    "error",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="class of the last failure",
                        max_length=100,
                        verbose_name="error",
                    ),
                ),
                ("ordered_at", models.DateTimeField(verbose_name="ordered at")),
                ("due_at", models.DateTimeField(help_text="when the next try may be made")),
                ("claimed_until", models.DateTimeField(help_text="a worker is at it", null=True)),
                ("done_at", models.DateTimeField(null=True, verbose_name="done at")),
            ],
            options={
                "verbose_name": "work on a request",
                "verbose_name_plural": "work on requests",
                "db_table": "request_work",
            },
        ),
        migrations.RemoveConstraint(
            model_name="erasureorder",
            name="erasure_order_is_unique",
        ),
        migrations.AddField(
            model_name="datarequest",
            name="details",
            field=models.BinaryField(help_text="which purposes or values it is about, likewise encrypted", null=True),
        ),
        migrations.AddField(
            model_name="datarequest",
            name="locale",
            field=models.CharField(
                choices=[("en", "English"), ("fr", "French")],
                db_default="en",
                default="en",
                max_length=2,
                verbose_name="language of the person",
            ),
        ),
        migrations.AddField(
            model_name="erasureorder",
            name="code",
            field=models.CharField(blank=True, db_default="", default="", max_length=64, verbose_name="code"),
        ),
        migrations.AddField(
            model_name="erasureorder",
            name="due_at",
            field=models.DateTimeField(
                help_text="when it may be told again; also the lease of a try under way", null=True
            ),
        ),
        migrations.AddField(
            model_name="erasureorder",
            name="promised_at",
            field=models.DateTimeField(help_text="it took the notice and answers later", null=True),
        ),
        migrations.AddField(
            model_name="erasureorder",
            name="reference",
            field=models.UUIDField(
                db_default=django.contrib.postgres.functions.RandomUUID(),
                default=uuid.uuid4,
                help_text="by which the destination knows it",
            ),
        ),
        migrations.AddField(
            model_name="erasureorder",
            name="tries",
            field=models.PositiveSmallIntegerField(db_default=0, default=0, verbose_name="tries"),
        ),
        migrations.AddConstraint(
            model_name="erasureorder",
            constraint=models.UniqueConstraint(
                fields=("erasure", "destination_id", "profile_id"), name="erasure_order_is_unique"
            ),
        ),
        migrations.AddField(
            model_name="erasuresubject",
            name="order",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="subject", to="consent.erasureorder"
            ),
        ),
        migrations.AddField(
            model_name="erasuresubject",
            name="workspace",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
        ),
        migrations.AddField(
            model_name="requestwork",
            name="erasure",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, to="consent.erasure", verbose_name="erasure"
            ),
        ),
        migrations.AddField(
            model_name="requestwork",
            name="request",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="work", to="consent.datarequest"
            ),
        ),
        migrations.AddField(
            model_name="requestwork",
            name="workspace",
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
        ),
        migrations.AddIndex(
            model_name="requestwork",
            index=models.Index(
                condition=models.Q(("done_at", None), ("is_by_hand", False)),
                fields=["workspace", "due_at"],
                name="request_work_waiting",
            ),
        ),
        migrations.AddConstraint(
            model_name="requestwork",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("done_at", None),
                    models.Q(("kind", "ERASURE"), _negated=True),
                    ("erasure__isnull", False),
                    _connector="OR",
                ),
                name="request_work_erasure_has_its_certificate",
            ),
        ),
        migrations.AddConstraint(
            model_name="requestwork",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_by_hand", False), ("done_at", None), models.Q(("outcome", ""), _negated=True), _connector="OR"
                ),
                name="request_work_by_hand_has_an_outcome",
            ),
        ),
        migrations.AddConstraint(
            model_name="requestwork",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_by_hand", True), models.Q(("kind", "HUMAN_REVIEW"), _negated=True), _connector="OR"
                ),
                name="request_work_of_a_human_is_by_hand",
            ),
        ),
        migrations.AddConstraint(
            model_name="requestwork",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_by_hand", False), ("kind__in", ["HUMAN_REVIEW", "RECTIFICATION"]), _connector="OR"
                ),
                name="request_work_of_a_machine_is_not_by_hand",
            ),
        ),
        migrations.RunSQL(AT_ONCE, migrations.RunSQL.noop),
        migrations.RunSQL(DONE_FIRST, migrations.RunSQL.noop),
        migrations.RunSQL(ERASE_AND_NAME, migrations.RunSQL.noop),
        migrations.RunSQL(FORMER, migrations.RunSQL.noop),
        row_security("request_work", "erasure_subject"),
        grant("SELECT, INSERT, UPDATE (due_at, outcome, done_at)", "request_work", to=WEB),
        grant(
            "SELECT, UPDATE (counts, erasure_id, failures, error, due_at, claimed_until, done_at)",
            "request_work",
            to=RIGHTS,
        ),
        *(grant("INSERT, SELECT (id)", "erasure_subject", to=login) for login in ASKED_BY),
        grant("SELECT, DELETE", "erasure_subject", to=Purpose.ADVERTISING),
        grant("UPDATE (code, tries, due_at, promised_at)", "erasure_order", to=Purpose.ADVERTISING),
        *(
            migrations.RunSQL(f"GRANT EXECUTE ON FUNCTION core.erase_and_name TO {login}", migrations.RunSQL.noop)
            for login in ASKED_BY
        ),
        # What the worker of people's rights writes besides: the ledger, corrected values, and their source.
        grant("INSERT", "consent_record", "source", to=RIGHTS),
        grant("INSERT, UPDATE", "identifier_trait", to=RIGHTS),
    ]
