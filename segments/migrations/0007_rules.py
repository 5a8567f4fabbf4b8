"""What rules need of Postgres beside the tables of facts: calendars of any zone, dates and values as every engine reads
them, the number of a score, and what the person permits.

The functions say what `segments.language.periods` and `written` say in Python; tests compare the two.
"""

from zoneinfo import available_timezones

from django.db import migrations, models

from cdp.kernel.purposes import Purpose
from cdp.models.access import with_gate
from segments.language.periods import WRITTEN_DATE, WRITTEN_TIME
from segments.language.written import FOLDED_FROM, FOLDED_TO

# Zones by the names that both Postgres and Python know, written exactly so. Not inlined, for it is long.
ZONES = """
DO $make$ BEGIN
    EXECUTE format(
        'CREATE FUNCTION core.zone_of(value jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE'
        ' AS $$ BEGIN RETURN CASE WHEN value #>> ''{}'' = ANY(%L::text[]) AND jsonb_typeof(value) = ''string'''
        ' THEN value #>> ''{}'' END; END $$',
        ARRAY(SELECT name FROM pg_timezone_names WHERE name = ANY(string_to_array('NAMES', ' ')) ORDER BY name)
    );
END $make$;
""".replace("NAMES", " ".join(sorted(available_timezones())))

CALENDARS = """
-- A workspace is one row, and a purpose may read it: of nobody personal.
CREATE FUNCTION core.workspace_zone() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT COALESCE(core.zone_of(to_jsonb(w.time_zone)), 'UTC') FROM core.workspace w
    WHERE w.id = NULLIF(current_setting('tessera.workspace', true), '')::bigint
$$;

-- When the clocks of a zone show this. Of none Postgres takes the one that the old offset gives, as we do; of two it takes
-- the later, and we the earlier, which the offset of the day before gives.
CREATE FUNCTION core.local_instant(shown timestamp, zone text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    later timestamptz := shown AT TIME ZONE zone;
    day_before timestamptz := later - interval '24 hours';
    earlier timestamptz := (shown - (day_before AT TIME ZONE zone - day_before AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC';
BEGIN
    RETURN CASE WHEN earlier < later AND earlier AT TIME ZONE zone = shown THEN earlier ELSE later END;
END $$;

-- Not in SQL: such a function is started anew for each call, which took more than all else that calendars do.
CREATE FUNCTION core.calendar_step(unit text) RETURNS interval LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN CASE unit WHEN 'days' THEN interval '1 day' WHEN 'weeks' THEN interval '7 days'
                     WHEN 'months' THEN interval '1 month' WHEN 'quarters' THEN interval '3 months'
                     WHEN 'years' THEN interval '1 year' END;
END $$;

-- The first day of the last unit that has begun, even where clocks have been set back over its beginning: by half a day at
-- most, so it is looked for only so near to it.
CREATE FUNCTION core.local_unit(at timestamptz, unit text, zone text) RETURNS date
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    shown timestamp := at AT TIME ZONE zone;
    first timestamp := date_trunc(CASE unit WHEN 'quarters' THEN 'quarter' ELSE unit END, shown);
    following timestamp := first + core.calendar_step(unit);
BEGIN
    IF shown >= following - interval '12 hours' AND core.local_instant(following, zone) <= at THEN
        RETURN following;
    END IF;
    RETURN first;
END $$;

CREATE FUNCTION core.local_start(at timestamptz, unit text, shift int, zone text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN core.local_instant(core.local_unit(at, unit, zone) + core.calendar_step(unit) * shift, zone);
END $$;

-- The 29th of February is the 1st of March in years that have none.
CREATE FUNCTION core.next_anniversary(born date, today date) RETURNS date
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    this_year date := make_date(extract(year FROM today)::int, extract(month FROM born)::int, 1)
                      + extract(day FROM born)::int - 1;
BEGIN
    IF this_year >= today THEN
        RETURN this_year;
    END IF;
    RETURN make_date(extract(year FROM today)::int + 1, extract(month FROM born)::int, 1)
           + extract(day FROM born)::int - 1;
END $$;
"""

WRITTEN = f"""
CREATE FUNCTION core.date_written(value jsonb) RETURNS date LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    said text := value #>> '{{}}';
BEGIN
    IF jsonb_typeof(value) = 'string' AND said ~ '^{WRITTEN_DATE}({WRITTEN_TIME})?$'
            AND pg_input_is_valid(substr(said, 1, 10), 'date') THEN
        RETURN substr(said, 1, 10)::date;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION core.instant_written(value jsonb) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    day date := core.date_written(value);
BEGIN
    IF day IS NULL OR length(value #>> '{{}}') > 10 THEN
        RETURN CASE WHEN day IS NOT NULL THEN (value #>> '{{}}')::timestamptz END;
    END IF;
    RETURN day::timestamp AT TIME ZONE 'UTC';
END $$;

-- A text, a number or a truth value as JSON writes it: 1.0 is 1.
CREATE FUNCTION core.written(value jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN CASE jsonb_typeof(value) WHEN 'number' THEN trim_scale(value::numeric)::text ELSE value::text END;
END $$;
"""

# Most texts are ASCII, where Postgres folds fast and the table says the same.
VALUES = f"""
CREATE FUNCTION core.folded(said text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF octet_length(said) = length(said) THEN
        RETURN lower(said COLLATE "C");
    END IF;
    RETURN translate(said, '{FOLDED_FROM}', '{FOLDED_TO}');
END $$;

-- Texts, and the texts of a list.
CREATE FUNCTION core.folded(value jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF jsonb_typeof(value) = 'string' THEN
        RETURN to_jsonb(core.folded(value #>> '{{}}'));
    ELSIF jsonb_typeof(value) = 'array' THEN
        RETURN COALESCE((
            SELECT jsonb_agg(CASE jsonb_typeof(e) WHEN 'string' THEN to_jsonb(core.folded(e #>> '{{}}')) ELSE e END)
            FROM jsonb_array_elements(value) AS elements (e)
        ), '[]');
    END IF;
    RETURN value;
END $$;

-- A list has one of the elements, or a text one of the parts: those are null where the elements are not all texts.
CREATE FUNCTION core.contains_any(value jsonb, elements jsonb[], parts text[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF jsonb_typeof(value) = 'array' THEN
        RETURN EXISTS (SELECT FROM jsonb_array_elements(value) AS held (e) WHERE e = ANY(elements));
    ELSIF jsonb_typeof(value) = 'string' AND parts IS NOT NULL THEN
        RETURN EXISTS (SELECT FROM unnest(parts) AS part WHERE strpos(value #>> '{{}}', part) > 0);
    END IF;
    RETURN false;
END $$;

CREATE FUNCTION core.contains_all(value jsonb, elements jsonb[], parts text[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF jsonb_typeof(value) = 'array' THEN
        RETURN value @> to_jsonb(elements);
    ELSIF jsonb_typeof(value) = 'string' AND parts IS NOT NULL THEN
        RETURN NOT EXISTS (SELECT FROM unnest(parts) AS part WHERE strpos(value #>> '{{}}', part) = 0);
    END IF;
    RETURN false;
END $$;

-- By haversine. Null for what is no place.
CREATE FUNCTION core.metres_to(place jsonb, latitude double precision, longitude double precision)
RETURNS double precision LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    north numeric := CASE jsonb_typeof(place -> 'latitude') WHEN 'number' THEN (place -> 'latitude')::numeric END;
    east numeric := CASE jsonb_typeof(place -> 'longitude') WHEN 'number' THEN (place -> 'longitude')::numeric END;
    chord double precision;
BEGIN
    IF north IS NULL OR east IS NULL OR abs(north) > 90 OR abs(east) > 180 THEN
        RETURN NULL;
    END IF;
    chord := power(sin(radians(north::double precision - latitude) / 2), 2)
             + cos(radians(latitude)) * cos(radians(north::double precision))
               * power(sin(radians(east::double precision - longitude) / 2), 2);
    RETURN 2 * 6371008.8 * asin(sqrt(least(chord, 1)));
END $$;

-- Halves away from zero, and never rounded twice.
CREATE FUNCTION core.average(total numeric, number bigint, decimals int) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN sign(total) * div(2 * abs(total) * 10::numeric ^ decimals + number, 2 * NULLIF(number, 0))
           / 10::numeric ^ decimals;
END $$;

CREATE FUNCTION core.whole_units(passed interval, seconds bigint) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN div(extract(epoch FROM passed), seconds);
END $$;
"""  # noqa: S608  # letters of a table of ours

# Views with columns more at their end: whoever reads the old ones goes on.
PROFILE = """
SELECT p.id, p.workspace_id, p.merged_into_id, p.created_at, p.permitted, p.permitted_until
FROM core.profile p WHERE p.merged_into_id IS NULL AND {permitted:p}
"""
SCORE = f"""
SELECT s.id, s.workspace_id, s.model_slug, s.profile_id, s."group", s.model_id, s.computed_at, s.value
FROM core.score s WHERE EXISTS (
    SELECT 1 FROM core.profile p
    WHERE p.id = s.profile_id AND {{permitted:p}} AND (p.permitted & {Purpose.LEARNING.bit}) <> 0
)
"""  # noqa: S608  # the bit is a constant of ours
LEARNED_SCORE = """
SELECT s.id, s.workspace_id, s.model_slug, s.profile_id, s."group", s.model_id, s.computed_at, s.value
FROM core.score s WHERE EXISTS (SELECT 1 FROM core.profile p WHERE p.id = s.profile_id AND {permitted:p})
"""


def wider_view(purpose: Purpose, name: str, query: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE OR REPLACE VIEW {purpose}.{name} WITH (security_barrier) AS {with_gate(query, purpose)}",
        migrations.RunSQL.noop,
    )


class Migration(migrations.Migration):
    dependencies = [("segments", "0006_review_weighs")]

    operations = [
        migrations.AddField(
            "score",
            "value",
            models.DecimalField(max_digits=38, decimal_places=9, null=True),
        ),
        *(migrations.RunSQL(each, migrations.RunSQL.noop) for each in (ZONES, CALENDARS, WRITTEN, VALUES)),
        wider_view(Purpose.SEGMENTATION, "profile", PROFILE),
        wider_view(Purpose.SEGMENTATION, "score", SCORE),
        wider_view(Purpose.LEARNING, "score", LEARNED_SCORE),
    ]
