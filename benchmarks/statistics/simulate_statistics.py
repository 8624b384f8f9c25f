"""The share of right intervals and verdicts of `analyze`, on simulated experiments whose truth is known.

    python benchmarks/statistics/simulate_statistics.py   # the tables of docs/statistics.md; a few minutes on one core
    python benchmarks/statistics/simulate_statistics.py --json

Every table has the functions of analyze/statistics/ beside the method that they replace.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from scipy.special import stdtr, stdtrit

from analyze.statistics import curves, jackknife
from analyze.statistics.cells import all_equivalent, holm, most, partial_conjunction
from analyze.statistics.curves import Scale
from analyze.statistics.jackknife import Float
from analyze.statistics.replicas import Variances, variances
from analyze.statistics.slopes import slope
from benchmarks.shared.measure import table
from benchmarks.statistics.layer_means import means_over_layers
from benchmarks.statistics.ranking import ranking
from benchmarks.statistics.simulations import (
    CAPPED,
    Documents,
    Row,
    ar1,
    family,
    half_widths,
    lengths,
    percentile_covers,
    rest_curve,
)

REPEATS = 4000
EFFECTS = ("normal", "skewed", "grows with length")


def documents(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Coverage of 95 % intervals over documents of uneven lengths."""
    rows = []
    for longest in (CAPPED, None):
        for effect in EFFECTS:
            for n in (8, 12, 16, 24, 40, 100):
                truth, drawn = _differences(rng, effect, longest, repeats, n)
                off, f = np.abs(drawn.statistic() - truth), jackknife.degrees_of_freedom
                wide, plain = half_widths(drawn, f), half_widths(drawn, lambda shares: len(shares) - 1)
                rows.append({
                    "tokens counted": "all" if longest is None else f"{longest} per document",
                    "difference": effect, "documents": n,
                    "effective": float(np.mean([jackknife.effective_groups(h) for h in drawn.shares])),
                    "f": float(np.median([f(h) for h in drawn.shares])),
                    "percentile bootstrap": percentile_covers(drawn.resampled(rng), truth),
                    "jackknife, G − 1": float(np.mean(off <= plain)), "jackknife, f": float(np.mean(off <= wide)),
                    "width": float(np.median(wide / plain)),
                })  # fmt: skip
    return rows


def _differences(
    rng: np.random.Generator, effect: str, longest: int | None, repeats: int, n: int
) -> tuple[float, Documents]:
    """Return the true mean difference over tokens, and documents' differences."""

    def draw(shape: tuple[int, ...]) -> Documents:
        tokens = lengths(rng, shape, longest)
        effect_of_document = rng.exponential(size=shape) - 1 if effect == "skewed" else rng.normal(size=shape)
        noise = 10 * rng.normal(size=shape) / np.sqrt(tokens)
        trend = 0.5 * np.log(tokens / 400) if effect == "grows with length" else 0.0
        return Documents(tokens, effect_of_document + noise + trend)

    truth = float(draw((1, 4_000_000)).statistic()[0]) if effect == "grows with length" else 0.0
    return truth, draw((repeats, n))


def seeds_and_documents(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Coverage of 95 % intervals for the mean over seeds, each measured on the same 40 documents."""
    rows = []
    for seed_spread in (0.1, 0.3, 1.0):
        for n_seeds in (2, 3, 4, 5, 8):
            drawn = _replicas(rng, repeats, n_seeds, seed_spread)
            values, replicates, shares = drawn.statistic(), drawn.without_each(), drawn.shares
            mean = values.mean(axis=1)
            parts = [variances(*one) for one in zip(values, replicates, shares, strict=True)]
            alone = [np.sqrt(p.groups) * jackknife.critical_value(p.group_degrees) for p in parts]
            of_means = jackknife.critical_value(n_seeds - 1) * values.std(axis=1, ddof=1) / np.sqrt(n_seeds)
            rows.append({
                "seeds": n_seeds, "spread over seeds": seed_spread,
                "percentile bootstrap of documents": percentile_covers(drawn.resampled(rng).mean(axis=-1), 0.0),
                "jackknife of documents": float(np.mean(np.abs(mean) <= alone)),
                "t of the seeds": float(np.mean(np.abs(mean) <= of_means)),
                "crossed": float(np.mean(np.abs(mean) <= [p.half_width() for p in parts])),
            })  # fmt: skip
    return rows


def _replicas(
    rng: np.random.Generator, repeats: int, n_seeds: int, seed_spread: float, n: int = 40, true: float = 0.0
) -> Documents:
    """Draw differences of replicas: a seed's effect, a document's of spread 1, and their interaction."""
    effects = true + seed_spread * rng.normal(size=(repeats, n_seeds, 1)) + rng.normal(size=(repeats, 1, n))
    return Documents(lengths(rng, (repeats, n), CAPPED), effects + 0.5 * rng.normal(size=(repeats, n_seeds, n)))


def detection(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Count how often a difference as large as the smallest detectable one, of the true variances, is decided."""
    rows = []
    for n_seeds, n in ((1, 40), (3, 40), (5, 40), (5, 100), (8, 100)):
        for seed_spread in (0.0,) if n_seeds == 1 else (0.1, 0.3):
            shares = Documents(lengths(rng, (500, n), CAPPED), np.zeros((500, n))).shares
            effective = 1 / np.square(shares).sum(axis=1).mean()
            degrees = float(np.median([jackknife.degrees_of_freedom(h) for h in shares]))
            interaction = 0.25 / effective / n_seeds
            true = Variances(
                seed_spread**2 / n_seeds + (n_seeds > 1) * interaction, 1 / effective + interaction, interaction,
                n_seeds - 1, degrees,
            ).smallest_detectable_difference()  # fmt: skip
            decided = {
                size: _share_decided(_replicas(rng, repeats, n_seeds, seed_spread, n, size * true)) for size in (0, 1)
            }  # fmt: skip
            rows.append({
                "seeds": n_seeds, "documents": n, "spread over seeds": seed_spread,
                "smallest detectable difference": true, "decided at that difference": decided[1],
                "decided at 0": decided[0],
            })  # fmt: skip
    return rows


def _share_decided(drawn: Documents) -> float:
    """Return the share of repetitions whose interval excludes 0."""
    cases = zip(drawn.statistic(), drawn.without_each(), drawn.shares, strict=True)
    return float(np.mean([abs(v.mean()) > variances(v, r, h).half_width() for v, r, h in cases]))


def equal_l0(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Difference in explained variance of two families at L0 = 40, whose runs have other L0."""
    rows = []
    for gap in (1.5, 2.0, 3.0, 4.0):
        errors: dict[str, list[float]] = {"linear": [], "PCHIP": []}
        covered: dict[str, list[bool]] = {"linear": [], "PCHIP": [], "PCHIP, own error": []}
        for _ in range(repeats // 4):
            truth, by_family = 0.0, []
            for sign in (1, -1):
                rest = rest_curve(rng)
                truth += sign * (1 - float(rest(np.array(40.0))))
                by_family.append(family(rng, rest, gap))
            for name, how in (("linear", _linear), ("PCHIP", _pchip)):
                (first, first_rep, first_error), (second, second_rep, second_error) = (
                    how(*family) for family in by_family
                )
                error = abs(first - second - truth)
                half = jackknife.critical_value(39) * float(jackknife.standard_error(first_rep - second_rep))
                errors[name].append(error)
                covered[name].append(error <= half)
                if name == "PCHIP":
                    covered["PCHIP, own error"].append(error <= half + first_error + second_error)
        rows.append({
            "ratio of neighbours' L0": gap,
            **{f"mean error, {name}, in 1/1000": 1000 * float(np.mean(values)) for name, values in errors.items()},
            **{f"coverage, {name}": float(np.mean(values)) for name, values in covered.items()},
        })  # fmt: skip
    return rows


def _pchip(l0: Float, y: Float, replicates: Float) -> tuple[float, Float, float]:
    left, scale = curves.bracket(l0, 40), Scale.LOG_OF_REST
    without = curves.interpolate(np.broadcast_to(l0, replicates.shape), replicates, 40, scale, left)
    return float(curves.interpolate(l0, y, 40, scale, left)), without, curves.interpolation_error(l0, y, 40, scale)


def _linear(l0: Float, y: Float, replicates: Float) -> tuple[float, Float, float]:
    x = np.log(l0)
    return float(np.interp(np.log(40), x, y)), np.array([np.interp(np.log(40), x, z) for z in replicates]), 0.0


def cells(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Error rates of decisions over 12 layers, with 40 documents shared by the layers, at the worst truth."""
    rows = []
    for correlation in (0.0, 0.5, 0.9):
        shared, of_layer = rng.normal(size=(repeats, 1, 40)), rng.normal(size=(repeats, 12, 40))
        values = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * of_layer
        drawn = Documents(lengths(rng, (repeats, 40), CAPPED), values)
        value, error = drawn.statistic(), jackknife.standard_error(np.moveaxis(drawn.without_each(), -1, 0))
        f = np.array([jackknife.degrees_of_freedom(h) for h in drawn.shares])[:, None]
        at_margin = stdtr(f, -value / error)  # every layer's true difference is at the margin
        better = np.where(np.arange(12) < 6, 1e-9, at_margin)  # half of the layers are better, the others equal
        half, margin = stdtrit(f, 0.95) * error, 2.0
        value[:, 0] += margin  # one layer's difference is at the margin
        equivalent = [all_equivalent(v - h, v + h, margin) for v, h in zip(value, half, strict=True)]
        of_mean = np.abs(value.mean(axis=1)) + half.mean(axis=1) < margin
        rows.append({
            "correlation of layers": correlation,
            "a difference somewhere, any interval": float(np.mean((at_margin <= 0.05).any(axis=1))),
            "a difference somewhere, Holm": float(np.mean([(holm(p) <= 0.05).any() for p in at_margin])),
            "better in most layers": float(np.mean([partial_conjunction(p, most(12)) <= 0.05 for p in better])),
            "no difference anywhere": float(np.mean(equivalent)),
            "no difference, of the mean": float(np.mean(of_mean)),
        })  # fmt: skip
    return rows


def copies(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Count how often two copies of one architecture get a verdict: six layers, 40 documents, no true difference."""
    rows = []
    for n_seeds in (1, 2, 3, 5):
        for seed_spread in (0.1, 0.3):
            verdicts = {"percentile bootstrap, any layer": 0, "crossed, Holm": 0}
            for _ in range(repeats // 8):
                tokens = lengths(rng, (1, 40), CAPPED)
                shared = rng.normal(size=(1, 1, 40))
                effects = seed_spread * rng.normal(size=(6, n_seeds, 1)) + 0.5 * rng.normal(size=(6, n_seeds, 40))
                drawn = Documents(tokens, (0.3 * shared + effects)[None])
                values, replicates = drawn.statistic()[0], drawn.without_each()[0]
                low, high = np.quantile(drawn.resampled(rng)[:, 0].mean(axis=-1), [0.025, 0.975], axis=0)
                verdicts["percentile bootstrap, any layer"] += bool(((low > 0) | (high < 0)).any())
                parts = [variances(v, r, drawn.shares[0]) for v, r in zip(values, replicates, strict=True)]
                p = np.array([part.p_beyond(v.mean(), 0.0) for part, v in zip(parts, values, strict=True)])
                verdicts["crossed, Holm"] += bool((holm(p) <= 0.05).any())
            shares = {name: count / (repeats // 8) for name, count in verdicts.items()}
            rows.append({"seeds": n_seeds, "spread over seeds": seed_spread, **shares,
                         "verdicts in 20 comparisons": 20 * shares["crossed, Holm"]})  # fmt: skip
    return rows


def slopes(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Coverage of 95 % intervals for a slope over layers, and how often a slope of 0 is taken for another."""
    rows = []
    for n_layers in (8, 12, 24):
        for correlation in (0.0, 0.5, 0.8, 0.95):
            x = np.sort(rng.normal(size=(repeats // 2, n_layers)), axis=1)
            y = ar1(rng, correlation, repeats // 2, n_layers)
            picks = rng.integers(n_layers, size=(500, n_layers))
            resampled = np.stack([_least_squares(x[:, pick], y[:, pick]) for pick in picks])
            fits = [slope(*points) for points in zip(x, y, strict=True)]
            union = [low <= 0 <= high for low, high in (fit.interval() for fit in fits)]
            t = jackknife.critical_value(n_layers - 2)
            rows.append({
                "layers": n_layers, "AR(1)": correlation,
                "bootstrap of layers": percentile_covers(resampled, 0.0),
                "least squares": float(np.mean([abs(fit.value) <= t * fit.standard_errors[0] for fit in fits])),
                "union": float(np.mean(union)), "wrong slopes, union": 1 - float(np.mean(union)),
                "half-width, union": float(np.median([np.diff(fit.interval())[0] / 2 for fit in fits[:300]])),
            })  # fmt: skip
    return rows


def _least_squares(x: Float, y: Float) -> Float:
    dx = x - x.mean(axis=1, keepdims=True)
    return np.asarray((dx * y).sum(axis=1) / np.square(dx).sum(axis=1))


SIMULATIONS = (
    documents,
    seeds_and_documents,
    means_over_layers,
    detection,
    equal_l0,
    cells,
    ranking,
    copies,
    slopes,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=REPEATS, help="Repetitions per case.")
    parser.add_argument("--only", choices=[simulate.__name__ for simulate in SIMULATIONS], help="Run one simulation.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    args = parser.parse_args()
    results = {}
    for simulate in SIMULATIONS:
        if args.only in (None, simulate.__name__):
            rows = [
                {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
                for row in simulate(np.random.default_rng(0), args.repeats)
            ]
            results[simulate.__name__] = rows
            if not args.json:
                print(f"{simulate.__doc__}\n\n{table(rows)}\n", flush=True)
    if args.json:
        print(json.dumps({"repeats": args.repeats, "simulations": results}, indent=1))


if __name__ == "__main__":
    main()
