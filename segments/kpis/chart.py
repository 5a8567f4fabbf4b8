"""Where a curve, its dots and its axes lie in a picture of WIDTH by HEIGHT; the page draws it, in its own colours."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 220
LEFT: Final = 64
RIGHT: Final = 12
ABOVE: Final = 12
BELOW: Final = 26
MOST_LABELS: Final = 7
SMALLEST: Final = 1e-9  # what an axis tells from nought


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a period; None is a gap in the curve."""

    label: str
    value: float | None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    title: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """Pieces of a line as SVG points, and a dot for each value."""

    pieces: Sequence[str]
    dots: Sequence[Dot]


@dataclass(frozen=True, slots=True)
class Chart:
    own: Curve
    other: Curve
    ticks: Sequence[tuple[float, str]]
    labels: Sequence[tuple[float, str]]
    left: int = field(default=LEFT)
    right: int = field(default=WIDTH - RIGHT)


def chart_of(own: Sequence[Point], other: Sequence[Point], written: Callable[[float], str]) -> Chart | None:
    """One curve, and a second one to compare with, over the same periods. None where there is no value at all.

    The axis begins at nought, below it where a value does. `written` says a value in words.
    """
    values = [point.value for point in (*own, *other) if point.value is not None]
    if not values:
        return None
    ticks = ticks_of(min(0.0, *values), max(values))

    def height(value: float) -> float:
        share = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return round(HEIGHT - BELOW - share * (HEIGHT - ABOVE - BELOW), 1)

    return Chart(
        own=_curve(own, height, written),
        other=_curve(other, height, written),
        ticks=[(height(tick), written(tick)) for tick in ticks],
        labels=_labels(own),
    )


def ticks_of(least: float, most: float) -> list[float]:
    """Round numbers that hold both, at most six."""
    span = most - least if most - least > SMALLEST else 1.0
    size = 10.0 ** math.floor(math.log10(span / 4))
    step = next(size * factor for factor in (1, 2, 5, 10) if span / (size * factor) <= 4)
    first, last = math.floor(least / step), math.ceil(most / step)
    return [round(place * step, 12) for place in range(first, max(last, first + 1) + 1)]


def _curve(points: Sequence[Point], height: Callable[[float], float], written: Callable[[float], str]) -> Curve:
    dots: list[Dot] = []
    pieces: list[list[str]] = [[]]
    for place, point in enumerate(points):
        if point.value is None:
            pieces.append([])
            continue
        x, y = _across(place, len(points)), height(point.value)
        dots.append(Dot(x, y, f"{point.label}: {written(point.value)}", point.is_open))
        pieces[-1].append(f"{x},{y}")
    return Curve([" ".join(piece) for piece in pieces if len(piece) > 1], dots)


def _across(place: int, count: int) -> float:
    return round(LEFT + (place + 0.5) * (WIDTH - LEFT - RIGHT) / count, 1)


def _labels(points: Sequence[Point]) -> list[tuple[float, str]]:
    every = max(1, math.ceil(len(points) / MOST_LABELS))
    last = len(points) - 1
    return [(_across(n, len(points)), each.label) for n, each in enumerate(points) if (last - n) % every == 0]
