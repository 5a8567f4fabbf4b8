"""Train a model without labels, and freeze it: parameters, term frequencies, versions and seed in one value.

What strangers share is counted among random pairs; what one person's records share is learnt in sessions, each among
pairs that agree on some columns, about the other columns (see `learning`).
"""

import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import splink
from duckdb import DuckDBPyConnection
from splink import SettingsCreator
from splink.blocking_rule_library import CustomRule
from splink.internals.comparison_creator import ComparisonCreator

from cdp.kernel.errors import TesseraError
from identity.matching import (
    blocking,
    comparisons,
    dependence,
    distances,
    experience,
    features,
    learning,
    relatives,
    scoring,
    thresholds,
)
from identity.matching.learning import Levels, Patterns
from identity.matching.scoring import FrozenModel

SEED: Final = 20_260_101
RANDOM_PAIRS: Final = 250_000
PAIRS_PER_SESSION: Final = 200_000
FEWEST_MATCHES: Final = 5  # of a session, or it has learnt nothing
RECALL_OF_SESSIONS: Final = 0.8  # a wrong guess moves the prior by less than half a bit, and it is estimated anew
PAIRS_PER_RECORD: Final = 20  # a blocking rule that would make more leaves out its commonest values, or is left out
MOST_PAIRS_OF_SMALL_DATA: Final = 500_000
RAREST: Final = 1e-6  # no level is rarer among strangers than this, whatever the sample says
SELDOM: Final = 1e-3  # nor is any level impossible for one person


class TooLittleToLearnError(TesseraError):
    """These records cannot train a model: load more of them, or records that share more fields."""

    code = "too_little_to_learn"


def train(connection: DuckDBPyConnection, *, seed: int = SEED, population: int | None = None) -> FrozenModel:
    """Learn from table `record` (see `features.clean`). Deterministic for the same rows, seed and versions.

    Where these are a sample, `population` is how many records the rules of blocking must be affordable for.
    """
    began = time.perf_counter()
    columns = comparisons.telling(features.filled_columns(connection))
    rows = count_records(connection)
    made = comparisons.comparisons_for(columns)
    if rows < 10 or len(made) < 2:
        raise TooLittleToLearnError
    rules, set_aside = chosen_rules(connection, comparisons.blocking_rules(columns), rows)
    settings = _blank_settings(made, rules, columns)
    sessions = affordable(connection, comparisons.sessions(columns), rows) or rules[:_SESSIONS_WITHOUT_NAMES]
    lesson = _Lesson(connection, settings, columns, rows, seed)
    notes = lesson.learn(sessions)
    model = FrozenModel(
        settings=settings,
        frequencies=_frequencies(connection, settings, rows),
        metadata={
            "splink": splink.__version__,
            "duckdb": duckdb.__version__,
            "seed": seed,
            "rows": rows,
            "digest": _digest(connection),
            "columns": sorted(columns),
            "sessions": [" + ".join(rule) for rule in sessions],
            "rules": [" + ".join(rule) for rule in rules],
            "set_aside": set_aside,
            **notes,
            "rarest": _rarest(connection, settings),
        },
    )
    return _calibrated(connection, _afforded(connection, model, rules, population or rows), began)


def _afforded(
    connection: DuckDBPyConnection, model: FrozenModel, rules: Iterable[comparisons.Rule], population: int
) -> FrozenModel:
    """With the rules that so many records can afford together, and what was set aside for it."""
    afforded = scoring.within_budget(connection, model, population=population)
    kept = set(blocking.rules_of(afforded.settings))
    written = zip(rules, blocking.rules_of(model.settings), strict=False)  # last and unnamed those across two columns
    too_many = [rule for rule, sql in written if sql not in kept]
    set_aside = [{"rule": _named(rule), "pairs": pairs_made_by(connection, rule), "values": 0} for rule in too_many]
    return dataclasses.replace(
        afforded, metadata={**afforded.metadata, "set_aside": [*afforded.metadata["set_aside"], *set_aside]}
    )


def _named(rule: comparisons.Rule) -> str:
    return " + ".join(map(comparisons.column_of, rule))


_SESSIONS_WITHOUT_NAMES: Final = 6
# Columns made of others: a session that blocks on one learns nothing about what the others say.
_FAMILIES: Final[Mapping[str, str]] = {
    "given_root": "given_name", "surname_sound": "surname", "dob": "date_of_birth", "birth_year": "date_of_birth",
    "email_name": "email", "other_email": "email", "other_phone": "phone", "street_name": "street",
    "house_number": "street", "initials": "organisation", "other_organisation": "organisation",
    "other_surname": "surname", "city": "postcode", "region": "postcode",
}  # fmt: skip
# Strangers of one given name are of one gender: among them it says nothing of what strangers share.
_TOLD_BY: Final[Mapping[str, str]] = {"gender": "given_name"}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Session:
    """Pairs to learn from, how many each stands for, and the comparisons that they can tell something of."""

    name: str
    patterns: Patterns
    scale: float
    active: list[int]
    whole: list[int]  # comparisons whose agreements among all records are all in this session


_TURNS: Final = 3


class _Lesson:
    """The comparisons of a model, and what random pairs and sessions say of their levels."""

    def __init__(
        self, connection: DuckDBPyConnection, settings: dict[str, Any], columns: frozenset[str], rows: int, seed: int
    ) -> None:
        self.connection, self.settings, self.rows, self.seed = connection, settings, rows, seed
        self.pairs = rows * (rows - 1) / 2
        self.columns = columns
        self.names = [comparison["output_column_name"] for comparison in settings["comparisons"]]
        self.levels = [scoring.scored_levels({"comparisons": [one]}) for one in settings["comparisons"]]
        kinds = [(name, len(levels)) for name, levels in zip(self.names, self.levels, strict=True)]
        self.of_matches, self.of_strangers = experience.of_matches(kinds), experience.of_strangers(kinds)
        self.own = experience.own(self.names)

    def learn(self, sessions: list[comparisons.Rule]) -> dict[str, Any]:
        """Write the probabilities into the settings. In turns, since random pairs of small sets hold many matches."""
        random = _Session("all pairs", self._patterns(self._random_pairs()), 1.0, self._active(()), [])
        strangers = learning.shares_of(random.patterns, None, self.of_strangers)
        blocked = [self._session(rule) for rule in sessions] if _is_sampled(self.rows) else [random]
        blocked = [one for one in blocked if one.patterns.pairs]
        for _ in range(_TURNS):
            learnt = {
                one: learning.learn(one.patterns, strangers, one.active, self.of_matches, self.own) for one in blocked
            }
            found, prior = self._matches(learnt)
            matches = _shares(learning.added(found, self.of_matches))
            classes = learning.Classes(prior, self._related(learnt), matches, strangers, self._alike(learnt))
            strange = learning.strange(random.patterns, classes, self.own)
            strangers = learning.shares_of(random.patterns, strange, self.of_strangers)
        self._write(matches, strangers, classes)
        return {
            "unseen": self._unseen(found),
            "unconverged": [one.name for one, each in learnt.items() if not each.has_converged],
            "correlated": self._correct(random.patterns, strange, matches, strangers, learnt),
        }

    def _matches(self, learnt: Mapping["_Session", learning.Learnt]) -> tuple[Levels, float]:
        """Matches by level, and how likely two records are one."""
        found = [np.zeros(len(levels)) for levels in self.levels]
        most = 0.0
        for session, each in learnt.items():
            matches = each.share * session.patterns.pairs
            if matches >= FEWEST_MATCHES:
                most = max(most, matches * session.scale)
                for place in session.active:
                    found[place] += each.found[place]
        if not most:
            raise TooLittleToLearnError
        return found, min(most / RECALL_OF_SESSIONS / self.pairs, 0.5)

    def _related(self, learnt: Mapping["_Session", learning.Learnt]) -> float:
        """How likely two records are of relatives."""
        most = max(one.related * session.patterns.pairs * session.scale for session, one in learnt.items())
        return min(most / self.pairs, 0.4)

    def _alike(self, learnt: Mapping["_Session", learning.Learnt]) -> npt.NDArray[np.float64]:
        """How many relatives agree as one person does, by all sessions that could see it."""
        shares = learning.usually_alike(self.own, len(self.names))
        for place in self.own:
            seen = [
                (one.alike[place], one.related * session.patterns.pairs)
                for session, one in learnt.items()
                if place in session.active
            ]
            if total := sum(pairs for _, pairs in seen):
                shares[place] = sum(alike * pairs for alike, pairs in seen) / total
        return shares

    def _correct(
        self,
        random: Patterns,
        strange: npt.NDArray[np.float64],
        matches: Levels,
        strangers: Levels,
        learnt: Mapping["_Session", learning.Learnt],
    ) -> dict[str, float]:
        """Take back what two comparisons count twice among strangers; by how many bits, by their names."""
        depths = [_depth(*one) for one in zip(matches, strangers, strict=True)]
        alone = np.array([max(float(one[:depth].sum()), RAREST) for one, depth in zip(strangers, depths, strict=True)])
        seen = []
        for session, one in learnt.items():
            of_strangers = dataclasses.replace(session.patterns, counts=session.patterns.counts * one.strange)
            seen += [dependence.Together(of_strangers, session.scale / self.pairs, place) for place in session.whole]
        sample = dataclasses.replace(random, counts=random.counts * strange)
        seen.append(dependence.Together(sample, 1 / random.pairs))
        ties = dependence.ties(random, seen, alone, depths)
        made = self.settings["comparisons"]
        made += [dependence.correction(made, tie, depths) for tie in ties]
        return {f"{self.names[tie.one]} + {self.names[tie.other]}": round(tie.bits, 1) for tie in ties}

    def _active(self, rule: comparisons.Rule) -> list[int]:
        blocked = {_FAMILIES.get(column, column) for column in map(comparisons.column_of, rule)}
        return [
            place
            for place, name in enumerate(self.names)
            if name not in blocked and _TOLD_BY.get(name, name) not in blocked
        ]

    def _session(self, rule: comparisons.Rule) -> "_Session":
        """At most so many pairs, chosen by their hash; and how many pairs each stands for."""
        every = max(1, -(-pairs_made_by(self.connection, rule) // PAIRS_PER_SESSION))
        joined = f"""record l JOIN record r ON {comparisons.as_sql(rule, self.columns)} AND l.unique_id < r.unique_id
            WHERE hash(l.unique_id, r.unique_id, {self.seed}) % {every} = 0"""
        active = self._active(rule)
        whole = [place for place in range(len(self.names)) if place not in active] if len(rule) == 1 else []
        return _Session(" + ".join(rule), self._patterns(joined), float(every), active, whole)

    def _random_pairs(self) -> str:
        return _random_pairs(self.rows, self.seed, comparisons.can_be_one(self.columns))

    def _patterns(self, pairs: str) -> Patterns:
        columns = ", ".join(f"{side}.{name} AS {name}_{side}" for name in features.COLUMNS for side in ("l", "r"))
        cases = [_case(comparison) for comparison in self.settings["comparisons"]]
        sql = f"""SELECT {", ".join(f"{case} AS level_{place}" for place, case in enumerate(cases))}, count(*)::DOUBLE AS n
            FROM (SELECT {columns} FROM {pairs}) GROUP BY ALL ORDER BY ALL"""  # noqa: S608  # our own names and rules
        counted = self.connection.execute(sql).fetchnumpy()
        levels = np.column_stack([counted[f"level_{place}"] for place in range(len(cases))]).astype(np.int64)
        return Patterns(levels, counted["n"].astype(np.float64), tuple(len(levels) for levels in self.levels))

    def _write(self, matches: Levels, strangers: Levels, classes: learning.Classes) -> None:
        self.settings["probability_two_random_records_match"] = classes.share
        if classes.related:
            shares = {self.names[place]: float(classes.alike[place]) for place in sorted(self.own)}
            self.settings[relatives.RELATIVES] = relatives.kept(classes.share, classes.related, shares)
        for levels, alike, unlike in zip(self.levels, matches, strangers, strict=True):
            for level, match, stranger in zip(levels, alike, unlike, strict=True):
                level["u_probability"] = float(max(stranger, RAREST))
                level["m_probability"] = float(max(match, min(SELDOM, stranger * 100)))

    def _unseen(self, matches: Levels) -> list[str]:
        """Levels that no match of the training had: what they weigh is assumed."""
        return [
            f"{name}: {level['label_for_charts']}"
            for name, levels, shares in zip(self.names, self.levels, matches, strict=True)
            for level, share in zip(levels, shares, strict=True)
            if not share
        ]


def _depth(matches: npt.NDArray[np.float64], strangers: npt.NDArray[np.float64]) -> int:
    """How many levels, from the first on, are agreement: far likelier of one person than of two."""
    telling = matches >= _FAR_LIKELIER * strangers
    return max(1, int(np.argmin(telling)) if not telling.all() else telling.size - 1)


_FAR_LIKELIER: Final = 8.0


def _shares(counts: Levels) -> Levels:
    return [one / one.sum() for one in counts]


def _case(comparison: Mapping[str, Any]) -> str:
    """SQL for the place of the first level that holds, -1 where there is nothing to compare."""
    whens, place = [], 0
    for level in comparison["comparison_levels"]:
        if level.get("is_null_level"):
            whens.append(f"WHEN {level['sql_condition']} THEN -1")
        elif level["sql_condition"] == "ELSE":
            whens.append(f"ELSE {place}")
        else:
            whens.append(f"WHEN {distances.quickly(level['sql_condition'])} THEN {place}")
            place += 1
    return f"CASE {' '.join(whens)} END"


def _is_sampled(rows: int) -> bool:
    return rows * (rows - 1) // 2 > RANDOM_PAIRS


def _random_pairs(rows: int, seed: int, can_be_one: str) -> str:
    """All pairs of few records; of many, for each record the same number of others, chosen by hash."""
    if not _is_sampled(rows):
        return f"record l JOIN record r ON l.unique_id < r.unique_id AND {can_be_one}"
    each = -(-RANDOM_PAIRS // rows)
    placed = "(SELECT *, row_number() OVER (ORDER BY unique_id) - 1 AS place FROM record)"
    return f"""(SELECT *, hash(place, turn, {seed}) % {rows} AS opposite FROM {placed}, range({each}) AS t(turn)) l
        JOIN {placed} r ON r.place = l.opposite AND r.place <> l.place AND {can_be_one}"""  # noqa: S608  # numbers of our own


def _calibrated(connection: DuckDBPyConnection, model: FrozenModel, began: float) -> FrozenModel:
    """Let the scores of the sample itself set the prior and the thresholds."""
    scoring.score_batch(connection, model)
    # In one order: two threads write pairs as they come, and the last digit of a sum is enough to move a threshold.
    weights = connection.execute("SELECT weight FROM pair ORDER BY weight").fetchnumpy()["weight"]
    rows = model.metadata["rows"]
    before = model.settings["probability_two_random_records_match"]
    prior = thresholds.implied_prior(weights, before, rows * (rows - 1) / 2)
    chosen = thresholds.choose(weights + thresholds.log_odds(prior) - thresholds.log_odds(before))
    return FrozenModel(
        settings={**model.settings, "probability_two_random_records_match": prior},
        frequencies=model.frequencies,
        metadata={
            **model.metadata,
            "thresholds": dataclasses.asdict(chosen),
            "seconds": round(time.perf_counter() - began, 3),
        },
    )


def count_records(connection: DuckDBPyConnection) -> int:
    return int(connection.execute("SELECT count(*) FROM record").fetchall()[0][0])


def affordable(connection: DuckDBPyConnection, rules: Iterable[comparisons.Rule], rows: int) -> list[comparisons.Rule]:
    return [rule for rule in rules if 0 < pairs_made_by(connection, rule) <= _most(rows)]


def _most(rows: int) -> int:
    return max(MOST_PAIRS_OF_SMALL_DATA, PAIRS_PER_RECORD * rows)


def chosen_rules(
    connection: DuckDBPyConnection, rules: Iterable[comparisons.Rule], rows: int
) -> tuple[list[comparisons.Rule], list[dict[str, Any]]]:
    """The rules that each keep to the budget, the cheapest first, and what was set aside: common values, whole rules."""
    priced, set_aside = [], []
    for rule in rules:
        pairs = pairs_made_by(connection, rule)
        if pairs > _most(rows):
            rule, values = without_common_values(connection, rule)  # noqa: PLW2901  # the rule goes on without them
            set_aside.append({"rule": _named(rule), "pairs": pairs, "values": values})
            pairs = pairs_made_by(connection, rule) if values else 0
        if 0 < pairs <= _most(rows):
            priced.append((pairs, rule))
    return [rule for _, rule in sorted(priced)], set_aside


COMMON: Final = 200  # records that share a key, from which the key is too common to compare them all


def without_common_values(connection: DuckDBPyConnection, rule: comparisons.Rule) -> tuple[comparisons.Rule, int]:
    """The rule without its commonest keys, and how many those are. One junk e-mail must not cost all e-mails."""
    keys = f"concat_ws(chr(31), {', '.join(rule)})"
    known = " AND ".join(f"{key} IS NOT NULL" for key in rule)
    found = connection.execute(
        f"SELECT {keys} FROM record WHERE {known} GROUP BY ALL HAVING count(*) > $common ORDER BY count(*) DESC, 1 LIMIT $most",  # noqa: S608  # keys are our own
        {"common": COMMON, "most": _MOST_COMMON_VALUES + 1},
    ).fetchall()
    if not 0 < len(found) <= _MOST_COMMON_VALUES:
        return rule, 0
    common = _quoted("\x1e".join(f"\x1f{value}\x1f" for (value,) in found))
    between = f"concat_ws(chr(31), '', {', '.join(rule)}, '')"
    # A text and no list: of a list DuckDB makes a join of its own above that of the records, which then makes all pairs.
    return (f"CASE WHEN NOT contains({common}, {between}) THEN {rule[0]} END", *rule[1:]), len(found)


_MOST_COMMON_VALUES: Final = 200


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def pairs_made_by(connection: DuckDBPyConnection, rule: comparisons.Rule) -> int:
    keys = ", ".join(rule)
    known = " AND ".join(f"{key} IS NOT NULL" for key in rule)
    sql = f"""
        SELECT COALESCE(sum(n * (n - 1) // 2), 0) FROM (
            SELECT count(*) AS n FROM record WHERE {known} GROUP BY {keys}
        )"""  # noqa: S608  # keys are our own
    return int(connection.execute(sql).fetchall()[0][0])


def _blank_settings(
    made: list[ComparisonCreator | dict[str, Any]], rules: list[comparisons.Rule], columns: frozenset[str]
) -> dict[str, Any]:
    return SettingsCreator(
        link_type="dedupe_only",
        comparisons=made,
        blocking_rules_to_generate_predictions=[
            CustomRule(rule)
            for rule in (
                *(comparisons.as_sql(rule, columns) for rule in rules),
                *comparisons.crossed_rules(columns),
            )
        ],
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=True,
    ).create_settings_dict("duckdb")


def _frequencies(connection: DuckDBPyConnection, settings: Mapping[str, Any], rows: int) -> dict[str, dict[str, float]]:
    """Of values that more than one person has; all others count as seen once (see `scoring`).

    How common a value is among people, not among records: of the records that have it, those are not counted that are
    likely of the same person.
    """
    others = settings["probability_two_random_records_match"] * (rows - 1)  # records of the same person, on average
    found = {}
    for column, kept in _kept_by_matches(settings).items():
        sql = f"""
            SELECT {column}, (n - $others * $kept * known / total) / known AS frequency
            FROM (SELECT {column}, count(*) AS n FROM record WHERE {column} IS NOT NULL GROUP BY {column}),
                (SELECT count({column})::DOUBLE AS known, count(*) AS total FROM record)
            WHERE n > 1 AND frequency > 1 / known ORDER BY {column}"""  # noqa: S608  # our own names of columns
        found[column] = dict(connection.execute(sql, {"others": others, "kept": kept}).fetchall())
    return found


def _kept_by_matches(settings: Mapping[str, Any]) -> dict[str, float]:
    """Columns whose values have frequencies, and how many of the records of one person agree on them."""
    kept = {}
    for comparison in settings["comparisons"]:
        so_far = 0.0
        for level in scoring.scored_levels({"comparisons": [comparison]}):
            so_far += level["m_probability"]
            if "tf_adjustment_column" in level:
                kept[level["tf_adjustment_column"]] = min(so_far, 1.0)
    return dict(sorted(kept.items()))


def _rarest(connection: DuckDBPyConnection, settings: Mapping[str, Any]) -> dict[str, float]:
    columns = scoring.frequency_columns(settings)
    parts = ", ".join(f"1.0 / greatest(count({column}), 1)" for column in columns) or "NULL"
    row = connection.execute(f"SELECT {parts} FROM record").fetchall()[0]  # noqa: S608  # our own names
    return {column: float(share) for column, share in zip(columns, row, strict=False)}


def _digest(connection: DuckDBPyConnection) -> str:
    """Of all that the records say, in whatever order they came: each is numbered by its content."""
    query = "SELECT printf('%032x', bit_xor(md5_number(record::VARCHAR))) FROM record"
    return str(connection.execute(query).fetchall()[0][0])
