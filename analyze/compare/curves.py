"""Each family's measures against L0 in each layer (the table `points`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from analyze.runs.configurations import Configuration
from analyze.runs.families import families
from analyze.statistics.estimates import Estimates, Key
from analyze.tables import Row, markdown, short, trained_on, with_interval
from data.store.stats import Subset
from train.measures import MEASURES, Shown, title_of

HELD_OUT, PATCHED = "held_out", "patched"  # samples: stored rows, or patched positions of the language model


def curve_lines(estimates: Estimates, configurations: Sequence[Configuration], sample: str) -> list[Row]:
    """Return one line per family, hook, noise setting, measure and configuration, in ascending order of L0.

    Configurations that never fire (L0 = 0) are left out.

    estimates: of configurations (`of_configurations`).
    sample: HELD_OUT or PATCHED, what the estimates, including L0, were measured on.
    """
    lines: list[Row] = []
    targets = {configuration.name: configuration.target_l0 for configuration in configurations}
    hooks = list(dict.fromkeys(key.hook for key in estimates))
    for family, members in families(configurations).items():
        for hook, noise in product(hooks, (False, True)):
            l0 = {
                member.name: estimate.value for member in members
                if (estimate := estimates.get(Key(member.name, hook, noise, Subset.ALL, "l0"))) and estimate.value > 0
            }  # fmt: skip
            for measure, name in product(measures_of_curves(estimates), sorted(l0, key=lambda name: l0[name])):
                point = estimates[Key(name, hook, noise, Subset.ALL, measure)]
                low, high = point.interval
                lines.append({
                    "sample": sample, "family": family, "hook": hook, "noise": noise, "run": name,
                    "seeds": point.n_seeds, "target": targets[name], "l0": l0[name], "measure": measure,
                    "value": point.value, "low": low, "high": high,
                })  # fmt: skip
    return lines


def compared_measures(estimates: Estimates) -> list[str]:
    """Return the measures that are compared at equal L0 and were taken."""
    measured = {key.measure for key in estimates}
    return [m.name for m in MEASURES if Shown.AT_EQUAL_L0 in m.shown and m.name in measured]


def measures_of_curves(estimates: Estimates) -> list[str]:
    """Return the measures that are compared at equal L0 and, if it was counted, the share of dead features."""
    dead = any(key.measure == "dead" for key in estimates)
    return [*compared_measures(estimates), *(["dead"] if dead else [])]


def curve_table(lines: Sequence[Row]) -> str:
    """Return `curve_lines` of one sample as Markdown: a row per run, hook and noise, a column per measure."""
    measures = list(dict.fromkeys(line["measure"] for line in lines))
    cells = {(li["hook"], li["family"], li["run"], li["noise"], li["measure"]): li for li in lines}
    line_of_row = {key[:4]: line for key, line in cells.items()}
    rows = [
        [hook, run, "on" if noise else "off", trained_on(line), short(line["l0"]),
         *(with_interval(cells[hook, family, run, noise, name]) if (hook, family, run, noise, name) in cells else ""
           for name in measures)]
        for (hook, family, run, noise), line in line_of_row.items()
    ]  # fmt: skip
    return markdown(["hook", "run", "noise", "trained on", "L0", *map(title_of, measures)], rows)
