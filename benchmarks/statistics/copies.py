"""Comparisons of trained SAEs whose true difference is known: two copies of one architecture, and small changes.

    python benchmarks/statistics/copies.py          # ten minutes of one core

`topk` and a plug-in copy of it are trained with other seeds, on the same batches. Eighty comparisons of five seeds each
should find no difference except at the rate promised. In the second half of the table the copies are changed: their
decoders are shrunk, features are removed, or they are trained on half the rows. The true difference of a change is that
of the means over all seeds; a comparison should find it where it is larger than the smallest detectable difference, and
its interval should contain it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analyze.compare.equal_l0.comparison import compare
from analyze.compare.equal_l0.difference import Difference
from analyze.compare.equal_l0.matching import Matching
from analyze.compare.equal_l0.sides import Side
from analyze.measure.evaluate import measure_heldout
from analyze.measure.heldout import Heldout
from analyze.runs.configurations import configurations
from analyze.runs.trained_run import TrainedRun, find_runs
from analyze.statistics.estimates import Estimates, Key
from benchmarks.shared.measure import table
from data import Store, SyntheticFeatures, open_store, synthetic_source, write_store
from data.store.stats import Subset
from train import train
from train.sae import SAE

FEATURES = SyntheticFeatures(n_features=32, d_model=16, n_roots=4, p_max=0.36, offset=0.0)
K, EXPANSION, BATCH, LR = 4, 4, 128, 3e-3
MEASURES = ("explained_variance", "gamma")
COPY = "from train.architectures.topk import TopKSAE\n\n\nclass Copy(TopKSAE):\n    pass\n"

Row = dict[str, Any]
Change = Callable[[SAE], None]


@dataclass(frozen=True)
class ChangedRun(TrainedRun):
    """A run whose SAEs are changed after training."""

    change: Change = lambda sae: None

    def sae(self, hook: str, device: torch.device | str = "cpu") -> SAE:
        sae = super().sae(hook, device)
        with torch.no_grad():
            self.change(sae)
        return sae


def shrink(sae: SAE) -> None:
    sae.W_dec.mul_(0.97)


def remove(sae: SAE) -> None:
    """Remove an eighth of the features."""
    removed = slice(len(sae.b_enc) // 8)
    sae.W_enc[removed], sae.b_enc[removed] = 0, -1e6


CHANGES: dict[str, Change] = {"decoder shrunk by 3 %": shrink, "an eighth of the features removed": remove}


def trainings(store: Store, work: Path, n_seeds: int, steps: int) -> tuple[list[TrainedRun], list[TrainedRun]]:
    """Train n_seeds replicas of topk, and as many of its copy with other seeds; return both."""
    copy = work / "copy.py"
    copy.write_text(COPY, encoding="utf-8")
    out = work / f"runs-{steps}"
    train(
        store, variant=["topk", f"{copy}:Copy"], k=K, out=out, batch_size=BATCH, activations=steps * BATCH,
        seed={"topk": range(n_seeds), f"{copy}:Copy": range(n_seeds, 2 * n_seeds)}, expansion=EXPANSION, lr=LR,
        lr_decay=steps * BATCH // 5, validate_every=steps * BATCH, log_every=steps * BATCH, snapshots=0,
        checkpoint_minutes=60, device="cpu", quiet=True,
    )  # fmt: skip
    runs = sorted(find_runs([out]), key=lambda run: run.settings.run.seed)
    return runs[:n_seeds], runs[n_seeds:]


def comparisons(
    first: Sequence[TrainedRun], second: Sequence[TrainedRun], estimates: Estimates, hook: str, seeds: int, measure: str
) -> Iterator[tuple[Difference, str]]:
    """Yield the difference and verdict of each `seeds` replicas of the two sides."""
    for begin in range(0, len(first), seeds):
        sides = [
            Side(name, configurations(runs[begin : begin + seeds]))
            for name, runs in (("topk", first), ("copy", second))
        ]
        matching = Matching({"l0": estimates, measure: estimates}, sides, [hook])
        (comparison,) = compare(matching, [measure], [K], [], "context")
        yield comparison.differences[hook], comparison.verdicts[hook]


def row(
    name: str, first: Sequence[TrainedRun], second: Sequence[TrainedRun], estimates: Estimates, hook: str, seeds: int,
    measure: str,
) -> Row:  # fmt: skip
    """Return how often a change of `second` was found, and its true difference covered."""
    means = [
        np.mean([estimates[Key(run.name, hook, False, Subset.ALL, measure)].value for run in runs])
        for runs in (first, second)
    ]
    truth = 0.0 if name == NOTHING else float(means[1] - means[0])
    compared = list(comparisons(first, second, estimates, hook, seeds, measure))
    right = {1: "higher", -1: "lower", 0: ""}[int(np.sign(truth))]
    return {
        "change": name, "measure": measure, "true difference": f"{truth:+.4f}",
        "smallest detectable": f"{np.median([gap.detectable for gap, _ in compared]):.4f}",
        "comparisons": len(compared), "verdicts": sum(verdict != "undecided" for _, verdict in compared),
        "right": sum(verdict == right for _, verdict in compared) if right else "–",
        "covered": sum(abs(gap.value - truth) <= gap.half_width() for gap, _ in compared),
    }  # fmt: skip


NOTHING = "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="Seeds of each side of a comparison.")
    parser.add_argument("--comparisons", type=int, default=80)
    parser.add_argument("--steps", type=int, default=80)
    args = parser.parse_args()
    n = args.seeds * args.comparisons
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_store(work / "store.zarr", synthetic_source(FEATURES, rows=40_000, heldout=1024, scales=(1.0,)))
        store = open_store(work / "store.zarr")
        heldout, (hook,) = Heldout(store), store.hooks
        first, second = trainings(store, work, n, args.steps)
        shorter = [replace(run, name=f"{run.name} half") for run in trainings(store, work, n, args.steps // 2)[1]]
        changed = {
            name: [ChangedRun(**{**vars(run), "name": f"{run.name} {name}"}, change=change) for run in second]
            for name, change in CHANGES.items()
        }
        sides: dict[str, Sequence[TrainedRun]] = {NOTHING: second, **changed, "trained on half the rows": shorter}
        estimates, _ = measure_heldout(heldout, [*first, *(run for runs in sides.values() for run in runs)])
        rows = [
            row(name, first, runs, estimates, hook, args.seeds, measure)
            for name, runs in sides.items()
            for measure in MEASURES
        ]
    print(table(rows))


if __name__ == "__main__":
    main()
