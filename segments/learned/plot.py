"""The picture of a learned segmentation: the groups, and why this many of them. The same input gives the same bytes."""

from collections.abc import Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from segments.learned.clustering import Candidate, Clustering, Demands
from segments.learned.description import Group
from segments.learned.features import Values

MOST_POINTS = 1_200  # more would only make the file heavy
# Okabe and Ito's colours, told apart by colour-blind people too; then darker and lighter ones for many groups.
COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7",
    "#525252", "#B8A000", "#004C6D", "#8C4A00", "#6A3D9A", "#7FBF7B",
)  # fmt: skip
DOT_SIZES = (3, 4.5, 6.5, 9, 12)
WIDTH, PANEL, MARGIN_ABOVE, MARGIN_BELOW, LEGEND_LINE = 13.0, 4.2, 0.4, 0.55, 0.215  # inches
STYLE: Any = {  # matplotlib types the keys one by one
    "svg.hashsalt": "tessera",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(values: Values, clustering: Clustering, groups: Sequence[Group], demands: Demands, *, seed: int) -> str:
    """An SVG with the groups on the left and the criteria of every k on the right."""
    with mpl.rc_context(STYLE):
        legend = LEGEND_LINE * max(len(groups), 4) + 0.3
        height = PANEL + MARGIN_BELOW + MARGIN_ABOVE + legend
        bottom, top = (legend + MARGIN_BELOW) / height, PANEL / height
        figure = Figure(figsize=(WIDTH, height))
        left = figure.add_axes((0.055, bottom, 0.52, top))
        right = figure.add_axes((0.645, bottom, 0.335, top))
        _draw_groups(left, values, clustering, groups, seed)
        _draw_criteria(right, clustering, demands)
        svg = StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Title": "Learned groups"})
    return svg.getvalue()


def _draw_groups(axes: Axes, values: Values, clustering: Clustering, groups: Sequence[Group], seed: int) -> None:
    drawn, jitter = _drawn(values, seed)
    x, y = values[drawn, 0] + 1, values[drawn, 1] * jitter
    sizes = _size_classes(values[:, 2])[drawn]
    for label, group in enumerate(groups):
        colour = COLOURS[label % len(COLOURS)]
        own = clustering.labels[drawn] == label
        for size in range(len(DOT_SIZES)):
            those = own & (sizes == size)
            axes.plot(x[those], y[those], "o", color=colour, alpha=0.45, markersize=DOT_SIZES[size], markeredgewidth=0)
        share = group.size / len(values)
        axes.plot([], [], "o", color=colour, markersize=7, label=f"{group.name.en} ({group.size:,}, {share:.0%})")
    axes.set(xscale="log", yscale="log", xlabel="days since the last purchase, plus one", ylabel="purchases")
    axes.set_title("Groups (a dot is a customer, its size the money spent)", loc="left")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    _write_legend(axes)


def _size_classes(money: Values) -> NDArray[np.int64]:
    """A few sizes instead of one for each dot: the file shrinks to a tenth."""
    bounds = np.quantile(money, [0.5, 0.75, 0.9, 0.97])
    classes: NDArray[np.int64] = np.searchsorted(bounds, money, side="left")
    return classes


def _drawn(values: Values, seed: int) -> tuple[NDArray[np.int64], Values]:
    """Which customers are drawn, and a little shake, for most have the same small number of purchases."""
    random = np.random.default_rng(seed)
    drawn = np.sort(random.permutation(len(values))[:MOST_POINTS])
    return drawn, random.uniform(0.9, 1.1, len(drawn))


def _draw_criteria(axes: Axes, clustering: Clustering, demands: Demands) -> None:
    candidates = clustering.candidates
    ks = [candidate.k for candidate in candidates]
    curves = {
        "stability (adjusted Rand index)": [candidate.stability for candidate in candidates],
        "silhouette": [candidate.silhouette for candidate in candidates],
        "share of the smallest group": [candidate.smallest_share for candidate in candidates],
    }
    axes.axvspan(clustering.chosen.k - 0.4, clustering.chosen.k + 0.4, color=COLOURS[0], alpha=0.12, linewidth=0)
    axes.axhline(demands.stability, color=COLOURS[0], linestyle=":", linewidth=1)
    for (name, curve), colour, marker in zip(curves.items(), COLOURS, "os^", strict=False):
        axes.plot(ks, curve, marker + "-", color=colour, label=name)
        _hollow_refused(axes, candidates, curve, colour, marker)
    axes.plot([], [], "o", color="#525252", markerfacecolor="white", label="hollow: this number of groups is refused")
    axes.set(xlabel="number of groups", ylim=(0, 1.05), xticks=ks, xlim=(min(ks) - 0.6, max(ks) + 0.6))
    axes.set_title(f"Why {clustering.chosen.k} groups", loc="left")
    _write_legend(axes)


def _hollow_refused(
    axes: Axes, candidates: Sequence[Candidate], curve: Sequence[float], colour: str, marker: str
) -> None:
    refused = [place for place, candidate in enumerate(candidates) if candidate.refusal]
    xs, ys = [candidates[place].k for place in refused], [curve[place] for place in refused]
    axes.plot(xs, ys, marker, color=colour, markerfacecolor="white")


def _write_legend(axes: Axes) -> None:
    below = -(MARGIN_BELOW + 0.05) / PANEL
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, below), borderaxespad=0, labelspacing=0.35)
