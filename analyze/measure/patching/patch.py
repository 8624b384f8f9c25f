"""Run the language model with a layer's activations replaced by their reconstruction, and compare its outputs.

All runs and layers use the same positions (all but the last) of the same contexts, so intervals are paired. SAEs have
never seen the first positions that the store skips (--skip-positions), so every pass, also the zeroed one, leaves them
as they are; with `keep_first` also position 0. These positions count in the losses, KL and agreement, but not in L0.
Activations are the model's own, float32, in the form that the store's processing gives them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from analyze.measure.cache import NO_CACHE, MeasurementCache, device_identity
from analyze.measure.heldout import Heldout
from analyze.measure.patching.model import PatchableModel
from analyze.measure.patching.passes import CLEAN, POSITIONS, Pass, PatchSums, Reference, patch_measures
from analyze.runs.trained_run import TrainedRun, all_hooks
from analyze.statistics.estimates import Estimates, MeasureRow, estimates_of_sae
from analyze.statistics.jackknife import without_each
from analyze.tables import markdown, with_interval
from data.command.progress import Bar
from data.errors import InputError
from data.store.reader import Store
from data.store.stats import Subset
from train.measures import PATCHED, Measure, Sample, Shown, measures_on
from train.sae import SAE
from train.step.noise import torch_seed

CONTEXTS_AT_ONCE = 4
SAVE_SECONDS = 30.0  # between two saves of the partial sums
NEEDED = 0.01  # nats per token lost by zeroing a layer; below that, a score says little


def clean_positions(store: Store, *, keep_first: bool) -> int:
    """Return how many first positions of each context stay unchanged. Raises InputError if none is left to patch."""
    context = store.schema.context_size
    first = max(store.schema.skip_positions, int(keep_first))
    if first >= context - 1:
        raise InputError(
            f"{store.path} has contexts of {context} positions, of which the first {first} stay as they are and the "
            "last predicts nothing: no position is left to patch; harvest with a smaller --skip-positions"
        )
    return first


@dataclass(frozen=True)
class PatchedHook:
    """A hook to patch: the training split's mean activation there, [d_model], and its SAEs."""

    hook: str
    mean: Tensor
    saes: list[tuple[TrainedRun, SAE]]

    def reconstructions(self) -> Iterator[tuple[Pass, SAE]]:
        """Yield each SAE with noise off, and with noise on if it was trained with noise."""
        for run, sae in self.saes:
            for noise in run.noises:
                yield Pass(run.name, self.hook, noise), sae

    def passes(self) -> list[Pass]:
        """List the passes with zero, with the mean, and with each reconstruction."""
        return [Pass("zero", self.hook), Pass("mean", self.hook), *(key for key, _ in self.reconstructions())]

    def replacements(self, x: Tensor, seed: int, due: Collection[Pass]) -> Iterator[tuple[Pass, Tensor, Tensor | None]]:
        """Yield the due passes' replacements of x [b, context, d_model] and their L0 [b, context], None without one.

        The noise depends on `seed` only. It is the same for all SAEs of one width.
        """
        zero, mean = Pass("zero", self.hook), Pass("mean", self.hook)
        if zero in due:
            yield zero, torch.zeros_like(x), None
        if mean in due:
            yield mean, self.mean.expand_as(x).clone(), None
        for key, sae in self.reconstructions():
            if key not in due:
                continue
            epsilon = None
            if key.noise:
                generator = torch.Generator(x.device).manual_seed(seed)
                epsilon = torch.randn((*x.shape[:-1], sae.d_sae), generator=generator, device=x.device)
            c = sae.encode(x, epsilon)
            yield key, sae.decode(c, x), (c != 0).sum(dim=-1).double()


@torch.inference_mode()
def patch(
    model: PatchableModel, heldout: Heldout, runs: Sequence[TrainedRun], *, hooks: Sequence[str] = (), seed: int = 0,
    keep_first: bool = False, measures: Collection[Measure] = PATCHED.values(), uncounted: Sequence[int] = (),
    keep_uncounted: bool = False, contexts_at_once: int = CONTEXTS_AT_ONCE, device: torch.device | str = "cpu",
    cache: MeasurementCache = NO_CACHE,
) -> Estimates:  # fmt: skip
    """Measure each SAE in the language model, NSAE with noise off and on; `hooks` empty means all.

    keep_first: leave position 0 unchanged.
    uncounted: ids of tokens whose positions do not count.
    keep_uncounted: leave them unchanged in the passes with reconstructions (not in those with zeros and the mean).

    The clean pass runs once per context, the passes with zero and the mean once per context and hook, whatever the
    count of runs. Raises InputError if the store leaves no position to patch.
    """
    first = clean_positions(heldout.store, keep_first=keep_first)
    patched_hooks = [
        PatchedHook(
            hook, torch.from_numpy(heldout.store.statistics(hook).mean()).float().to(device),
            [(run, run.sae(hook, device)) for run in runs if hook in run.hooks],
        )
        for hook in all_hooks(runs) if not hooks or hook in hooks
    ]  # fmt: skip
    shared = [device_identity(device), heldout.identity(), seed, first, contexts_at_once, [*uncounted], keep_uncounted]
    identities = {run.name: run.identity() for run in runs}

    def key_of(pass_: Pass) -> list[Any]:
        """Return what a pass's sums depend on. What other passes there are changes nothing."""
        return ["patched", *shared, pass_.hook, pass_.noise, identities.get(pass_.name, pass_.name)]

    tokens = torch.from_numpy(heldout.tokens().astype(np.int64))
    passes = [CLEAN, *(pass_ for at in patched_hooks for pass_ in at.passes())]
    sums = PatchSums(heldout.n_groups)
    for pass_ in passes:
        sums.begin(pass_, cache.load(key_of(pass_)))
    done = min(sums.done.values())
    not_counted = torch.tensor(uncounted, dtype=torch.int64, device=device)
    changed, saved = set[Pass](), time.monotonic()
    with Bar(total=len(tokens), initial=done, desc="patching", unit="context") as bar:
        for begin in range(done, len(tokens), contexts_at_once):
            due = {pass_ for pass_ in passes if sums.done[pass_] <= begin}
            batch = tokens[begin : begin + contexts_at_once].to(device)
            group = heldout.group_of[begin : begin + contexts_at_once, 1:]
            logits, activations = model.clean(batch)
            reference = Reference(logits, batch)
            special = torch.isin(batch, not_counted)
            counted = (~special[:, :-1, None]).double()
            if CLEAN in due:
                sums.add(CLEAN, reference.compare(logits) * counted, group)
            for at in patched_hooks:
                x = activations[at.hook]
                for pass_, value, l0 in at.replacements(x, torch_seed(seed, crc32(at.hook.encode()), begin), due):
                    value[:, :first] = x[:, :first]
                    if keep_uncounted and l0 is not None:
                        value[special] = x[special]
                    terms = reference.compare(model.patched(at.hook, value)) * counted
                    terms[:, :first, POSITIONS] = 0
                    if l0 is not None:
                        l0[:, :first] = 0
                        l0[special] = 0
                    sums.add(pass_, terms, group, None if l0 is None else l0[:, :-1])
            bar.update(len(batch))
            changed |= due
            if time.monotonic() - saved > SAVE_SECONDS or begin + len(batch) == len(tokens):
                for pass_ in changed:
                    cache.save(key_of(pass_), sums.to_arrays(pass_))
                changed, saved = set(), time.monotonic()
    return {
        estimate_key: estimate
        for at in patched_hooks
        for pass_, _ in at.reconstructions()
        for estimate_key, estimate in _estimates(sums, pass_, measures).items()
    }


def _estimates(sums: PatchSums, patched: Pass, measures: Collection[Measure]) -> Estimates:
    """Return the measures of one SAE, from its pass and the three that it is compared with."""
    keys = (CLEAN, Pass("zero", patched.hook), Pass("mean", patched.hook), patched)
    positions = sums.by_group(CLEAN)[:, POSITIONS]
    passes = [sums.by_group(key)[positions > 0] for key in keys]
    values = patch_measures(measures, *(by_group.sum(axis=0) for by_group in passes))
    replicates = patch_measures(measures, *map(without_each, passes))
    sae = (patched.name, patched.hook, patched.noise, Subset.ALL)
    return estimates_of_sae(values, replicates, positions[positions > 0] / positions.sum(), sae)


def as_table(rows: Sequence[MeasureRow], trained: Mapping[str, str]) -> str:
    """Return a Markdown table with a row per run and hook, noise off and on, with intervals.

    A score is marked where zeroing the layer may cost next to nothing, because the score divides by that cost.

    trained: how far each run was trained, by name.
    """
    row_of = {(row.hook, row.run, row.noise, row.measure): row for row in rows}
    measured = {row.measure for row in rows}
    shown = {name: m for name, m in measures_on(Sample.PATCHED, Shown.TABLES).items() if name in measured}
    lines, marked = list[list[str]](), False
    for hook, run, noise in dict.fromkeys(key[:3] for key in row_of):
        of_sae = {name: row_of[hook, run, noise, name] for name in shown}
        cells = {name: with_interval(row.value, row.low, row.high) for name, row in of_sae.items()}
        if row_of[hook, run, noise, "nats_lost_zero"].low <= NEEDED:
            cells["score"] += " *"
            marked = True
        lines.append([hook, run, "on" if noise else "off", trained[run], *cells.values()])
    table = markdown(["hook", "run", "noise", "trained on", *(m.title for m in shown.values())], lines)
    return f"{table}\n\n* zeroing the layer may cost {NEEDED} nats or less: the score says little" * marked or table
