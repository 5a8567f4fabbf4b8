"""A million people are decided anew sooner, and device by device where a purpose says so.

A page holds everybody on it twice, so that a mask which is written anew never has to be entered into an index: at 60 of
100 every third was entered into four. The ledger is asked for all identifiers of a type at once, which Postgres answers
in one walk along the index and not in one descent for each. People are not read a second time to be decided, only to be
written; what a recipient was told costs nothing for whoever named none. Whom it changes is handed on in packs.

Most workspaces judge no purpose by device: theirs is the statement without that part. Both are made of one text.
"""

from dataclasses import dataclass

from django.db import migrations

from cdp.kernel.identifiers import DEVICE_TYPES
from cdp.kernel.purposes import Purpose

PACK = 200  # as in cdp.models.outbox
DEVICES = ",".join(sorted(DEVICE_TYPES))

# What is granted, and of what nobody spoke all that is open to the silent: of one answer `v` for the person `p`.
SPOKEN = "p.open & ~COALESCE(v.bits, 0::smallint) | COALESCE(v.granted, 0::smallint)"

BY_DEVICE = f"""
    alone AS MATERIALIZED (  -- what each permits by what it said itself; silent ones that are no devices do not count
        SELECT i.profile_id, i.id, a.recipient, i.is_device, ({SPOKEN}) & device_bits AS mask, p.open AS silence,
               CASE WHEN i.is_device THEN device_bits ELSE COALESCE(v.bits, 0::smallint) END AS counts
        FROM voice i
        JOIN person p ON p.id = i.profile_id
        JOIN (SELECT id, '' AS recipient FROM person UNION ALL SELECT profile_id, recipient FROM named) AS a
            ON a.id = i.profile_id
        LEFT JOIN answer v ON v.alone = i.id AND v.asked = a.recipient
    ),
    together AS (  -- the person as a whole: every device permits, and nobody else who was heard says no
        SELECT profile_id, recipient,
               bit_and(mask | ~counts) & (bit_or(counts) | bit_or(silence)) & device_bits AS mask
        FROM alone GROUP BY profile_id, recipient
    ),
    device AS (  -- and each device by itself
        SELECT a.profile_id, a.id, bit_and(a.mask) & ~bit_or(p.denied) AS mask
        FROM alone a JOIN person p ON p.id = a.profile_id WHERE a.is_device GROUP BY a.profile_id, a.id
    ),
"""  # noqa: S608  # text of our own
ON_DEVICES = """
    on_devices AS (
        UPDATE identifier i SET permitted = d.mask & ~device_bits | v.mask, permitted_until = d.until
        FROM decided d JOIN device v ON v.profile_id = d.id
        WHERE i.id = v.id AND i.profile_id = ANY(profiles)
          AND (i.permitted, i.permitted_until) IS DISTINCT FROM (d.mask & ~device_bits | v.mask, d.until)
    ),
"""


@dataclass(frozen=True)
class Way:
    """What differs where some purposes are judged device by device."""

    mask: str
    alone: str = "NULL::bigint"  # whose answer is for nobody but itself
    devices: str = ""
    together: str = ""
    are_no_devices: str = ""
    on_devices: str = ""


BY_PERSON = Way(mask=f"({SPOKEN}) & ~p.denied")
ALSO_BY_DEVICE = Way(
    mask=f"(({SPOKEN}) & ~device_bits | COALESCE(o.mask, 0::smallint)) & ~p.denied",
    alone="CASE WHEN {row}.purpose = ANY(device_purposes) THEN {row}.identifier_id END",
    devices=BY_DEVICE,
    together="LEFT JOIN together o ON o.profile_id = p.id AND o.recipient = {recipient}",
    are_no_devices=f"AND i.type <> ALL('{{{DEVICES}}}')",
    on_devices=ON_DEVICES,
)


def decision(each: Way) -> str:
    return f"""
    WITH voice AS MATERIALIZED (
        SELECT id, profile_id, workspace_id, type, digest, type = ANY('{{{DEVICES}}}') AS is_device FROM identifier WHERE profile_id = ANY(profiles)
    ),
    said AS (
        SELECT i.profile_id, i.id AS identifier_id, r.*
        FROM (SELECT workspace_id, type, array_agg(digest) AS digests FROM voice GROUP BY workspace_id, type) AS voices
        CROSS JOIN LATERAL (
            SELECT identifier_type, identifier_digest, purpose, recipient, occurred_at, expires_at, is_verified,
                   state IN ('REFUSED', 'WITHDRAWN') AS denies, state = 'UNKNOWN' AS is_silent,
                   state IN ('GIVEN', 'RENEWED') AND (expires_at IS NULL OR expires_at > moment) AS grants
            FROM consent_record
            WHERE workspace_id = voices.workspace_id AND identifier_type = voices.type
              AND identifier_digest = ANY(voices.digests)
            OFFSET 0
        ) AS r
        JOIN voice i ON i.type = r.identifier_type AND i.digest = r.identifier_digest
    ),
    latest AS (  -- of two at the same instant the one that permits less
        SELECT DISTINCT ON (identifier_id, purpose, recipient)
               profile_id, identifier_id, purpose, recipient, occurred_at, grants, denies, is_silent, is_verified
        FROM said WHERE occurred_at <= moment
        ORDER BY identifier_id, purpose, recipient, occurred_at DESC, grants, denies DESC, is_silent, is_verified
    ),
    named AS (SELECT DISTINCT profile_id, recipient FROM latest WHERE recipient <> ''),
    heard AS (  -- of each who was named, and as '' of everybody else; what was said of all counts for each
        SELECT recipient AS asked, profile_id, purpose, recipient, occurred_at, grants, denies, is_silent, is_verified,
               {each.alone.format(row="latest")} AS alone
        FROM latest
        UNION ALL
        SELECT n.recipient, l.profile_id, l.purpose, '', l.occurred_at, l.grants, l.denies, l.is_silent, l.is_verified,
               {each.alone.format(row="l")}
        FROM latest l JOIN named n ON n.profile_id = l.profile_id WHERE l.recipient = ''
    ),
    verdict AS (
        SELECT profile_id, asked, purpose, alone, bool_or(grants) AS is_granted, bool_or(NOT is_silent) AS is_heard,
               bool_or(denies AND recipient <> '') AS is_barred,  -- which they take back in that name alone
               max(occurred_at) FILTER (WHERE denies) AS denied_at,
               max(occurred_at) FILTER (WHERE grants AND is_verified) AS verified_at
        FROM heard GROUP BY profile_id, asked, purpose, alone
    ),
    answer AS (  -- the purposes that somebody spoke of, and among them those that are granted
        SELECT v.profile_id, v.asked, v.alone, bit_or(u.bit) AS bits, bit_or(u.bit) FILTER (WHERE
            CASE WHEN v.is_barred THEN false
                 WHEN v.denied_at IS NOT NULL THEN v.verified_at > v.denied_at
                 ELSE v.is_granted
            END) AS granted
        FROM verdict v JOIN purpose u ON u.purpose = v.purpose WHERE v.is_heard GROUP BY v.profile_id, v.asked, v.alone
    ),
    change AS (  -- when the answer could next be another one if nobody says anything
        SELECT profile_id, min(at) AS at
        FROM said, LATERAL (VALUES (occurred_at), (expires_at)) AS instant(at)
        WHERE at > moment GROUP BY profile_id
    ),
    denied AS MATERIALIZED (  -- restricted, or objected to: whatever was consented to
        SELECT i.profile_id, bit_or(r.denies) AS bits FROM voice i CROSS JOIN LATERAL (
            SELECT denies FROM restriction WHERE lifted_at IS NULL
              AND workspace_id = i.workspace_id AND identifier_type = i.type AND identifier_digest = i.digest
            OFFSET 0
        ) AS r
        WHERE EXISTS (SELECT FROM restriction WHERE lifted_at IS NULL)
        GROUP BY i.profile_id
    ),
    place AS MATERIALIZED (
        SELECT profile_id, substring(upper(value #>> '{{}}') FROM '^[A-Z]{{2}}(?:-[A-Z0-9]{{1,3}})?$') AS code FROM trait
        WHERE place_trait IS NOT NULL AND profile_id = ANY(profiles) AND name = place_trait
    ),
    open_there AS (  -- to the silent, where the law says so
        SELECT p.profile_id, bit_or(u.bit) AS bits FROM place p JOIN purpose u
        ON COALESCE(u.regimes ->> p.code, u.regimes ->> split_part(p.code, '-', 1)) = 'OPT_OUT' GROUP BY p.profile_id
    ),
    person AS (  -- of this workspace, as its purposes are: of the others nothing is found to write
        SELECT asked.id, COALESCE(x.bits, 0::smallint) AS denied, COALESCE(t.bits, 0::smallint) | COALESCE(
                   (SELECT bit_or(bit) FILTER (WHERE legal_basis <> 'CONSENT') FROM purpose), 0::smallint
               ) AS open
        FROM unnest(profiles) AS asked (id)
        LEFT JOIN open_there t ON t.profile_id = asked.id
        LEFT JOIN denied x ON x.profile_id = asked.id
    ),
    {each.devices}
    to_named AS (
        SELECT p.id, bit_and({each.mask}) AS mask, jsonb_object_agg(n.recipient, {each.mask}) AS masks
        FROM named n
        JOIN person p ON p.id = n.profile_id
        LEFT JOIN answer v ON v.profile_id = n.profile_id AND v.asked = n.recipient AND v.alone IS NULL
        {each.together.format(recipient="n.recipient")}
        GROUP BY p.id
    ),
    to_others AS (
        SELECT p.id, {each.mask} AS mask FROM person p
        LEFT JOIN answer v ON v.profile_id = p.id AND v.asked = '' AND v.alone IS NULL
        {each.together.format(recipient="''")}
    ),
    decided AS (
        SELECT o.id, c.at AS until, j.code, o.mask & COALESCE(n.mask, o.mask) AS mask,
               CASE WHEN n.masks IS NOT NULL THEN n.masks || jsonb_build_object('', o.mask) END AS by_recipient
        FROM to_others o
        LEFT JOIN to_named n ON n.id = o.id
        LEFT JOIN change c ON c.profile_id = o.id
        LEFT JOIN place j ON j.profile_id = o.id
    ),
    on_identifiers AS (
        UPDATE identifier i SET permitted = d.mask, permitted_until = d.until FROM decided d
        WHERE i.profile_id = d.id AND i.profile_id = ANY(profiles) {each.are_no_devices}
          AND (i.permitted, i.permitted_until) IS DISTINCT FROM (d.mask, d.until)
    ),
{each.on_devices}
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
        INSERT INTO outbox (workspace_id, stage, subjects, cause)
        SELECT workspace_id, 'IDENTITY', array_agg(id), 'CONSENT' FROM (
            SELECT i.workspace_id, i.id, row_number() OVER () / {PACK} AS pack
            FROM on_profiles p JOIN identifier i ON i.profile_id = p.id
            WHERE tells AND p.is_recognised AND i.profile_id = ANY(profiles)
        ) AS numbered GROUP BY workspace_id, pack
    ),
    lost AS (  -- to an audience, maybe: told to the audiences at once, and not after what waits for the segments
        INSERT INTO outbox (workspace_id, stage, subject_id, cause)
        SELECT workspace_id, 'ACTIVATION', id, 'CONSENT' FROM on_profiles WHERE tells AND is_lost
    )
    INSERT INTO outbox (workspace_id, stage, subjects, cause)
    SELECT workspace_id, 'SEGMENTS', array_agg(id), 'CONSENT' FROM (
        SELECT workspace_id, id, row_number() OVER () / {PACK} AS pack FROM on_profiles WHERE tells
    ) AS numbered GROUP BY workspace_id, pack;
"""  # noqa: S608  # text of our own


DECIDE = f"""
-- The rows are locked first, so that of two transactions which change the ledger and the cluster of one person at once,
-- the second sees what the first did: without it a withdrawal could be lost.
--
-- One plan does for one person and for a whole slice: people by their index, all else by hashing.
CREATE OR REPLACE FUNCTION core.decide_permissions(profiles bigint[], tells boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_nestloop = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    moment timestamptz := clock_timestamp();  -- now() is when the transaction began, before what it records
    place_trait text := (SELECT NULLIF(jurisdiction_trait, '') FROM consent_settings);  -- of this workspace
    device_bits smallint;  -- of the purposes that are judged device by device
    device_purposes text[];
BEGIN
    PERFORM 1 FROM profile WHERE id = ANY(profiles) ORDER BY id FOR UPDATE;
    SELECT bit_or(bit), array_agg(purpose) INTO device_bits, device_purposes FROM purpose WHERE scope = 'DEVICE';
    IF device_bits IS NULL THEN
        {decision(BY_PERSON)}
    ELSE
        {decision(ALSO_BY_DEVICE)}
    END IF;
END $$;
"""  # noqa: S608  # likewise

# Pages that are there already fill up as before until they are rewritten.
ROOM = """
ALTER TABLE core.identifier SET (fillfactor = 50);
ALTER TABLE core.profile SET (fillfactor = 50);
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0016_devices"), ("cdp", "0019_packs")]

    operations = [
        migrations.RunSQL(DECIDE, migrations.RunSQL.noop),
        migrations.RunSQL(ROOM, migrations.RunSQL.noop),
    ]
