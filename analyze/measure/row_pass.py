"""One pass over a hook's held-out rows for all its SAEs: sums for the measures, and counts of firing features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast
from zlib import crc32

import numpy as np
import torch
from torch.nn.functional import one_hot

from analyze.measure.cache import NO_CACHE, Arrays, MeasurementCache, device_identity
from analyze.measure.firing import FeatureActivity, fire_counts
from analyze.measure.heldout import Heldout
from analyze.measure.positions import subsets
from analyze.measure.row_sums import COLUMNS, ROWS, row_columns
from analyze.measure.truth import TruthCounts, TruthSums, match
from analyze.runs.trained_run import TrainedRun, all_hooks
from analyze.statistics.jackknife import Float
from data.command.progress import Bar
from data.store.truth import Truth
from train.sae import SAE
from train.step.noise import torch_seed

BATCH = 4096  # rows. Silent features are counted per batch of this size, or of a shard's size where that is smaller


class SummedRows(NamedTuple):
    """The sums of one SAE over the held-out rows, noise off or on."""

    activity: FeatureActivity
    sums: Float  # [groups, bins, COLUMNS]
    x: Float  # sums of the rows x: [groups, bins, d_model]
    x_hat: Float  # sums of their reconstructions: [groups, bins, d_model]
    truth: TruthSums | None  # over all rows, if the pass compares with a truth


@torch.no_grad()
def sum_rows(
    heldout: Heldout, runs: Sequence[TrainedRun], *, hooks: Sequence[str] = (), noises: Sequence[bool] = (False, True),
    seed: int = 0, truth: Truth | None = None, device: torch.device | str = "cpu", cache: MeasurementCache = NO_CACHE,
) -> Iterator[SummedRows]:  # fmt: skip
    """Yield the sums of each SAE, noise off and on, hook by hook; `hooks` empty means all.

    The noise is drawn from `seed` and the hook's name. It is the same for all SAEs of one width. truth: what to compare
    the SAEs with, if the store records it.
    """
    chosen = [hook for hook in all_hooks(runs) if not hooks or hook in hooks]
    with Bar(total=len(chosen) * heldout.n_rows(), desc="measuring", unit="row", unit_scale=True) as bar:
        for hook in chosen:
            bar.set_postfix_str(hook)
            passes = [(run, noise) for run in runs if hook in run.hooks for noise in noises if noise in run.noises]
            of_rows = ["rows by position", device_identity(device), heldout.identity(), hook]
            keys = [
                [*of_rows, "reconstructed", seed, run.identity(), noise, *(["truth"] if truth else [])]
                for run, noise in passes
            ]
            arrays: list[Arrays | None] = [cache.load(key) for key in keys]
            x_arrays: Arrays | None = cache.load(of_rows)
            missing = [n for n, array in enumerate(arrays) if array is None]
            if missing or x_arrays is None:
                summed, x_arrays = _sum_hook(heldout, hook, [passes[n] for n in missing], seed, truth, device, bar)
                cache.save(of_rows, x_arrays)
                for n, of_pass in zip(missing, summed, strict=True):
                    cache.save(keys[n], of_pass)
                    arrays[n] = of_pass
            else:
                bar.update(heldout.n_rows())
            for (run, noise), of_pass in zip(passes, cast(list[Arrays], arrays), strict=True):
                sums = of_pass["sums"]
                rows = sums[..., ROWS].sum(axis=0)
                counts = fire_counts(rows, of_pass["fires"], of_pass["silent"], heldout.bins)
                compared = TruthSums.of_array(of_pass["truth"]) if truth else None
                activity = FeatureActivity(run, hook, noise, counts)
                in_groups = [total[: heldout.n_groups] for total in (sums, x_arrays["x"], of_pass["x_hat"])]
                yield SummedRows(activity, in_groups[0], in_groups[1], in_groups[2], compared)


def feature_activity(
    heldout: Heldout, runs: Sequence[TrainedRun], *, hooks: Sequence[str] = (), device: torch.device | str = "cpu"
) -> list[FeatureActivity]:
    """Return which features of each SAE fire, noise off; `hooks` empty means all."""
    return [summed.activity for summed in sum_rows(heldout, runs, hooks=hooks, noises=(False,), device=device)]


@dataclass
class SaeSums:
    """Accumulates the sums of one SAE, noise off or on. The last entry of sums by group is of rows in no group."""

    sums: torch.Tensor  # float64 [groups + 1, bins, COLUMNS]
    x_hat: torch.Tensor  # float64 [groups + 1, bins, d_model]
    fires: torch.Tensor  # int64 [bins, d_sae]
    bins: list[tuple[str, int, int]]
    silent: list[list[int]]  # per batch: its rows, and its count of silent features in each subset of positions
    truth: TruthCounts | None

    @classmethod
    def empty(cls, n_groups: int, bins: list[tuple[str, int, int]], sae: SAE, truth: TruthCounts | None) -> SaeSums:
        sums, x_hat = (
            torch.zeros(n_groups + 1, len(bins), n, dtype=torch.float64) for n in (len(COLUMNS), sae.d_model)
        )  # fmt: skip
        return cls(sums, x_hat, torch.zeros(len(bins), sae.d_sae, dtype=torch.int64), bins, [], truth)

    def add(
        self, sae: SAE, x: torch.Tensor, epsilon: torch.Tensor | None, cell: torch.Tensor, true_fires: torch.Tensor
    ) -> None:
        """Add the rows x float32 [n, d_model].

        cell: int64 [n], the row's group · bins + bin. epsilon: the noise, [n, d_sae]. true_fires: which true features
        fire, bool [n, n_features].
        """
        c = sae.encode(x, epsilon)
        x_hat = sae.decode(c, x)
        columns = row_columns(x, c, x_hat, sae.input_units(x))
        self.sums.view(-1, len(COLUMNS)).index_add_(0, cell, columns.cpu())
        self.x_hat.view(-1, sae.d_model).index_add_(0, cell, x_hat.double().cpu())
        in_bin = one_hot(cell % len(self.bins), len(self.bins)).to(c)  # float32 is exact for such small counts
        fires = (in_bin.T @ (c != 0).to(c)).to(torch.int64).cpu()
        self.fires += fires
        by_subset = subsets(fires.numpy(), self.bins, axis=0)
        self.silent.append([len(x), *(int((count == 0).sum()) for count in by_subset.values())])
        if self.truth is not None:
            self.truth.add((c != 0).cpu(), true_fires)

    def arrays(self, sae: SAE, directions: torch.Tensor | None, true_counts: torch.Tensor) -> Arrays:
        """Return the sums by name. directions: the true features' [n_features, d_model]; true_counts: their firings."""
        arrays = {"sums": self.sums.numpy(), "x_hat": self.x_hat.numpy(), "fires": self.fires.numpy(),
                  "silent": np.array(self.silent, dtype=np.int64)}  # fmt: skip
        if self.truth is not None and directions is not None:
            W_dec = sae.W_dec.detach().cpu()
            arrays["truth"] = self.truth.sums(W_dec, directions, self.fires.sum(dim=0), true_counts).array()
        return arrays


def _sum_hook(
    heldout: Heldout, hook: str, passes: Sequence[tuple[TrainedRun, bool]], seed: int, truth: Truth | None,
    device: torch.device | str, bar: Bar,
) -> tuple[list[Arrays], Arrays]:  # fmt: skip
    """Read a hook's rows once, for passes of (run, noise on).

    Returns for each pass `sums`, `x_hat`, `fires` and `silent` as in SaeSums, and `truth` as in TruthSums; and `x`, the
    sums of the rows. An SAE's sums do not depend on the other passes.
    """
    bins = heldout.bins
    bin_of = np.repeat(np.arange(len(bins)), [end - begin for _, begin, end in bins])
    directions = None if truth is None else torch.from_numpy(truth.directions[hook])
    loaded = {run.name: run.sae(hook, device) for run, _ in passes}
    saes = [loaded[run.name] for run, _ in passes]
    totals = [
        SaeSums.empty(
            heldout.n_groups, bins, sae,
            None if directions is None else TruthCounts(match(sae.W_dec.detach().cpu(), directions)),
        )
        for sae in saes
    ]  # fmt: skip
    true_counts = torch.zeros(0 if truth is None else truth.sizes.n_features, dtype=torch.int64)
    x_sum = torch.zeros((heldout.n_groups + 1) * len(bins), heldout.store.width(hook), dtype=torch.float64)
    noise_seed = torch_seed(seed, crc32(hook.encode()))
    generators = {sae.d_sae: torch.Generator(device).manual_seed(noise_seed) for sae in saes}
    for rows in heldout.rows(hook, batch_size=BATCH):
        cell = torch.from_numpy(rows.group * len(bins) + bin_of[rows.position])
        x_sum.index_add_(0, cell, rows.x.double())
        x, noise_of_width = rows.x.to(device), dict[int, torch.Tensor]()
        true_fires = torch.zeros(len(x), 0, dtype=torch.bool)
        if truth is not None:
            true_fires = torch.from_numpy(truth.fires(heldout.row_numbers(rows)))
            true_counts += true_fires.sum(dim=0)
        for (_, noise), sae, total in zip(passes, saes, totals, strict=True):
            width = sae.d_sae
            if noise and width not in noise_of_width:
                noise_of_width[width] = torch.randn(len(x), width, generator=generators[width], device=device)
            total.add(sae, x, noise_of_width[width] if noise else None, cell, true_fires)
        bar.update(len(x))
    return (
        [total.arrays(sae, directions, true_counts) for sae, total in zip(saes, totals, strict=True)],
        {"x": x_sum.view(heldout.n_groups + 1, len(bins), -1).numpy()},
    )
