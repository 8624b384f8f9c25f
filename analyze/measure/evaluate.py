"""Measures of runs on the held-out split, without the language model, by layer, run, subset of positions, noise off/on.

Not here: definitions (measures.py), intervals (bootstrap.py), which rows (heldout.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import one_hot

from analyze.measure.cache import NOTHING, Kept, device_identity
from analyze.measure.heldout import Heldout
from analyze.measure.positions import subsets
from analyze.measure.row_sums import COLUMNS, RowSums, row_columns
from analyze.runs.trained_run import FittedRun, hooks_of
from analyze.statistics import bootstrap
from analyze.statistics.estimates import Estimates, of_one
from analyze.tables import Row, markdown, short, trained_on, with_interval
from data.command.progress import Bar
from data.store.stats import Subset
from train.measures import Sample, Shown, measures_on
from train.sae import SAE
from train.step.noise import torch_seed

BATCH = 4096  # rows; features silent in a batch are counted in so many, as in training, where shards have them


@dataclass
class Tally:
    """Sums of one SAE, noise off or on: COLUMNS by group and bin of positions, and fires by bin and feature; also by
    batch its rows, and how many features are silent in each subset of its positions.
    """

    sums: torch.Tensor  # float64 [groups, bins, columns]
    fires: torch.Tensor  # int64 [bins, d_sae]
    bins: list[tuple[str, int, int]]
    silent: list[list[int]]

    @classmethod
    def empty(cls, n_groups: int, bins: list[tuple[str, int, int]], d_sae: int) -> Tally:
        zeros = torch.zeros(n_groups, len(bins), len(COLUMNS), dtype=torch.float64)
        return cls(zeros, torch.zeros(len(bins), d_sae, dtype=torch.int64), bins, [])

    def add(self, sae: SAE, x: torch.Tensor, epsilon: torch.Tensor | None, cell: torch.Tensor) -> None:
        """Add rows x [n, d_model]; `cell` int64 [n] is group · bins + bin. Noise: epsilon [n, d_sae]."""
        c = sae.encode(x, epsilon)
        columns = row_columns(x, c, sae.decode(c), float(sae.input_scale))
        self.sums.view(-1, len(COLUMNS)).index_add_(0, cell, columns.cpu())
        of_bin = one_hot(cell % len(self.bins), len(self.bins)).to(c)  # counts so small are exact in float32
        fires = (of_bin.T @ (c != 0).to(c)).to(torch.int64).cpu()
        self.fires += fires
        by_subset = subsets(fires.numpy(), self.bins, axis=0)
        self.silent.append([len(x), *(int((count == 0).sum()) for count in by_subset.values())])


def density_histogram(fires: NDArray[np.int64], n_rows: int) -> tuple[bootstrap.Float, NDArray[np.int64]]:
    """Count features by log₁₀ of the share of rows in which they fire: edges [bins + 1] from −7 to 0, counts [bins].

    Features that never fired are in no bin.
    """
    edges = np.arange(-7.0, 0.01, 0.25)
    live = fires[fires > 0] / n_rows
    return edges, np.histogram(np.log10(live), bins=edges)[0]


@dataclass(frozen=True)
class Counts:
    """In how many of `rows` rows each feature fired, int64 [d_sae], and how many features are silent in a batch: the
    mean over the batches of `batch` rows. Where only some positions count, both see a batch's rows at those alone.

    Exact, without intervals: resampling contexts would inflate deadness.
    """

    rows: int
    count: torch.Tensor
    silent: float
    batch: int

    @property
    def live(self) -> torch.Tensor:
        """bool [d_sae]."""
        return self.count > 0

    @property
    def dead(self) -> float:
        """The share that never fired."""
        return float((~self.live).double().mean())


@dataclass(frozen=True)
class Fires:
    """Which features of an SAE fired, by subset of positions."""

    run: FittedRun
    hook: str
    noise: bool
    by_subset: Mapping[str, Counts]

    @property
    def all(self) -> Counts:
        return self.by_subset[Subset.ALL]

    def lines(self) -> list[Row]:
        return [self._line(subset, counts) for subset, counts in self.by_subset.items()]

    def _line(self, subset: str, counts: Counts) -> Row:
        edges, features = density_histogram(counts.count.numpy(), counts.rows)
        return {
            "run": self.run.name, "variant": self.run.variant, "hook": self.hook, "noise": self.noise,
            "subset": subset, "rows": counts.rows, "d_sae": len(counts.count), "dead": counts.dead,
            "silent": counts.silent, "batch": counts.batch, "density_log10_edges": edges.tolist(),
            "density_features": features.tolist(),
        }  # fmt: skip


@torch.no_grad()
def tallied(
    heldout: Heldout, runs: Sequence[FittedRun], *, hooks: Sequence[str] = (), noises: Sequence[bool] = (False, True),
    seed: int = 0, device: torch.device | str = "cpu", kept: Kept = NOTHING,
) -> Iterator[tuple[Fires, bootstrap.Float, bootstrap.Float]]:  # fmt: skip
    """For each SAE, noise off and on: its fires, and by group and bin of positions sums of COLUMNS and of the rows x.

    Shapes: [groups, bins, columns] and [groups, bins, d_model]. Noise is drawn from `seed` and the hook, the same for
    all runs of one width.
    """
    chosen = [hook for hook in hooks_of(runs) if not hooks or hook in hooks]
    with Bar(total=len(chosen) * heldout.n_rows(), desc="measuring", unit="row", unit_scale=True) as bar:
        for hook in chosen:
            bar.set_postfix_str(hook)
            here = [run for run in runs if hook in run.hooks]
            saes = [run.sae(hook, device) for run in here]
            kinds = [(i, noise) for i, run in enumerate(here) for noise in noises if noise in run.noises]
            about = ["rows by position", device_identity(device), heldout.identity(), hook, seed,
                     [run.identity() for run in here], kinds]  # fmt: skip
            found = kept.load(about)
            if found is None:
                found = _tally(heldout, hook, saes, kinds, seed, device, bar)
                kept.save(about, found)
            else:
                bar.update(heldout.n_rows())
            for n, (i, noise) in enumerate(kinds):
                sums = found[f"sums {n}"]
                counts = _counts(sums[..., 0].sum(axis=0), found[f"fires {n}"], found[f"silent {n}"], heldout.bins)
                yield Fires(here[i], hook, noise, counts), sums, found["x"]


def _counts(
    rows: bootstrap.Float, fires: NDArray[np.int64], silent: NDArray[np.int64], bins: list[tuple[str, int, int]]
) -> dict[str, Counts]:
    """Of rows [bins], fires [bins, d_sae], and by batch its rows and what is silent in each subset, [batches, …]."""
    size = int(silent[:, 0].max())
    means = silent[silent[:, 0] == size, 1:].mean(axis=0)
    rows_of, fires_of = subsets(rows, bins, axis=0), subsets(fires, bins, axis=0)
    return {
        name: Counts(int(rows_of[name]), torch.from_numpy(fires_of[name]), float(mean), size)
        for name, mean in zip(fires_of, means, strict=True)
        if rows_of[name]
    }


def _tally(
    heldout: Heldout, hook: str, saes: Sequence[SAE], kinds: Sequence[tuple[int, bool]], seed: int,
    device: torch.device | str, bar: Bar,
) -> dict[str, np.ndarray]:  # fmt: skip
    """One pass over a hook's rows: sums, fires and silent counts of each kind by its number, and the sums of x."""
    bins = heldout.bins
    bin_of = np.repeat(np.arange(len(bins)), [end - begin for _, begin, end in bins])
    tallies = [Tally.empty(heldout.n_groups, bins, saes[i].d_sae) for i, _ in kinds]
    x_sum = torch.zeros(heldout.n_groups * len(bins), saes[0].d_model, dtype=torch.float64)
    generator = torch.Generator(device).manual_seed(torch_seed(seed, crc32(hook.encode())))
    for rows in heldout.rows(hook, batch_size=BATCH):
        cell = torch.from_numpy(rows.group * len(bins) + bin_of[rows.position])
        x_sum.index_add_(0, cell, rows.x.double())
        x, drawn = rows.x.to(device), dict[int, torch.Tensor]()
        for (i, noise), tally in zip(kinds, tallies, strict=True):
            sae = saes[i]
            if noise and sae.d_sae not in drawn:
                drawn[sae.d_sae] = torch.randn(len(x), sae.d_sae, generator=generator, device=device)
            tally.add(sae, x, drawn[sae.d_sae] if noise else None, cell)
        bar.update(len(x))
    found = {"x": x_sum.view(heldout.n_groups, len(bins), -1).numpy()}
    for n, tally in enumerate(tallies):
        found |= {f"sums {n}": tally.sums.numpy(), f"fires {n}": tally.fires.numpy(),
                  f"silent {n}": np.array(tally.silent, dtype=np.int64)}  # fmt: skip
    return found


def evaluate(
    heldout: Heldout, runs: Sequence[FittedRun], *, hooks: Sequence[str] = (), seed: int = 0,
    device: torch.device | str = "cpu", kept: Kept = NOTHING,
) -> tuple[Estimates, list[Fires]]:  # fmt: skip
    """All measures of all runs, noise off and on, and in how many rows each of their features fired."""
    estimates: Estimates = {}
    fires: list[Fires] = []
    drawn = bootstrap.weights(heldout.n_groups, seed=seed)
    for one, sums, x_sum in tallied(heldout, runs, hooks=hooks, seed=seed, device=device, kept=kept):
        key, weight = (one.run.name, one.hook, one.noise), one.run.l2_weight(x_sum.shape[-1])
        estimates |= _estimates(key, sums, x_sum, heldout.bins, drawn, weight)
        fires.append(one)
    return estimates, fires


def _estimates(
    key: tuple[str, str, bool], sums: bootstrap.Float, x_sum: bootstrap.Float, bins: list[tuple[str, int, int]],
    drawn: bootstrap.Float, l2_weight: float,
) -> Estimates:  # fmt: skip
    """Each measure on each subset of positions that has rows."""
    found: Estimates = {}
    inputs = subsets(x_sum, bins, axis=1)
    for subset, by_group in subsets(sums, bins, axis=1).items():
        if by_group[:, 0].sum():
            whole = RowSums.of_columns(by_group.sum(axis=0), inputs[subset].sum(axis=0), l2_weight)
            resamples = RowSums.of_columns(
                bootstrap.resampled(by_group, drawn), bootstrap.resampled(inputs[subset], drawn), l2_weight
            )
            found |= of_one(whole.measures(), resamples.measures(), (*key, subset), drawn.shape[1])
    return found


def as_table(lines: Sequence[Row], features: Sequence[Row]) -> str:
    """Markdown: of each SAE, noise off and on, measures over all positions with their intervals, and its dead share."""
    of = {
        (line["hook"], line["run"], line["noise"], line["measure"]): line
        for line in lines
        if line["subset"] == Subset.ALL
    }
    shown, rows = measures_on(Sample.HELD_OUT, Shown.TABLES), []
    for about in (line for line in features if line["subset"] == Subset.ALL):
        key = (about["hook"], about["run"], about["noise"])
        lines_of = [of[*key, name] for name in shown]
        cells = [trained_on(lines_of[0]), *map(with_interval, lines_of)]
        rows.append([*key[:2], "on" if about["noise"] else "off", *cells, short(about["dead"])])
    return markdown(["hook", "run", "noise", "trained on", *(m.title for m in shown.values()), "dead"], rows)
