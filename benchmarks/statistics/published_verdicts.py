"""The verdicts of the published results under the present rules, as far as their tables tell.

    python benchmarks/statistics/published_verdicts.py

It reads docs/results/ and prints the table in docs/results/README.md. The tables have no values without each document,
so claims that need them cannot be decided again: those on L1/L0, on the last L2 and on the score over training.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from analyze.compare.claims.claim import ALL_LAYERS, Cell, Cells, Claim, ClaimHeader
from analyze.compare.claims.evidence import OverDocuments, OverLayers
from analyze.compare.claims.features import MAJORITY, NEAR_DUPLICATES, OVERLAP
from analyze.compare.claims.l0_and_norm import MARGIN, SLOPE
from analyze.compare.claims.rule import decide_above, decide_equivalent
from analyze.compare.equal_l0.difference import Difference
from analyze.statistics import curves, slopes
from analyze.statistics.jackknife import Float
from analyze.statistics.slopes import LayerFit
from analyze.tables import markdown, short

RESULTS = Path(__file__).parents[2] / "docs" / "results"
ByRun = dict[str, dict[str, float]]  # a number by run and hook


def read(name: str) -> list[dict[str, str]]:
    """Return the rows of a published table; none if it was not published."""
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def numbers(rows: Sequence[Mapping[str, str]], column: str) -> ByRun:
    """Return the known numbers of a column."""
    by_run: ByRun = {}
    for row in rows:
        if row[column]:
            by_run.setdefault(row["run"], {})[row["hook"]] = float(row[column])
    return by_run


def over_layers(places: Mapping[str, tuple[LayerFit, int]]) -> Cells:
    """Return a number of all layers per place, from its fit and count of layers."""
    known = {place: (fit, n) for place, (fit, n) in places.items() if np.isfinite(fit.value)}
    return Cells([Cell(ALL_LAYERS, place, OverLayers([fit], n)) for place, (fit, n) in known.items()])


def slope_claims(result: str) -> Iterator[Claim]:
    """Decide the claims on the slope of log L0 on the log of the mean norm."""
    rows = read(f"{result}/figure_07_l0_against_norm")
    l0, norms = numbers(rows, "l0"), numbers(rows, "mean_norm")
    family = {row["run"]: row["family"] for row in rows}

    def arrays(run: str) -> tuple[Float, Float]:
        return np.log(list(norms[run].values())), np.log(list(l0[run].values()))

    def runs_of(kind: str) -> list[str]:
        norm_scaled, noiseless = "l1_power 1", "sigma 0"
        kinds = {
            run: "norm-scaled baseline" if norm_scaled in name else "noiseless" if noiseless in name
            else name.split(",")[0] for run, name in family.items()
        }  # fmt: skip
        return [run for run, of_run in kinds.items() if of_run == kind]

    def slopes_of(kind: str) -> Cells:
        return over_layers({run: (slopes.slope(*arrays(run)), len(l0[run])) for run in runs_of(kind)})

    if rows:
        grows = ClaimHeader(2, "the baseline's L0 grows with the mean input norm", "", [])
        yield from decide_above(grows, SLOPE, slopes_of("baseline"), MARGIN)
        for kind, name in (("nsae", "NSAE's L0"), ("norm-scaled baseline", "the norm-scaled baseline's L0")):
            if runs_of(kind):
                header = ClaimHeader(2, f"{name} has no relation to the mean input norm", "", [])
                yield from decide_equivalent(header, SLOPE, slopes_of(kind), MARGIN)
        gaps = {}
        for baseline, nsae in product(runs_of("baseline"), runs_of("nsae")):
            (log_norms, of_baseline), (_, of_nsae) = arrays(baseline), arrays(nsae)
            if len(of_baseline) == len(of_nsae):
                fit = slopes.slope(log_norms, of_baseline - of_nsae)
                gaps[f"{baseline} against {nsae}"] = (fit, len(log_norms))
        header = ClaimHeader(2, "the baseline's slope is above NSAE's", "", [])
        yield from decide_above(header, f"difference of the {SLOPE}", over_layers(gaps), MARGIN)


def exact(by_run: ByRun) -> Cells:
    """Return the exact number of each hook and run."""
    hooks = list(dict.fromkeys(hook for of_run in by_run.values() for hook in of_run))
    none = np.empty((1, 0))
    cells = [
        Cell(hook, run, OverDocuments(Difference(0.0, of_run[hook], np.array([of_run[hook]]), none, none[0])))
        for run, of_run in by_run.items() for hook in of_run
    ]  # fmt: skip
    return Cells(cells, hooks)


def feature_claims(result: str) -> Iterator[Claim]:
    """Decide the claims on counts of features."""
    rows = read(f"{result}/dictionary")
    sigma = {row["run"]: float(row["sigma"]) for row in read(f"{result}/runs")}
    nsae = [row for row in rows if row["variant"] == "nsae" and sigma[row["run"]] > 0]
    baseline = [row for row in rows if row["variant"] == "baseline"]
    if rows:
        header = ClaimHeader(7, "most of NSAE's live features have norms in (0, 0.5)", "", [])
        yield from decide_above(header, "their share", exact(numbers(nsae, "small_norm_share")), MAJORITY)
        header = ClaimHeader(7, "pillars are hardly ever directions", "", [])
        shares = exact(numbers(nsae, "pillars_that_are_directions"))
        yield from decide_equivalent(header, "share of pillars that are directions", shares, OVERLAP)
        of_nsae, of_baseline = (numbers(lines, "near_twin_share") for lines in (nsae, baseline))
        gaps = {
            f"{first} against {second}": {hook: of_nsae[first][hook] - share for hook, share in shares.items()}
            for first, (second, shares) in product(of_nsae, of_baseline.items())
            if shares.keys() <= of_nsae[first].keys()
        }
        header = ClaimHeader(7, "NSAE has features nearly parallel to another, which the baseline lacks", "", [])
        yield from decide_above(header, "difference of their share", exact(gaps), NEAR_DUPLICATES)


def comparable_layers(result: str, table: str) -> tuple[int, int]:
    """Return in how many layers the two families can be compared at some L0 now, and how many layers there are."""
    l0: dict[tuple[str, str], list[float]] = {}
    for row in read(f"{result}/{table}"):
        if row["noise"] == "False" and row["measure"] == "l0" and row["subset"] == "all":
            l0.setdefault((row["hook"], row["variant"]), []).append(float(row["value"]))
    hooks = list(dict.fromkeys(hook for hook, _ in l0))

    def has_value(points: list[float], at: float) -> bool:
        ordered = np.array(sorted(points))
        return any(curves.same_l0(point, at) for point in points) or curves.why_refused(ordered, at) is None

    comparable = [
        hook for hook in hooks
        if any(
            has_value(l0[hook, side], at)
            for side, other in (("baseline", "nsae"), ("nsae", "baseline"))
            for at in l0.get((hook, other), [])
        )
    ]  # fmt: skip
    return len(comparable), len(hooks)


def main() -> None:
    lines = []
    for result in ("stories15M", "smollm2"):
        for claim in (*slope_claims(result), *feature_claims(result)):
            if claim.hook == ALL_LAYERS:
                interval = "" if claim.low is None else f" [{short(claim.low)}, {short(claim.high)}]"
                lines.append([
                    result, f"{claim.number}. {claim.claim}", claim.criterion, f"{short(claim.value)}{interval}",
                    claim.verdict, claim.note,
                ])  # fmt: skip
    print(markdown(["result", "claim", "criterion", "mean over runs, interval over all", "verdict now", "note"], lines))
    for result, table in (("stories15M", "patching"), ("smollm2", "measures"), ("smollm2-six", "patching")):
        comparable, n_layers = comparable_layers(result, table)
        print(f"\n{result}: the families can be compared at equal L0 in {comparable} of {n_layers} layers.")


if __name__ == "__main__":
    main()
