"""The features that each architecture finds where the truth is known: at the true L0, at several scales of the inputs.

    python benchmarks/train/ground_truth.py --small                      # a few minutes on one core
    python benchmarks/train/ground_truth.py --work /scratch              # the large case: an hour or two
    python benchmarks/train/ground_truth.py --work /scratch --device cuda --steps 80000

The store is synthetic (data/synthetic/): one layer per scale, with the same rows but for the scale; the large case has
one scale. Each architecture is trained on all layers at once with `--target-l0`, the true features' mean L0, rounded.
Training and measures are the ordinary `train` and `evaluate`. The table goes to docs/results/ground_truth/ (`--out`
names another folder).

baseline and NSAE see the activations as they are, as in the post. The others see normalised ones, as in their papers or
in dictionary_learning, so what differs for them between the scales is the random start.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analyze import evaluate
from benchmarks.shared.measure import machine, table
from data import Store, SyntheticFeatures, open_store, synthetic_source, write_store
from data.synthetic.features import SYNTHETIC_16K
from train import train

WITHIN = 0.05  # of the true L0
MEASURES = (
    "l0", "l0_over_true", "explained_variance", "gamma", "suppression", "recovered", "false_features", "max_cosine",
    "mcc", "f1", "f1_matched",
)  # fmt: skip
OUT = Path(__file__).resolve().parents[2] / "docs/results/ground_truth"


@dataclass(frozen=True)
class Case:
    """A size of the comparison."""

    name: str
    features: SyntheticFeatures
    rows: int
    heldout: int
    expansion: float
    batch_size: int
    steps: int
    lr: float
    scales: tuple[float, ...]


SMALL = Case(
    "small", SyntheticFeatures(n_features=64, d_model=32, n_roots=4, p_max=0.36, offset=0.0), rows=120_000,
    heldout=8192, expansion=4, batch_size=256, steps=1500, lr=3e-3, scales=(1.0, 3.0, 10.0),
)  # fmt: skip
# 4096 features, the width that SynthSAEBench recommends, because SAEs of language models also have fewer features than
# there are to find.
LARGE = Case(
    "large", SYNTHETIC_16K, rows=2_000_000, heldout=32_768, expansion=16 / 3, batch_size=1024, steps=1000, lr=1e-3,
    scales=(1.0,),
)  # fmt: skip


@dataclass(frozen=True)
class Contestant:
    """An architecture with its options. name: of its rows; by default the variant's."""

    variant: str
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def label(self) -> str:
        return self.name or self.variant


NORMALISED = {"input_scale": "mean-square"}  # E‖x‖² = 1
JUMPRELU = {"bandwidth": 0.05, "threshold": 0.05, **NORMALISED}
CONTESTANTS = (
    *(Contestant(variant, NORMALISED) for variant in ("topk", "batchtopk", "matryoshka", "frozen")),
    Contestant("baseline"),
    Contestant("nsae"),
    Contestant("nsae", {"sigma": 0.0}, name="nsae without noise"),
    Contestant("relu", {"input_scale": "sqrt-d"}),
    Contestant("gated", NORMALISED),
    Contestant("p-anneal", NORMALISED),
    Contestant("jumprelu", JUMPRELU),
)


def compare(case: Case, store: Store, contestant: Contestant, work: Path, device: str) -> Iterator[dict[str, Any]]:
    """Train one architecture on the case's scales; yield the measures of each SAE, noise off."""
    assert store.truth is not None
    true_l0 = len(store.truth.firings) / store.n_rows("heldout")
    total, out = case.steps * case.batch_size, work / contestant.label.replace(" ", "-")
    train(
        store, variant=contestant.variant, out=out, target_l0=round(true_l0),
        activations=total, batch_size=case.batch_size, expansion=case.expansion, lr=case.lr, lr_decay=total // 5,
        validate_every=total, log_every=total // 4, snapshots=0, device=device, quiet=True, **contestant.options,
    )  # fmt: skip
    measured = evaluate(store, out, device="cpu" if device == "auto" else device)
    run = measured.runs[0].name
    fires = {activity.hook: activity.all for activity in measured.activity if not activity.noise}
    for scale, hook in zip(case.scales, store.hooks, strict=True):
        values = {measure: measured.value(measure, run, hook).value for measure in MEASURES}
        within = abs(values["l0_over_true"] - 1) <= WITHIN
        yield {
            "run": contestant.label,
            "scale": scale,
            **values,
            "dead": fires[hook].dead,
            "dead_rows": fires[hook].rows,
            "within": within,
        }


def make_store(case: Case, path: Path) -> Store:
    """Return the case's store, which is written if it is not there."""
    if path.exists():
        return open_store(path)
    source = synthetic_source(case.features, rows=case.rows, heldout=case.heldout, scales=case.scales)
    return write_store(path, source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="Run the small case rather than the large one.")
    parser.add_argument("--device", default="cpu", help="Device to train and measure on.")
    parser.add_argument("--work", type=Path, help="Folder of the store and the runs, which are kept.")
    parser.add_argument("--out", type=Path, default=OUT, help="Folder of the table.")
    parser.add_argument("--steps", type=int, help="Training steps, in place of the case's own number.")
    parser.add_argument("--architectures", default=",".join(c.label for c in CONTESTANTS), help="Separated by commas.")
    options = parser.parse_args()
    contestants = [contestant for contestant in CONTESTANTS if contestant.label in options.architectures.split(",")]
    case = SMALL if options.small else LARGE
    if options.steps is not None:
        case = replace(case, steps=options.steps)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        store = make_store(case, work / f"{case.name}.zarr")
        rows = []
        for contestant in contestants:
            for row in compare(case, store, contestant, work / case.name, options.device):
                rows.append(row)
                print(f"{row['run']} at {row['scale']:g}: L0 {row['l0']:.3g}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / f"{case.name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows)
    print(table(rows))
    print(f"true L0 {case.features.l0:.4g}; {case.steps:,} steps of {case.batch_size:,} rows; {machine()}")


if __name__ == "__main__":
    main()
