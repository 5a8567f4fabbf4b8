"""Some purposes are judged device by device: cookies are agreed to in a browser, and for that browser.

A yes holds on the device where it was said and nowhere else, however many identifiers are merged with it. So what an
identifier of a device permits follows from its own rows alone. What belongs to no single device, which is the profile and
all its other identifiers, is permitted where every device permits it: then no view of a profile shows what one of its
devices does not permit, and none of them had to be changed.

Silence of a device counts, so under consent it is a no. Of the other identifiers only those count that were heard.
Restrictions and objections are the person's and reach every device.
"""

from django.db import migrations, models

from cdp.kernel.identifiers import DEVICE_TYPES
from cdp.kernel.logins import OPERATOR
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant

DEVICES = ",".join(sorted(DEVICE_TYPES))

# The whole function of 0015_gate with five additions: `alone`, `voice`, `together`, `device` and `on_devices`. A workspace
# without such a purpose does none of it.
REFRESH = f"""
CREATE OR REPLACE FUNCTION core.decide_permissions(profiles bigint[], tells boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_nestloop = off SET enable_seqscan = off AS $$
DECLARE
    moment timestamptz := clock_timestamp();  -- now() is when the transaction began, before what it records
    place_trait text := (SELECT NULLIF(jurisdiction_trait, '') FROM consent_settings);  -- of this workspace
    device_bits smallint := 0;  -- of the purposes that are judged device by device
    device_purposes text[];
BEGIN
    SELECT COALESCE(bit_or(bit), 0::smallint), array_agg(purpose) INTO device_bits, device_purposes
    FROM purpose WHERE scope = 'DEVICE';

    PERFORM 1 FROM profile WHERE id = ANY(profiles) ORDER BY id FOR UPDATE;

    WITH said AS (
        SELECT i.workspace_id, i.profile_id, i.id AS identifier_id, r.*
        FROM identifier i CROSS JOIN LATERAL (
            SELECT purpose, recipient, occurred_at, expires_at, is_verified,
                   state IN ('REFUSED', 'WITHDRAWN') AS denies, state = 'UNKNOWN' AS is_silent,
                   state IN ('GIVEN', 'RENEWED') AND (expires_at IS NULL OR expires_at > moment) AS grants
            FROM consent_record
            WHERE workspace_id = i.workspace_id AND identifier_type = i.type AND identifier_digest = i.digest
            OFFSET 0
        ) AS r
        WHERE i.profile_id = ANY(profiles)
    ),
    latest AS (  -- of two at the same instant the one that permits less
        SELECT DISTINCT ON (identifier_id, purpose, recipient) * FROM said
        WHERE occurred_at <= moment
        ORDER BY identifier_id, purpose, recipient, occurred_at DESC, grants, denies DESC, is_silent, is_verified
    ),
    named AS (SELECT DISTINCT profile_id, workspace_id, recipient FROM latest WHERE recipient <> ''),
    asked AS (  -- each is decided for whom they named, and as '' for everybody else
        SELECT id, workspace_id, '' AS recipient FROM profile WHERE id = ANY(profiles)
        UNION ALL
        SELECT profile_id, workspace_id, recipient FROM named
    ),
    heard AS (  -- what was said of all counts for each; `alone` is whose answer is for nobody but itself
        SELECT recipient AS asked, profile_id, purpose, recipient, occurred_at, grants, denies, is_silent, is_verified,
               CASE WHEN purpose = ANY(device_purposes) THEN identifier_id END AS alone
        FROM latest
        UNION ALL
        SELECT n.recipient, l.profile_id, l.purpose, '', l.occurred_at, l.grants, l.denies, l.is_silent, l.is_verified,
               CASE WHEN l.purpose = ANY(device_purposes) THEN l.identifier_id END
        FROM latest l JOIN named n ON n.profile_id = l.profile_id WHERE l.recipient = ''
    ),
    verdict AS (
        SELECT profile_id, asked, purpose, alone, bool_or(grants) AS is_granted, bool_or(NOT is_silent) AS is_heard,
               bool_or(denies AND recipient <> '') AS is_barred,  -- which they take back in that name alone
               max(occurred_at) FILTER (WHERE denies) AS denied_at,
               max(occurred_at) FILTER (WHERE grants AND is_verified) AS verified_at
        FROM heard GROUP BY profile_id, asked, purpose, alone
    ),
    change AS (  -- when the answer could next be another one if nobody says anything
        SELECT profile_id, min(at) AS at
        FROM said, LATERAL (VALUES (occurred_at), (expires_at)) AS instant(at)
        WHERE at > moment GROUP BY profile_id
    ),
    denied AS MATERIALIZED (  -- restricted, or objected to: whatever was consented to
        SELECT i.profile_id, bit_or(r.denies) AS bits FROM identifier i CROSS JOIN LATERAL (
            SELECT denies FROM restriction WHERE lifted_at IS NULL
              AND workspace_id = i.workspace_id AND identifier_type = i.type AND identifier_digest = i.digest
            OFFSET 0
        ) AS r
        WHERE i.profile_id = ANY(profiles) AND EXISTS (SELECT FROM restriction WHERE lifted_at IS NULL)
        GROUP BY i.profile_id
    ),
    silence AS MATERIALIZED (  -- what everybody permits who said nothing
        SELECT workspace_id, bit_or(bit) FILTER (WHERE legal_basis <> 'CONSENT') AS bits
        FROM purpose GROUP BY workspace_id
    ),
    place AS MATERIALIZED (
        SELECT profile_id, substring(upper(value #>> '{{}}') FROM '^[A-Z]{{2}}(?:-[A-Z0-9]{{1,3}})?$') AS code FROM trait
        WHERE place_trait IS NOT NULL AND profile_id = ANY(profiles) AND name = place_trait
    ),
    silence_there AS (  -- and what besides where the law says so
        SELECT p.profile_id, bit_or(u.bit) AS bits FROM place p JOIN purpose u
        ON COALESCE(u.regimes ->> p.code, u.regimes ->> split_part(p.code, '-', 1)) = 'OPT_OUT' GROUP BY p.profile_id
    ),
    answer AS (  -- the purposes that somebody spoke of, and among them those that are granted
        SELECT v.profile_id, v.asked, v.alone, bit_or(u.bit) AS bits, bit_or(u.bit) FILTER (WHERE
            CASE WHEN v.is_barred THEN false
                 WHEN v.denied_at IS NOT NULL THEN v.verified_at > v.denied_at
                 ELSE v.is_granted
            END) AS granted
        FROM verdict v JOIN purpose u ON u.purpose = v.purpose WHERE v.is_heard GROUP BY v.profile_id, v.asked, v.alone
    ),
    -- The purposes that are judged device by device: nothing of this is looked at where there are none.
    voice AS MATERIALIZED (  -- what each identifier permits by what it said itself; silent ones that are no devices do not count
        SELECT i.profile_id, i.id, a.recipient, is_device,
               (base.bits & ~COALESCE(v.bits, 0::smallint) | COALESCE(v.granted, 0::smallint)) & device_bits AS mask,
               CASE WHEN is_device THEN device_bits ELSE COALESCE(v.bits, 0::smallint) END AS counts, base.bits AS silence
        FROM identifier i
        JOIN asked a ON a.id = i.profile_id
        LEFT JOIN answer v ON v.alone = i.id AND v.asked = a.recipient
        LEFT JOIN silence s ON s.workspace_id = i.workspace_id
        LEFT JOIN silence_there t ON t.profile_id = i.profile_id
        CROSS JOIN LATERAL (SELECT i.type = ANY('{{{DEVICES}}}') AS is_device) AS kind
        CROSS JOIN LATERAL (SELECT COALESCE(s.bits, 0::smallint) | COALESCE(t.bits, 0::smallint) AS bits) AS base
        WHERE device_bits <> 0 AND i.profile_id = ANY(profiles)
    ),
    together AS (  -- the person as a whole: every device permits, and nobody else who was heard says no
        SELECT profile_id, recipient,
               bit_and(mask | ~counts) & (bit_or(counts) | bit_or(silence)) & device_bits AS mask
        FROM voice GROUP BY profile_id, recipient
    ),
    device AS (  -- and each device by itself
        SELECT v.profile_id, v.id, bit_and(v.mask) & ~COALESCE(bit_or(x.bits), 0::smallint) AS mask
        FROM voice v LEFT JOIN denied x ON x.profile_id = v.profile_id WHERE v.is_device
        GROUP BY v.profile_id, v.id
    ),
    possible AS (
        SELECT a.id, a.recipient,
               (((COALESCE(s.bits, 0::smallint) | COALESCE(t.bits, 0::smallint)) & ~COALESCE(v.bits, 0::smallint)
                | COALESCE(v.granted, 0::smallint)) & ~device_bits | COALESCE(o.mask, 0::smallint))
               & ~COALESCE(x.bits, 0::smallint) AS mask
        FROM asked a
        LEFT JOIN silence s ON s.workspace_id = a.workspace_id
        LEFT JOIN silence_there t ON t.profile_id = a.id
        LEFT JOIN answer v ON v.profile_id = a.id AND v.asked = a.recipient AND v.alone IS NULL
        LEFT JOIN together o ON o.profile_id = a.id AND o.recipient = a.recipient
        LEFT JOIN denied x ON x.profile_id = a.id
    ),
    to_named AS (
        SELECT id, bit_and(mask) AS mask, jsonb_object_agg(recipient, mask) AS masks
        FROM possible WHERE recipient <> '' GROUP BY id
    ),
    decided AS (
        SELECT r.id, c.at AS until, j.code, r.mask & COALESCE(n.mask, r.mask) AS mask,
               n.masks || jsonb_build_object('', r.mask) AS by_recipient
        FROM possible r
        LEFT JOIN to_named n ON n.id = r.id
        LEFT JOIN change c ON c.profile_id = r.id
        LEFT JOIN place j ON j.profile_id = r.id
        WHERE r.recipient = ''
    ),
    on_identifiers AS (
        UPDATE identifier i SET permitted = d.mask, permitted_until = d.until FROM decided d
        WHERE i.profile_id = d.id AND i.profile_id = ANY(profiles)
          AND (device_bits = 0 OR i.type <> ALL('{{{DEVICES}}}'))
          AND (i.permitted, i.permitted_until) IS DISTINCT FROM (d.mask, d.until)
    ),
    on_devices AS (
        UPDATE identifier i SET permitted = d.mask & ~device_bits | v.mask, permitted_until = d.until
        FROM decided d JOIN device v ON v.profile_id = d.id
        WHERE i.id = v.id AND i.profile_id = ANY(profiles)
          AND (i.permitted, i.permitted_until) IS DISTINCT FROM (d.mask & ~device_bits | v.mask, d.until)
    ),
    on_profiles AS (
        UPDATE profile p
        SET permitted = d.mask, permitted_until = d.until, permitted_by_recipient = d.by_recipient, jurisdiction = d.code
        FROM decided d
        WHERE p.id = d.id AND p.id = ANY(profiles)
          AND (p.permitted, p.permitted_until, p.permitted_by_recipient, p.jurisdiction)
              IS DISTINCT FROM (d.mask, d.until, d.by_recipient, d.code)
        RETURNING p.workspace_id, p.id, new.permitted & ~old.permitted & {Purpose.IDENTITY.bit} <> 0 AS is_recognised,
                  old.permitted & ~new.permitted & {Purpose.ADVERTISING.bit} <> 0
                  OR old.permitted_by_recipient IS DISTINCT FROM new.permitted_by_recipient AS is_lost
    ),
    recognised AS (
        INSERT INTO outbox (workspace_id, stage, subject_id, cause)
        SELECT i.workspace_id, 'IDENTITY', i.id, 'CONSENT' FROM on_profiles p JOIN identifier i ON i.profile_id = p.id
        WHERE tells AND p.is_recognised AND i.profile_id = ANY(profiles)
    )
    -- Whoever may be lost to an audience is told to the audiences at once, and not after what waits for the segments.
    INSERT INTO outbox (workspace_id, stage, subject_id, cause)
    SELECT workspace_id, 'SEGMENTS', id, 'CONSENT' FROM on_profiles WHERE tells
    UNION ALL SELECT workspace_id, 'ACTIVATION', id, 'CONSENT' FROM on_profiles WHERE tells AND is_lost;
END $$;
"""  # noqa: S608  # bits and names of our own

# The scope is part of the rule that records name. What is judged by the person keeps the fingerprint that it had.
RULES = """
CREATE OR REPLACE FUNCTION core.purpose_gets_its_rule() RETURNS trigger
LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
DECLARE
    said jsonb := jsonb_build_object(
        'purpose', NEW.purpose, 'legal_basis', NEW.legal_basis, 'description', NEW.description,
        'is_special', NEW.is_special, 'data_categories', to_jsonb(NEW.data_categories),
        'retention_days', NEW.retention_days, 'regimes', NEW.regimes
    ) || CASE NEW.scope WHEN 'PERSON' THEN '{}'::jsonb ELSE jsonb_build_object('scope', NEW.scope) END;
BEGIN
    NEW.fingerprint := encode(sha256(convert_to(said::text, 'UTF8')), 'hex');
    IF TG_OP = 'UPDATE' AND NEW.fingerprint = OLD.fingerprint THEN
        NEW.version := OLD.version;
        RETURN NEW;
    END IF;
    NEW.version := 1 + COALESCE(
        (SELECT max(version) FROM purpose_rule WHERE workspace_id = NEW.workspace_id AND purpose = NEW.purpose), 0
    );
    INSERT INTO purpose_rule (workspace_id, purpose, version, fingerprint, rule)
    VALUES (NEW.workspace_id, NEW.purpose, NEW.version, NEW.fingerprint, said);
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0015_gate")]

    operations = [
        migrations.AddField(
            model_name="purposepolicy",
            name="scope",
            field=models.CharField(
                choices=[("PERSON", "the person: all identifiers together"), ("DEVICE", "each device by itself")],
                db_default="PERSON",
                default="PERSON",
                help_text="whose word counts; device by device only what cookies are for: advertising and analytics",
                max_length=6,
                verbose_name="scope",
            ),
        ),
        migrations.AddConstraint(
            model_name="purposepolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(("scope", "PERSON"), ("purpose__in", ["advertising", "analytics"]), _connector="OR"),
                name="purpose_by_device_only_reads",
            ),
        ),
        migrations.RunSQL(RULES, migrations.RunSQL.noop),
        migrations.RunSQL(REFRESH, migrations.RunSQL.noop),
        # `consent explain` answers for a device, and for the person where something is sent.
        grant("SELECT (permitted)", "profile", to=OPERATOR),
        # `manage.py requests` does what the officer does in the console.
        grant("SELECT, INSERT, UPDATE", "data_request", "data_package", "verification_code", to=OPERATOR),
        grant("SELECT, INSERT", "data_request_step", to=OPERATOR),
        grant("SELECT, INSERT, UPDATE (ended_at)", "identity_doubt", to=OPERATOR),
        grant("SELECT, INSERT, UPDATE (due_at, outcome, done_at)", "request_work", to=OPERATOR),
    ]
