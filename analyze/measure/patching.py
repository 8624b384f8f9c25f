"""What a layer's reconstruction costs the language model: its loss, and how its next-token distributions change.

All on the same positions (context − 1) of the same contexts, whatever the run and layer, so that intervals are paired.
The first positions of a context that the store skips (--skip-positions) were never seen by an SAE: every pass, also the
zeroed one, leaves them clean, and so it does position 0 with keep_first. They count in the losses, KL and agreement,
where they differ in nothing from the clean pass, but not in L0.
Activations are the model's own, float32, in the form that the store's processing gave them.

Not here: the model (lm.py), intervals (bootstrap.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyze.measure.cache import NO_CACHE, MeasurementCache, device_identity
from analyze.measure.heldout import Heldout, Ints
from analyze.measure.patched_model import PatchableModel
from analyze.runs.trained_run import TrainedRun, all_hooks
from analyze.statistics import bootstrap
from analyze.statistics.estimates import Estimates, estimates_of_sae
from analyze.tables import Row, markdown, trained_on, with_interval
from data.command.progress import Bar
from data.errors import InputError
from data.store.reader import Store
from data.store.stats import Subset
from train.measures import PATCHED, Sample, Shown, compute, measures_on
from train.sae import SAE
from train.step.noise import torch_seed

CONTEXTS_AT_ONCE = 4
KEEP_SECONDS = 30.0
DONE = "contexts done"


@dataclass(frozen=True)
class PassSums:
    """Sums of one pass over positions: float64 arrays of one shape."""

    positions: bootstrap.Float  # count of those that the pass replaced; of the clean pass, all
    loss: bootstrap.Float
    kl: bootstrap.Float
    agreement: bootstrap.Float
    l0: bootstrap.Float

    @classmethod
    def of_columns(cls, sums: bootstrap.Float) -> PassSums:
        """Name the columns of sums [..., COLUMNS]."""
        return cls(*np.moveaxis(sums, -1, 0))


COLUMNS = tuple(field.name for field in fields(PassSums))
POSITIONS = COLUMNS.index("positions")


@dataclass(frozen=True)
class Passes:
    """The sums of the four passes that the measures compare (train/measures.py), over the same positions."""

    clean: PassSums
    zero: PassSums
    mean: PassSums
    patched: PassSums


def clean_positions(store: Store, *, keep_first: bool) -> int:
    """How many first positions of each context are left as they are. Raises InputError if none is left to patch."""
    context = store.schema.context_size
    first = max(store.schema.skip_positions, int(keep_first))
    if first >= context - 1:
        raise InputError(
            f"{store.path} has contexts of {context} positions, of which the first {first} stay as they are and the "
            "last predicts nothing: no position is left to patch; harvest with a smaller --skip-positions"
        )
    return first


class Reference:
    """The clean pass over some contexts, to compare others with: logits [b, context, V], tokens [b, context]."""

    def __init__(self, logits: Tensor, tokens: Tensor) -> None:
        clean = logits[:, :-1]
        self._targets = tokens[:, 1:, None]
        logarithms = torch.log_softmax(clean.float(), dim=-1)
        self._p = logarithms.exp()
        self._likeliest = clean.argmax(dim=-1)
        self._logarithms = logarithms

    def compare(self, logits: Tensor) -> Tensor:
        """Return the terms of all COLUMNS but l0, at each position but the last: float64 [b, context − 1, 4]."""
        here = torch.log_softmax(logits[:, :-1].float(), dim=-1)
        loss = -here.gather(-1, self._targets)[..., 0]
        agreement = logits[:, :-1].argmax(dim=-1) == self._likeliest
        # Differences first: that of two sums over the vocabulary would be rounding where KL is small.
        kl = _dot(self._p, torch.sub(self._logarithms, here, out=here))
        return torch.stack([torch.ones_like(loss), loss, kl, agreement.to(loss.dtype)], dim=-1).double()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ over the vocabulary without a product in memory: [b, t, V] twice → [b, t]."""
    return torch.einsum("btv,btv->bt", a, b)


class What(NamedTuple):
    """What stands in a hook's place: a run's reconstruction, `zero`, `mean`; or nothing (`clean`)."""

    name: str
    hook: str = ""
    noise: bool = False


class PatchSums:
    """Sums by group for each What: float64 [groups, COLUMNS]."""

    def __init__(self, n_groups: int) -> None:
        self._n_groups = n_groups
        self.of: dict[What, bootstrap.Float] = {}

    @classmethod
    def restored(cls, n_groups: int, kept: Mapping[str, NDArray[Any]] | None) -> tuple[PatchSums, int]:
        """Of `arrays`, or empty; and how many contexts are in them."""
        tallies = cls(n_groups)
        if kept is None:
            return tallies, 0
        tallies.of = {What(*json.loads(name)): sums for name, sums in kept.items() if name != DONE}
        return tallies, int(kept[DONE])

    def arrays(self, done: int) -> dict[str, NDArray[Any]]:
        """To be kept, with the count of contexts that are in them."""
        return {DONE: np.array(done), **{json.dumps(what): sums for what, sums in self.of.items()}}

    def add(self, what: What, terms: Tensor, group: Ints, l0: Tensor | None = None) -> None:
        """Terms [b, t, 4] of positions that belong to `group` [b, t], and how many features were active there."""
        total = self.of.setdefault(what, np.zeros((self._n_groups, len(COLUMNS))))
        last = torch.zeros_like(terms[..., 0]) if l0 is None else l0
        every = torch.cat([terms, last[..., None]], dim=-1)
        np.add.at(total, group.reshape(-1), every.reshape(-1, len(COLUMNS)).cpu().numpy())


CLEAN = What("clean")


@dataclass(frozen=True)
class Patched:
    """A hook to be patched: the training split's mean there [d_model], and the SAEs by run, noise off and on."""

    hook: str
    mean: Tensor
    saes: list[tuple[TrainedRun, SAE]]

    def kinds(self) -> Iterator[tuple[TrainedRun, SAE, bool]]:
        for run, sae in self.saes:
            for noise in run.noises:
                yield run, sae, noise

    def replacements(self, x: Tensor, seed: int) -> Iterator[tuple[What, Tensor, Tensor | None]]:
        """What may stand for x [b, context, d_model], and the L0 of it [b, context] where it has features.

        Noise is a function of `seed`, the same for SAEs of one width.
        """
        yield What("zero", self.hook), torch.zeros_like(x), None
        yield What("mean", self.hook), self.mean.expand_as(x).clone(), None
        for run, sae, noise in self.kinds():
            epsilon = None
            if noise:
                generator = torch.Generator(x.device).manual_seed(seed)
                epsilon = torch.randn((*x.shape[:-1], sae.d_sae), generator=generator, device=x.device)
            c = sae.encode(x, epsilon)
            yield What(run.name, self.hook, noise), sae.decode(c), (c != 0).sum(dim=-1).double()


@torch.inference_mode()
def patch(
    model: PatchableModel, heldout: Heldout, runs: Sequence[TrainedRun], *, hooks: Sequence[str] = (), seed: int = 0,
    keep_first: bool = False, contexts_at_once: int = CONTEXTS_AT_ONCE, device: torch.device | str = "cpu",
    cache: MeasurementCache = NO_CACHE,
) -> Estimates:  # fmt: skip
    """The measures of each run and hook, NSAE with noise off and on; `keep_first` leaves position 0 clean.

    The clean pass is run once for all, and the ablated ones once for all runs. Raises InputError if the store leaves no
    position to patch.
    """
    first = clean_positions(heldout.store, keep_first=keep_first)
    chosen = [
        Patched(
            hook, torch.from_numpy(heldout.store.statistics(hook).mean()).float().to(device),
            [(run, run.sae(hook, device)) for run in runs if hook in run.hooks],
        )
        for hook in all_hooks(runs) if not hooks or hook in hooks
    ]  # fmt: skip
    tokens = torch.from_numpy(heldout.tokens().astype(np.int64))
    about = ["patched", device_identity(device), heldout.identity(), seed, first, contexts_at_once,
             [[one.hook, *(run.identity() for run, _ in one.saes)] for one in chosen]]  # fmt: skip
    tallies, done = PatchSums.restored(heldout.n_groups, cache.load(about))
    saved = time.monotonic()
    with Bar(total=len(tokens), initial=done, desc="patching", unit="context") as bar:
        for begin in range(done, len(tokens), contexts_at_once):
            here = tokens[begin : begin + contexts_at_once].to(device)
            group = heldout.group_of[begin : begin + contexts_at_once, 1:]
            logits, activations = model.clean(here)
            reference = Reference(logits, here)
            tallies.add(CLEAN, reference.compare(logits), group)
            for one in chosen:
                x = activations[one.hook]
                for what, value, l0 in one.replacements(x, torch_seed(seed, crc32(one.hook.encode()), begin)):
                    value[:, :first] = x[:, :first]
                    terms = reference.compare(model.patched(one.hook, value))
                    terms[:, :first, POSITIONS] = 0
                    if l0 is not None:
                        l0[:, :first] = 0
                    tallies.add(what, terms, group, None if l0 is None else l0[:, :-1])
            bar.update(len(here))
            if time.monotonic() - saved > KEEP_SECONDS or begin + len(here) == len(tokens):
                cache.save(about, tallies.arrays(begin + len(here)))
                saved = time.monotonic()
    drawn = bootstrap.weights(heldout.n_groups, seed=seed)
    found: Estimates = {}
    for one in chosen:
        others = [tallies.of[what] for what in (CLEAN, What("zero", one.hook), What("mean", one.hook))]
        for run, _, noise in one.kinds():
            patched = tallies.of[What(run.name, one.hook, noise)]
            found |= _estimates([*others, patched], drawn, (run.name, one.hook, noise))
    return found


def patch_measures(
    clean: bootstrap.Float, zero: bootstrap.Float, mean: bootstrap.Float, patched: bootstrap.Float
) -> dict[str, bootstrap.Float]:
    """Return the measures by name, [...] each, from the four passes' sums [..., COLUMNS] over the same positions."""
    passes = Passes(*map(PassSums.of_columns, (clean, zero, mean, patched)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return compute(PATCHED.values(), passes)


def _estimates(several: Sequence[bootstrap.Float], drawn: bootstrap.Float, key: tuple[str, str, bool]) -> Estimates:
    """Of sums by group, clean, zeroed, with the mean and patched; all resampled alike."""
    values = patch_measures(*(sums.sum(axis=0) for sums in several))
    replicates = patch_measures(*(bootstrap.resampled(sums, drawn) for sums in several))
    return estimates_of_sae(values, replicates, (*key, Subset.ALL), drawn.shape[1])


NEEDED = 0.01  # nats a token lost by zeroing a layer, for a score to mean something


def as_table(lines: Sequence[Row]) -> str:
    """Markdown: of each run and hook, noise off and on, the measures with their intervals.

    A score whose denominator, what zeroing costs, is near 0 is marked.
    """
    of = {(line["hook"], line["run"], line["noise"], line["measure"]): line for line in lines}
    shown, rows, marked = measures_on(Sample.PATCHED, Shown.TABLES), list[list[str]](), False
    for hook, run, noise in dict.fromkeys(key[:3] for key in of):
        cells = {name: with_interval(of[hook, run, noise, name]) for name in shown}
        if of[hook, run, noise, "nats_lost_zero"]["low"] <= NEEDED:
            cells["score"] += " *"
            marked = True
        about = [hook, run, "on" if noise else "off", trained_on(of[hook, run, noise, "score"])]
        rows.append([*about, *cells.values()])
    table = markdown(["hook", "run", "noise", "trained on", *(m.title for m in shown.values())], rows)
    return f"{table}\n\n* zeroing the layer may cost {NEEDED} nats or less: the score says little" * marked or table
