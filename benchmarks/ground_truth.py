"""What each architecture finds where the truth is known, at the true L0 and at several scales of the inputs.

    python benchmarks/ground_truth.py --small                        # a few minutes on one core
    python benchmarks/ground_truth.py --device cuda --work /scratch  # the large case

The store is synthetic (data/synthetic/): one layer per scale, with the same rows but for the scale. Each architecture
is trained on each layer with an L0 within 5 % of the true features' if that can be reached: k is the true L0, rounded;
a coefficient, or JumpReLU's target, is searched for over whole runs. Training and measures are the ordinary `train` and
`evaluate`. The table goes to docs/results/ground_truth/ (`--out` names another folder).

baseline and NSAE see the activations as they are, as in the post. The others see normalised ones, as in their papers or
in dictionary_learning, so what differs for them between the scales is the random start.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _measure import machine, table

from analyze import evaluate
from data import Store, SyntheticFeatures, open_store, synthetic_source, write_store
from data.synthetic.features import SYNTHETIC_16K
from train import train

SCALES = (1.0, 3.0, 10.0)
WITHIN = 0.05  # of the true L0
MEASURES = (
    "l0", "l0_over_true", "explained_variance", "gamma", "suppression", "recovered", "false_features", "max_cosine",
    "mcc", "f1", "f1_matched",
)  # fmt: skip
LARGEST_FACTOR = 8.0  # by which a search changes a value at once
OUT = Path(__file__).resolve().parents[1] / "docs/results/ground_truth"


@dataclass(frozen=True)
class Case:
    """A size of the comparison; searches take at most `rounds` runs per architecture and scale."""

    name: str
    features: SyntheticFeatures
    rows: int
    heldout: int
    expansion: float
    batch_size: int
    steps: int
    rounds: int


SMALL = Case(
    "small", SyntheticFeatures(n_features=64, d_model=32, n_roots=4, p_max=0.36, offset=0.0), rows=120_000,
    heldout=8192, expansion=4, batch_size=256, steps=1500, rounds=5,
)  # fmt: skip
# 4096 features, the width that SynthSAEBench recommends, because SAEs of language models also have fewer features than
# there are to find.
LARGE = Case(
    "large", SYNTHETIC_16K, rows=2_000_000, heldout=32_768, expansion=16 / 3, batch_size=4096, steps=20_000, rounds=5
)  # fmt: skip


@dataclass(frozen=True)
class Contestant:
    """An architecture with its options, and the one that sets its L0.

    name: of its runs; by default the variant's.
    start: where the search for the option's value begins, at scale 1; None: the value is the true L0, rounded.
    power: the value grows with this power of the scale.
    slope: about how L0 changes with the value, d log L0 / d log value.
    """

    variant: str
    tuned: str
    start: float | None = None
    power: float = 0.0
    slope: float = -0.7
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def label(self) -> str:
        return self.name or self.variant


NORMALISED = {"input_scale": "mean-square"}  # E‖x‖² = 1
JUMPRELU = {"sparsity": "quadratic", "l1": 1.0, "bandwidth": 0.05, "threshold": 0.05, **NORMALISED}
CONTESTANTS = (
    *(Contestant(variant, "k", options=NORMALISED) for variant in ("topk", "batchtopk", "matryoshka", "frozen")),
    Contestant("baseline", "l1", 0.03, power=1),
    Contestant("nsae", "l1", 1e-3),
    Contestant("nsae", "l1", 1e-3, options={"sigma": 0.0}, name="nsae without noise"),
    Contestant("relu", "l1", 1.0, options={"input_scale": "sqrt-d"}),
    Contestant("gated", "l1", 0.1, options=NORMALISED),
    Contestant("p-anneal", "l1", 0.05, options=NORMALISED),
    Contestant("jumprelu", "target_l0", 4.0, slope=1.0, options=JUMPRELU),
)
LR = 3e-3


def values(contestant: Contestant, start: float, target: float, measured: dict[float, float]) -> Iterator[float]:
    """Yield the values to try next; `measured` gets the L0 of each before the next is asked for.

    Between two values whose L0 lies on either side of the target, log L0 is interpolated linearly in log value.
    """
    value = start
    while True:
        yield value
        falls = contestant.slope < 0
        above = [v for v, l0 in measured.items() if l0 > target]
        below = [v for v, l0 in measured.items() if l0 <= target]
        if above and below:
            high, low = (max(above), min(below)) if falls else (min(above), max(below))
            l0_high, l0_low = (math.log(max(measured[v], 1e-3)) for v in (high, low))
            share = min(max((l0_high - math.log(target)) / (l0_high - l0_low), 0.1), 0.9)
            value = high ** (1 - share) * low**share
        else:
            last = max(measured, key=lambda v: v if bool(above) == falls else -v)
            factor = (target / max(measured[last], target / 100)) ** (1 / contestant.slope)
            value = last * min(max(factor, 1 / LARGEST_FACTOR), LARGEST_FACTOR)


def run(
    case: Case, store: Store, contestant: Contestant, layer: int, value: float, work: Path, device: str
) -> dict[str, Any]:
    """Train one SAE and return its measures, noise off."""
    total, hook = case.steps * case.batch_size, store.hooks[layer]
    out = work / "runs" / f"{contestant.label.replace(' ', '-')}-{layer}-{value:g}"
    schedule = {"dead_after": total // 20} if contestant.start is None else {"l1_warmup": total // 10}
    options = {"lr": LR, "lr_decay": total // 5, **schedule, **contestant.options, contestant.tuned: value}
    result, = train(
        store, variant=contestant.variant, layers=layer, out=out, activations=total, batch_size=case.batch_size,
        expansion=case.expansion, validate_every=total, log_every=total // 4, snapshots=0, device=device, quiet=True,
        **options,
    )  # fmt: skip
    if result.failure is not None:
        return dict.fromkeys((*MEASURES, "dead"), math.nan)
    measured = evaluate(store, out, device="cpu" if device == "auto" else device)
    name = measured.runs[0].name
    return {
        **{measure: measured.value(measure, name, hook).value for measure in MEASURES},
        "dead": next(activity.all.dead for activity in measured.activity if not activity.noise),
    }


def search(
    case: Case, store: Store, contestant: Contestant, layer: int, start: float | None, work: Path, device: str
) -> dict[str, Any]:
    """Return the measures of the run whose L0 is closest to the true L0, and the value that gave it."""
    assert store.truth is not None
    true_l0 = len(store.truth.firings) / store.n_rows("heldout")
    if start is None:
        k = round(true_l0)
        return {"value": k, "runs": 1, **run(case, store, contestant, layer, k, work, device)}
    l0: dict[float, float] = {}
    results: dict[float, dict[str, Any]] = {}
    for value in values(contestant, start, true_l0, l0):
        results[value] = run(case, store, contestant, layer, value, work, device)
        l0[value] = results[value]["l0"]
        if not math.isfinite(l0[value]):
            break
        if abs(l0[value] / true_l0 - 1) <= WITHIN or len(l0) == case.rounds:
            break
    closest = min(l0, key=lambda value: abs(math.log(max(l0[value], 1e-3) / true_l0)))
    return {"value": closest, "runs": len(l0), **results[closest]}


def compare(case: Case, store: Store, work: Path, device: str) -> Iterator[dict[str, Any]]:
    """Yield a row per architecture and scale. A search at one scale begins where that at the last one ended."""
    for contestant in CONTESTANTS:
        start = contestant.start
        for layer, scale in enumerate(SCALES):
            row = search(case, store, contestant, layer, start, work, device)
            within = abs(row["l0_over_true"] - 1) <= WITHIN
            yield {"run": contestant.label, "scale": scale, "option": contestant.tuned, **row, "within": within}
            if start is not None and layer + 1 < len(SCALES):
                start = row["value"] * (SCALES[layer + 1] / scale) ** contestant.power


def make_store(case: Case, path: Path) -> Store:
    """Return the case's store, which is written if it is not there."""
    if path.exists():
        return open_store(path)
    source = synthetic_source(case.features, rows=case.rows, heldout=case.heldout, scales=SCALES)
    return write_store(path, source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="Run the small case rather than the large one.")
    parser.add_argument("--device", default="cpu", help="Device to train and measure on.")
    parser.add_argument("--work", type=Path, help="Folder of the store and the runs, which are kept.")
    parser.add_argument("--out", type=Path, default=OUT, help="Folder of the table.")
    options = parser.parse_args()
    case = SMALL if options.small else LARGE
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        store = make_store(case, work / f"{case.name}.zarr")
        rows = []
        for row in compare(case, store, work / case.name, options.device):
            rows.append(row)
            print(
                f"{row['run']} at {row['scale']:g}: L0 {row['l0']:.3g} with {row['option']} {row['value']:.3g}",
                flush=True,
            )
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / f"{case.name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows)
    print(table(rows))
    print(f"true L0 {case.features.l0:.4g}; {case.steps:,} steps of {case.batch_size:,} rows; {machine()}")


if __name__ == "__main__":
    main()
