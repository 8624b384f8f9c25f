"""Which figures a report has: the post's, under their numbers, and those that its readers asked for.

Each comes with the lines that it is drawn from. A figure without anything to draw is left out.

Not here: how they are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from analyze.compare import pareto
from analyze.compare.claims.l0_and_norm import fit_l0_to_norm
from analyze.measure.measurements import Measurements
from analyze.measure.norms import Norms, histogram_lines, norm_lines
from analyze.measure.patching.over_training import over_training_lines
from analyze.report.figures import activation, dictionary, layers
from analyze.report.figures import norms as norms_figure
from analyze.report.figures import pareto as pareto_figure
from analyze.report.figures import training as training_figure
from analyze.runs import training_curves
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Key
from analyze.tables import Row
from data.store.stats import Subset
from train.measures import Sample, Shown, measure_of, measures_on, title_of


@dataclass(frozen=True)
class Drawn:
    """A figure, what it shows, and its data; `name` is that of its files."""

    name: str
    title: str
    caption: str
    figure: Figure
    lines: Sequence[Row]


def draw(measurements: Measurements, norms: Norms) -> Iterator[Drawn]:
    """All figures, one after the other: the caller saves and closes each."""
    families = {
        name: [run.name for run in sorted(runs, key=lambda run: run.l1)] for name, runs in measurements.families.items()
    }
    yield from _norms(measurements, norms)
    yield from _training(measurements, families)
    yield from _layers(measurements, families)
    yield from _snapshots(measurements, families)
    yield from _dictionary(measurements)
    yield from _pareto(measurements)


Families = dict[str, list[str]]


def noisy(measurements: Measurements) -> bool:
    """Whether a run was trained with noise, so that it is measured with noise off and on."""
    return any(len(run.noises) > 1 for run in measurements.runs)


def has(measurements: Measurements, variant: str) -> bool:
    """Whether a run of this architecture is in the report."""
    return any(run.variant == variant for run in measurements.runs)


def _norms(measurements: Measurements, norms: Norms) -> Iterator[Drawn]:
    lines, histogram = norm_lines(norms), histogram_lines(norms)
    yield Drawn(
        "figure_03_norms", "Figures 3 and 4. Norms of the activations, layer by layer",
        "Left: the distribution of ‖x‖₂ over the training split, a line a layer. Right: its mean, and the "
        "range from its 5 % to its 95 % quantile, with and without position 0 of each context.",
        norms_figure.norms(lines, histogram), histogram,
    )  # fmt: skip
    sigmas = [run.settings.run.sigma for run in measurements.runs if run.variant == "nsae"]
    if any(sigmas):
        lines = activation.activation_lines()
        yield Drawn(
            "figure_05_activation", "Figure 5. NSAE's activation",
            "Noise of size σ moves a small feature a lot, and one near 1 hardly at all.",
            activation.activation(lines, max(sigmas)), lines,
        )  # fmt: skip


def _training(measurements: Measurements, families: Families) -> Iterator[Drawn]:
    lines = training_curves.curve_lines(measurements.training)
    held_out = [line for line in lines if line["split"] == "heldout"]
    for number, measure in ((1, "l1"), (2, "l0")):
        here = [line for line in as_trained(lines) if line["measure"] == measure and line["value"] > 0]
        if here:
            where = "training batches" if here[0]["split"] == "train" else "the held-out split"
            yield Drawn(
                f"figure_{number:02}_{measure}", f"Figure {number}. {title_of(measure)} over training, by layer",
                f"On {where}{', NSAE with its noise' * noisy(measurements)}; a line a layer, a panel a run.",
                training_figure.by_layer(here, measure), here,
            )  # fmt: skip
    for name, title, measures in (
        ("figure_06_suppression", "Figure 6. Feature suppression over training", ("suppression", "gamma")),
        ("figure_15_l2", "Figure 15. L2 over training", ("l2", "explained_variance")),
    ):
        here = [line for line in held_out if line["measure"] in measures]
        if here:
            yield Drawn(
                name, title, "Held-out split, mean over the layers that all runs have. "
                f"{'NSAE with noise off (solid) and on (dotted). ' * noisy(measurements)}Runs differ in L0, so heights "
                "alone rank no architecture.",
                training_figure.means(here, families, measures), here,
            )  # fmt: skip


def as_trained(lines: Sequence[Row]) -> list[Row]:
    """Of training batches, with noise where it is drawn; of the held-out split if it was recorded more often."""
    noisy = {line["run"] for line in lines if line["noise"]}
    several = [
        [line for line in lines if line["split"] == split and line["noise"] == (line["run"] in noisy)]
        for split in ("train", "heldout")
    ]
    return max(several, key=len)


def _layers(measurements: Measurements, families: Families) -> Iterator[Drawn]:
    family_of = {run: family for family, runs in families.items() for run in runs}
    points, fits = [], []
    for run in measurements.runs:
        for hook in run.hooks:
            l0 = measurements.value(run, hook, "l0")
            if l0 is not None and l0.value > 0:
                about = {"run": run.name, "family": family_of[run.name], "hook": hook}
                points.append({**about, "mean_norm": measurements.mean_norm[hook], "l0": l0.value})
        fits += _fit(measurements, run)
    by_run = {fit["run"]: fit for fit in fits}
    unknown = dict.fromkeys(("slope", "low", "high", "p", "rho", "intercept"))
    if points:
        yield Drawn(
            "figure_07_l0_against_norm", "Figure 7. L0 against the mean input norm",
            "A point a layer, held-out split, noise off; lines are least squares of log L0 on log ‖x‖₂, with 95 % "
            "intervals over layers and the p-value of a permutation test. Layers are few, and norm goes with depth.",
            layers.l0_against_norm(points, fits, families),
            [{**point, **(by_run.get(point["run"]) or unknown)} for point in points],
        )  # fmt: skip
    lines = [
        {"run": run.name, "hook": hook, "noise": noise, "measure": measure, "value": estimate.value,
         "low": estimate.interval[0], "high": estimate.interval[1]}
        for measure in ("l0", "l1") for run in measurements.runs for noise in (False, True) for hook in run.hooks
        if (estimate := measurements.held_out.get(Key(run.name, hook, noise, Subset.ALL, measure)))
        and estimate.value > 0
    ]  # fmt: skip
    only_l0 = [line for line in lines if line["measure"] == "l0"]
    if only_l0:
        yield Drawn(
            "figure_08_l0", "Figure 8. L0 over the layers",
            f"Held-out split{'; NSAE with noise off (solid) and on' * noisy(measurements)}.",
            layers.over_layers(only_l0, families, {"l0": measure_of("l0").axis_label}, log=True), only_l0,
        )  # fmt: skip
        off = [line for line in lines if not line["noise"]]
        yield Drawn(
            "figure_09_l1_beside_l0", "Figure 9. L1 beside L0",
            "L1 solid, L0 dashed." + " The baseline's L1 has the activations' units, so how steady their ratio is over "
            "the layers says more than how near they are." * has(measurements, "baseline"),
            layers.l1_beside_l0(off, families), off,
        )  # fmt: skip
    batch, judged = measurements.fires[0].all.batch, measurements.fires[0].all.rows
    silent, dead = f"features silent in a batch of {batch}", "dead fraction"
    activity = [
        {"run": one.run.name, "hook": one.hook, "noise": one.noise, "rows": judged, "measure": name, "value": value}
        for one in measurements.fires
        for name, value in ((silent, one.all.silent), (dead, one.all.dead))
    ]
    yield Drawn(
        "figure_16_silent", "Figure 16. What the post calls neuron activity, and dead features",
        f"Left: how many features do not fire once in a batch of {batch} held-out rows, which is what the author's "
        f"code counts. Right: the share that never fires in {judged:,} rows.",
        layers.over_layers(activity, families, {silent: silent, dead: dead}, log=False), activity,
    )  # fmt: skip


def _fit(measurements: Measurements, run: TrainedRun) -> list[Row]:
    found = fit_l0_to_norm(measurements, run)
    if found is None:
        return []
    low, high = found.slope.interval
    about = {"run": run.name, "slope": found.slope.value, "low": low, "high": high, "p": found.p, "rho": found.rho}
    return [{**about, "intercept": found.intercept}]


def _snapshots(measurements: Measurements, families: Families) -> Iterator[Drawn]:
    lines = over_training_lines(measurements.over_training)
    if not lines:
        return
    score = [line for line in lines if line["measure"] in ("score", "kl")]
    yield Drawn(
        "figure_10_score", "Figure 10. Reconstruction score over training",
        "Of the weights kept over training, mean over the layers, on few contexts: see the scope. Right: KL.",
        training_figure.means(score, families, ("score", "kl")), score,
    )  # fmt: skip
    closest = closest_in_l0(measurements)
    if closest is not None:
        hook, *runs = closest
        here = [li for li in lines if li["hook"] == hook and li["run"] in runs and not li["noise"]]
        yield Drawn(
            "figure_11_matched", f"Figure 11. {hook}, where L0 of baseline and NSAE is closest",
            "L0 and reconstruction score over training, noise off, with 95 % intervals over documents.",
            training_figure.one_layer(here, families, ("l0", "score")), here,
        )  # fmt: skip


def closest_in_l0(measurements: Measurements) -> tuple[str, str, str] | None:
    """(hook, baseline's run, NSAE's run) whose L0, noise off, differ by the smallest factor; None without such."""
    found: list[tuple[float, tuple[str, str, str]]] = []
    for pair in measurements.pairs():
        for one in pair.baseline:
            for other in pair.nsae:
                for hook in one.hooks:
                    first, second = measurements.value(one, hook, "l0"), measurements.value(other, hook, "l0")
                    if first and second and first.value > 0 and second.value > 0:
                        apart = max(first.value / second.value, second.value / first.value)
                        found.append((apart, (hook, one.name, other.name)))
    return min(found)[1] if found else None


def _dictionary(measurements: Measurements) -> Iterator[Drawn]:
    lines = [line for one in measurements.dictionaries for line in one.histograms]
    for name, title, of, label, log_x, log_y in (
        ("figure_12_norms", "Figure 12. Norms of live features", "norms of live features", "‖W_dec‖₂ of a feature",
         True, False),
        ("figure_12_norms_relative", "Figure 12, over the inputs' norm", "norms over the mean input norm",
         "‖W_dec‖₂ of a live feature over the layer's mean ‖x‖₂", True, False),
        ("figure_12_norms_dead", "Figure 12, dead features", "norms of dead features", "‖W_dec‖₂ of a feature", True,
         False),
        ("figure_13_cosines", "Figure 13. Cosines of all pairs of live features", "cosines of live pairs", "cosine",
         False, True),
        ("figure_14_cosines_pillars", "Figure 14. Cosines of the longest features (pillars)", "cosines of pillars",
         "cosine", False, True),
    ):  # fmt: skip
        here = [line for line in lines if line["of"] == of]
        if here:
            yield Drawn(
                name, title, "A panel a run, a line a layer."
                + " The baseline's features have norm 1 by construction." * has(measurements, "baseline"),
                dictionary.histograms(here, label, log_x=log_x, log_y=log_y), here,
            )  # fmt: skip
    density = [
        {"run": one.run.name, "hook": one.hook, "low": 10**low, "high": 10**high, "count": count}
        for one in measurements.fires if not one.noise
        for line in one.lines() if line["subset"] == Subset.ALL
        for low, high, count in zip(
            line["density_log10_edges"][:-1], line["density_log10_edges"][1:], line["density_features"], strict=True
        ) if count
    ]  # fmt: skip
    if density:
        yield Drawn(
            "density", "How often features fire", "Share of held-out rows in which a live feature fires, noise off.",
            dictionary.histograms(density, "share of rows", log_x=True), density,
        )  # fmt: skip


def _pareto(measurements: Measurements) -> Iterator[Drawn]:
    for sample, estimates, measures in (
        (pareto.HELD_OUT, measurements.held_out, measures_on(Sample.HELD_OUT, Shown.AT_EQUAL_L0)),
        (pareto.PATCHED, measurements.patched, measures_on(Sample.PATCHED, Shown.AT_EQUAL_L0)),
    ):
        lines = pareto.curve_lines(estimates, measurements.runs, sample) if estimates else []
        for measure in measures:
            here = [line for line in lines if line["measure"] == measure]
            if here:
                yield Drawn(
                    f"pareto_{measure}", f"{title_of(measure)} against L0",
                    "A curve a family of runs that differ in α alone, a panel a layer, 95 % intervals over documents.",
                    pareto_figure.pareto(here, measure), here,
                )  # fmt: skip
