"""Figures: small multiples of curves, in colours that the colour-blind tell apart, with intervals as bars.

Not here: the figures' numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed

from matplotlib import pyplot
from matplotlib.figure import Figure

from analyze.measures import ALL
from analyze.tables import Row

# Okabe and Ito 2008
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*"
NAMES = {
    "l0": "L0", "l2": "L2", "explained_variance": "explained variance", "suppression": "suppression  Σ‖x̂‖ / Σ‖x‖",
    "gamma": "γ", "nats_lost": "nats lost a token", "score": "reconstruction score",
    "kl": "KL(clean ‖ patched), nats a token", "agreement": "share of tokens predicted alike",
}  # fmt: skip


def pareto(lines: Sequence[Row], measure: str) -> Figure:
    """A measure against L0 for each family, noise off (filled, solid) and on (hollow, dotted): a panel a hook.

    `lines` are pareto.curve_lines's.
    """
    here = [line for line in lines if line["measure"] == measure]
    hooks, kinds = (
        list(dict.fromkeys(key))
        for key in ((li["hook"] for li in here), ((li["family"], li["noise"]) for li in here))
    )  # fmt: skip
    family_names = list(dict.fromkeys(family for family, _ in kinds))
    columns = min(len(hooks), 3)
    figure, axes = pyplot.subplots(
        math.ceil(len(hooks) / columns), columns, squeeze=False, sharey=False, layout="constrained",
        figsize=(3.6 * columns, 2.8 * math.ceil(len(hooks) / columns) + 0.6),
    )  # fmt: skip
    for panel, hook in zip(axes.flat, hooks, strict=False):
        for family, noise in kinds:
            points = [li for li in here if (li["hook"], li["family"], li["noise"]) == (hook, family, noise)]
            i = family_names.index(family) % len(COLOURS)
            values = [p["value"] for p in points]
            bars = [[p["value"] - p["low"] for p in points], [p["high"] - p["value"] for p in points]]
            panel.errorbar(
                [p["l0"] for p in points], values, yerr=[[max(b, 0) for b in side] for side in bars],
                color=COLOURS[i], marker=MARKERS[i], markersize=5, linestyle=":" if noise else "-", linewidth=1.2,
                markerfacecolor="white" if noise else COLOURS[i], elinewidth=0.8,
                label=f"{family}, noise on" if noise else family,
            )  # fmt: skip
        panel.set_xscale("log")
        panel.set_title(hook, fontsize=9)
        panel.grid(alpha=0.25)
    for panel in axes.flat[len(hooks) :]:
        panel.set_visible(False)
    figure.supxlabel("L0 (active features a token)")
    figure.supylabel(NAMES.get(measure, measure))
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 3), frameon=False)
    return figure


def norms(lines: Sequence[Row], histogram: Sequence[Row]) -> Figure:
    """Distributions of ‖x‖₂ by hook, and their means ± one standard deviation over the layers: the post's Figs. 3, 4.

    `lines` and `histogram` are norms.norm_lines's and histogram_lines's, of one model.
    """
    hooks = list(dict.fromkeys(line["hook"] for line in lines))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    shades = pyplot.get_cmap("viridis")
    for i, hook in enumerate(hooks):
        bins = [b for b in histogram if b["hook"] == hook and b["subset"] == ALL and b["low"] > 0]
        total = sum(b["rows"] for b in bins)
        left.plot(
            [(b["low"] * b["high"]) ** 0.5 for b in bins], [b["rows"] / total for b in bins], drawstyle="steps-mid",
            color=shades(i / max(len(hooks) - 1, 1) * 0.95), linewidth=1.2, label=_layer(hook),
        )  # fmt: skip
    left.set_xscale("log")
    left.set_xlabel("‖x‖₂")
    left.set_ylabel("share of rows (bins of ⅛ octave)")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", title="layer", ncols=12, fontsize=8, frameon=False)
    for i, subset in enumerate(dict.fromkeys(line["subset"] for line in lines)):
        here = [line for line in lines if line["subset"] == subset]
        right.errorbar(
            [j + 0.12 * i for j in range(len(here))], [line["mean"] for line in here],
            yerr=[line["variance"] ** 0.5 for line in here], color=COLOURS[i], marker=MARKERS[i], linestyle="-",
            capsize=2, linewidth=1.2, label="all positions" if subset == ALL else "without position 0",
        )  # fmt: skip
    right.set_xticks(range(len(hooks)), [_layer(hook) for hook in hooks])
    right.set_xlabel("layer")
    right.set_ylabel("‖x‖₂, mean ± standard deviation")
    right.legend(frameon=False)
    for panel in (left, right):
        panel.grid(alpha=0.25)
    figure.suptitle(lines[0]["model"])
    return figure


def _layer(hook: str) -> str:
    return hook.split(".")[1] if hook.startswith("blocks.") else hook


def save(figure: Figure, path: Path) -> None:
    """As PNG."""
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
