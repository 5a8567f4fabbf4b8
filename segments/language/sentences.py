"""A rule as a sentence, in English and in French. Written for people: no text of it is read back."""

from decimal import Decimal

from segments.language.errors import LanguageError
from segments.language.sentence_times import every, gender_of, of_length, said_period, said_zone, units_of
from segments.language.sentence_words import LOCALES, Words, variant
from segments.language.tree import (
    Active,
    Aggregate,
    And,
    Anniversary,
    Comparison,
    Computed,
    Condition,
    Consented,
    Count,
    Dated,
    Event,
    Learned,
    Listed,
    Measured,
    Member,
    Near,
    Node,
    Not,
    Or,
    Rank,
    Sample,
    Scalar,
    Score,
    Sequence,
    Since,
    Step,
    Trait,
    Value,
)  # fmt: skip
from segments.language.written import written_number

MOST_CHOICES = 10
"""Of a longer list the first ones are said, and how many more there are."""


def explain(tree: Node, locale: str) -> str:
    """One sentence in `en` or `fr` (regions such as `fr-BE` are understood)."""
    return _as_sentence(_said(tree, _words_in(locale)))


def explain_measured(measured: Measured, locale: str) -> str:
    """What is measured, as a sentence."""
    return _as_sentence(_measured(measured, _words_in(locale)))


def _words_in(locale: str) -> Words:
    words = LOCALES.get(locale.lower().replace("_", "-").split("-")[0])
    if words is None:
        raise LanguageError("unknown_locale", f"There are sentences in {', '.join(LOCALES)}")
    return words


def _as_sentence(sentence: str) -> str:
    first = len(sentence) - len(sentence.lstrip("("))
    return f"{sentence[:first]}{sentence[first : first + 1].upper()}{sentence[first + 1 :]}."


def _said(node: Node, words: Words) -> str:  # noqa: PLR0911  # one return for each kind of node
    match node:
        case And(children):
            return f" {words['and']} ".join(_joinable(child, words) for child in children)
        case Or(children):
            return f" {words['or']} ".join(_joinable(child, words) for child in children)
        case Not(child):
            said = _inside(child, words)
            return variant(words, "not", said.split(" ")[0]).format(child=said)
        case Event():
            return _event(node, words)
        case Sequence():
            return _sequence(node, words)
        case Rank():
            return _rank(node, words)
        case Trait() | Near() | Dated() | Anniversary():
            return _of_trait(node, words)
        case _:
            return _kept(node, words)


def _inside(node: Node, words: Words) -> str:
    said = _said(node, words)
    return f"({said})" if isinstance(node, And | Or) else said


def _joinable(node: Node, words: Words) -> str:
    """Where a "not" before "and" would seem to deny both, it is enclosed."""
    said = _inside(node, words)
    return f"({said})" if isinstance(node, Not) and not isinstance(node.child, And | Or) else said


# -- traits and what is kept of a profile ---------------------------------------------------------------------------


def _of_trait(node: Trait | Near | Dated | Anniversary, words: Words) -> str:
    match node:
        case Trait(condition):
            return _condition(condition, words)
        case Near(trait, latitude, longitude, metres):
            place = words["pair"].format(first=_digits(latitude, words), second=_digits(longitude, words))
            return words["near"].format(name=_quoted(trait, words), distance=_distance(metres, words), place=place)
        case Dated(trait, period):
            return words["dated"].format(name=_quoted(trait, words), period=said_period(period, words))
        case Anniversary(trait, days, zone):
            template = variant(words, "anniversary", {0: "today", 1: "tomorrow"}.get(days, ""))
            return template.format(name=_quoted(trait, words), days=days, zone=said_zone(zone, words))


def _kept(  # noqa: PLR0911  # one return for each kind of node
    node: Learned | Score | Member | Consented | Computed | Sample | Listed, words: Words
) -> str:
    match node:
        case Learned(model, group):
            return words["learned"].format(group=_quoted(group, words), model=_quoted(model, words))
        case Score(model, comparison, value):
            return words["score"].format(model=_quoted(model, words), condition=_number_test(comparison, value, words))
        case Member(name):
            return words["member"].format(name=_quoted(name, words))
        case Consented(name):
            return words["consented"].format(name=_quoted(name, words))
        case Computed(name, comparison, value):
            return words["computed"].format(name=_quoted(name, words), condition=_test(comparison, value, words))
        case Sample(name, begins, ends):
            return words["sample"].format(
                name=_quoted(name, words), begins=_digits(begins, words), ends=_percent(ends, words)
            )
        case Listed(name):
            return words["listed"].format(name=_quoted(name, words))


def _distance(metres: Decimal, words: Words) -> str:
    if metres < 1_000:
        return words["metres"].format(number=_digits(metres, words))
    return words["kilometres"].format(number=_digits(metres / 1_000, words))


def _rank(rank: Rank, words: Words) -> str:
    amount = _digits(rank.top.amount, words)
    is_first = rank.top.amount == 1 and not rank.top.is_percent
    way = "percent" if rank.top.is_percent else "single" if is_first else ""
    among = words["among"].format(name=_quoted(rank.among, words)) if rank.among else ""
    of = rank.of
    return variant(words, "lowest" if rank.is_lowest else "top", way).format(
        amount=_percent(rank.top.amount, words) if rank.top.is_percent else amount,
        ranked=_measured(of, words) if isinstance(of, Measured) else _path(of.name, of.inside, words),
        among=among,
        refresh=every(rank.refresh, words),
    )


# -- comparisons ----------------------------------------------------------------------------------------------------


def _condition(condition: Condition, words: Words) -> str:
    said = _objects(condition.has, words) if condition.has else _test(condition.comparison, condition.value, words)
    case = words["ignoring_case"] if condition.ignores_case else ""
    return f"{_path(condition.name, condition.inside, words)} {said}{case}"


def _objects(conditions: tuple[Condition, ...], words: Words) -> str:
    said = f" {words['and']} ".join(_condition(each, words) for each in conditions)
    return words["has"].format(value=said if len(conditions) == 1 else f"({said})")


def _path(name: str, inside: tuple[str, ...], words: Words) -> str:
    said = _quoted(name, words)
    for key in inside:
        said = words["path"].format(key=_quoted(key, words), object=said)
    return said


def _test(comparison: Comparison, value: Value, words: Words, kind: str = "") -> str:
    """`kind` is of what is compared, where a language says it in another way."""
    template = words.get(f"{kind}_{comparison}") or words[comparison]
    if not isinstance(value, tuple):
        return template.format(value="" if value is None else _value(value, words))
    if comparison is Comparison.BETWEEN:
        return template.format(first=_value(value[0], words), second=_value(value[1], words))
    return template.format(value=_choices(comparison, value, words))


def _number_test(comparison: Comparison, value: Value, words: Words) -> str:
    return _test(comparison, value, words, "number")


def _choices(comparison: Comparison, choices: tuple[Scalar, ...], words: Words) -> str:
    said = [_value(each, words) for each in choices[:MOST_CHOICES]]
    more = len(choices) - len(said)
    rest = variant(words, "more", comparison).format(count=more) if more else ""
    return variant(words, "list", comparison).join(said) + rest


def _value(value: Scalar, words: Words) -> str:
    if isinstance(value, bool):
        return words["true" if value else "false"]
    return _quoted(value, words) if isinstance(value, str) else _digits(value, words)


def _digits(number: Decimal, words: Words) -> str:
    return written_number(number).replace(".", words["point"])


def _percent(number: Decimal, words: Words) -> str:
    return words["percent"].format(number=_digits(number, words))


def _quoted(text: str, words: Words) -> str:
    return f"{words['open']}{text}{words['close']}"


# -- events ---------------------------------------------------------------------------------------------------------


def _event(event: Event, words: Words) -> str:
    measured = event.measured
    if plain := _plain_count(event):
        step = _step(Step(measured.event, measured.where), words)
        return words[plain].format(event=step, period=said_period(measured.period, words))
    kind = "number" if measured.is_number else "made"
    return f"{_measured(measured, words)} {_test(event.comparison, event.value, words, kind)}"


def _plain_count(event: Event) -> str | None:
    """People say "happened" and "did not happen", not "the number is at least 1"."""
    if event.measured.measure != Count():
        return None
    asked = (event.comparison, event.value)
    if asked in {(Comparison.GREATER_OR_EQUAL, Decimal(1)), (Comparison.GREATER, Decimal(0))}:
        return "once"
    return "never" if asked in {(Comparison.EQUALS, Decimal(0)), (Comparison.LESS, Decimal(1))} else None


def _measured(measured: Measured, words: Words) -> str:
    parts = {
        "event": _step(Step(measured.event, measured.where), words),
        "period": said_period(measured.period, words),
    }
    match measured.measure:
        case Count():
            return words["count"].format(**parts)
        case Aggregate(of, made_of):
            return words[of].format(property=_path(made_of.name, made_of.inside, words), **parts)
        case Active(unit, zone):
            ways = {"units": units_of(unit, words), "zone": said_zone(zone, words)}
            return variant(words, "active", words.get(f"vowel_{unit}", "")).format(**ways, **parts)
        case Since(end, unit):
            template = variant(words, f"since_{end}", words.get(f"vowel_{unit}") or gender_of(unit, words))
            return template.format(units=units_of(unit, words), **parts)


def _step(step: Step, words: Words) -> str:
    said = f" {words['and']} ".join(_condition(condition, words) for condition in step.where)
    where = words["where"].format(conditions=said) if said else ""
    return f"{_quoted(step.event, words)}{where}"


def _sequence(sequence: Sequence, words: Words) -> str:
    steps = _joined("then", sequence.steps, words)
    period = said_period(sequence.period, words)
    is_chain = len(sequence.steps) > 1
    return words["chain" if is_chain else "single_step"].format(
        steps=steps,
        within=of_length("within", sequence.within, words) if sequence.within else "",
        without=_without(sequence, words),
        period=period,
        first=words["first_of_chain"].format(period=period) if period else "",
        then_not=_then_not(sequence, words),
    )


def _joined(name: str, steps: tuple[Step, ...], words: Words) -> str:
    """One event after the other, by a template that takes what is said already and one more."""
    said = _step(steps[0], words)
    for step in steps[1:]:
        said = words[name].format(events=said, event=_step(step, words))
    return said


def _without(sequence: Sequence, words: Words) -> str:
    if not sequence.without:
        return ""
    return words["without"].format(events=_joined("nor", sequence.without, words))


def _then_not(sequence: Sequence, words: Words) -> str:
    if sequence.then_not is None or sequence.within is None:
        return ""
    return of_length("then_not", sequence.within, words, event=_step(sequence.then_not, words))
