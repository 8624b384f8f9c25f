"""Each family's measures against L0 in each layer (the table `points`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from analyze.runs.configurations import Configuration
from analyze.runs.families import families
from analyze.statistics.estimates import Estimates, Key
from analyze.tables import markdown, short, with_interval
from data.store.stats import Subset
from train.measures import MEASURES, Shown, possible, title_of

HELD_OUT, PATCHED = "held_out", "patched"  # samples: stored rows, or patched positions of the language model


@dataclass(frozen=True)
class PointRow:
    """A measure of a configuration at a hook, with its 95 % interval from `low` to `high`, beside its L0.

    sample: HELD_OUT or PATCHED, what the measure and L0 were measured on.
    target: the L0 that the configuration was trained for; None without one.
    """

    sample: str
    family: str
    hook: str
    noise: bool
    run: str
    seeds: int
    target: float | None
    l0: float
    measure: str
    value: float
    low: float
    high: float


def point_rows(estimates: Estimates, configurations: Sequence[Configuration], sample: str) -> list[PointRow]:
    """Return one row per family, hook, noise setting, measure and configuration, in ascending order of L0.

    Configurations that never fire (L0 = 0) are left out.

    estimates: of configurations (`of_configurations`). sample: what they were measured on.
    """
    rows = []
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
                rows.append(PointRow(
                    sample, family, hook, noise, name, point.n_seeds, targets[name], l0[name], measure, point.value,
                    *possible(measure, *point.interval),
                ))  # fmt: skip
    return rows


def compared_measures(estimates: Estimates) -> list[str]:
    """Return the measures that are compared at equal L0 and were taken."""
    measured = {key.measure for key in estimates}
    return [m.name for m in MEASURES if Shown.AT_EQUAL_L0 in m.shown and m.name in measured]


def measures_of_curves(estimates: Estimates) -> list[str]:
    """Return the measures that are compared at equal L0 and, if it was counted, the share of dead features."""
    dead = any(key.measure == "dead" for key in estimates)
    return [*compared_measures(estimates), *(["dead"] if dead else [])]


def curve_table(points: Sequence[PointRow], trained: Mapping[str, str]) -> str:
    """Return the points of one sample as Markdown: a row per run, hook and noise, a column per measure.

    trained: how far each configuration was trained, by name.
    """
    by_row: dict[tuple[str, str, str, bool, float], dict[str, str]] = {}
    for p in points:
        cells = by_row.setdefault((p.hook, p.family, p.run, p.noise, p.l0), {})
        cells[p.measure] = with_interval(p.value, p.low, p.high)
    measures = list(dict.fromkeys(point.measure for point in points))
    rows = [
        [hook, run, "on" if noise else "off", trained[run], short(l0), *(cells.get(name, "") for name in measures)]
        for (hook, _, run, noise, l0), cells in by_row.items()
    ]
    return markdown(["hook", "run", "noise", "trained on", "L0", *map(title_of, measures)], rows)
