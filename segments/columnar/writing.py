"""JSON that is the same of two values that are the same: what is counted as different is told apart by it."""

from typing import Final

from sqlglot import exp

from segments.columnar.dialects import Dialect, call, text, when

_ESCAPES: Final = (
    ("\\", "\\\\"), ('"', '\\"'), ("\b", "\\b"), ("\f", "\\f"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"),
    *((chr(code), f"\\u{code:04x}") for code in range(1, 32) if chr(code) not in "\b\f\n\r\t"),
)  # fmt: skip


def written(words: Dialect, value: exp.Expr) -> exp.Expr:
    """Of a text, a number or a truth value; NULL of all else."""
    truth = when(exp.EQ(this=words.truth_of(value.copy()), expression=exp.true()), text("true"), text("false"))
    return exp.Case(
        ifs=[
            exp.If(this=words.is_text(value.copy()), true=_quoted(words, words.text_of(value.copy()))),
            exp.If(this=words.is_truth(value.copy()), true=truth),
            exp.If(this=words.is_number(value.copy()), true=_digits(words, words.number_of(value.copy()))),
        ],
        default=exp.null(),
    )


def _digits(words: Dialect, number: exp.Expr) -> exp.Expr:
    """1.0 is 1, and there is no -0."""
    plain = words.string(number)
    short = words.trimmed(words.trimmed(plain.copy(), "0"), ".")
    digits = when(words.contains(plain.copy(), text(".")), short, plain.copy())
    return when(exp.EQ(this=digits.copy(), expression=text("-0")), text("0"), digits)


def _quoted(words: Dialect, plain: exp.Expr) -> exp.Expr:
    for character, escaped in _ESCAPES:
        plain = words.replaced(plain, text(character), text(escaped))
    return call("concat", text('"'), plain, text('"'))
