"""Resampling of dead features (Bricken et al. 2023): find them, draw an input for each, and restart them there.

A feature counts as dead if it fired, noise off, in at most `threshold` of the rows counted since the window began; the
measure `dead` is stricter, with threshold 0. Its new input x is drawn from the rows that training sees next, with
probability p(x) ∝ loss(x)². Its encoder row then points at x, with 0.2 of the live features' mean norm; its decoder row
and bias follow the architecture (`SAE.reset_features_`); its Adam moments become 0. `train.optim.schedule.Resampling`
decides when this happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event

import torch
from torch import Tensor

from train.sae import SAE
from train.step.inputs import Inputs
from train.step.sae_stack import SAEStack

ENCODER_SHARE = 0.2  # of the live features' mean encoder norm

Upcoming = Callable[[], Iterator[Inputs]]
SAEIndex = tuple[SAEStack, int]  # one SAE: its stack, and its index in it


def restart_dead_features(stacks: Sequence[SAEStack], upcoming: Upcoming, *, step: int, stop: Event) -> bool:
    """Restart the dead features of all SAEs. Return False, with nothing changed, if `stop` is set meanwhile.

    `upcoming` gives the rows that training sees next. It is called twice: for the rows' losses, then for the rows
    drawn.
    """
    dead: dict[SAEIndex, Tensor] = {}
    for stack in stacks:
        for i, features in enumerate(dead_features(stack)):
            if len(features):
                dead[stack, i] = features
    if not dead:
        return True
    losses = _row_losses(stacks, upcoming(), stop)
    if losses is None:
        return False
    drawn = {
        (stack, i): draw_inputs(losses[stack][i], len(features), seed=stack.seed(i, step))
        for (stack, i), features in dead.items()
    }
    inputs = _gather(drawn, upcoming(), stop)
    if inputs is None:
        return False
    for (stack, i), features in dead.items():
        sae = stack.singles[i]
        with torch.no_grad():
            restart_features(sae, features, sae.normalise(inputs[stack, i].to(features.device)))
        stack.restart_(i, features)
    for stack in stacks:
        stack.share_()
    return True


def dead_features(stack: SAEStack) -> list[Tensor]:
    """Return the dead features of each SAE: int64 [k] each."""
    counts = stack.counts_since_resampling
    assert counts is not None, "only called in experiments that resample"
    limit = stack.experiment.resampling.threshold * counts.rows
    return [torch.nonzero(fires <= limit)[:, 0] for fires in counts.current]


def draw_inputs(losses: Tensor, n: int, *, seed: int) -> Tensor:
    """Draw n rows by their squared loss: losses [rows] → int64 [n], no row twice if enough have a loss above 0."""
    weights = losses.double().cpu().square()
    if not float(weights.sum()) > 0:
        weights = torch.ones_like(weights)
    generator = torch.Generator().manual_seed(seed)
    if n <= int((weights > 0).sum()):  # an exponential race: torch.multinomial's method, which it limits to 2²⁴ rows
        race = torch.empty_like(weights).exponential_(generator=generator)
        return torch.topk(weights / race, n).indices
    ends = weights.cumsum(0)
    positions = torch.rand(n, generator=generator, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, positions, right=True).clamp(max=len(weights) - 1)


def restart_features(sae: SAE, features: Tensor, x: Tensor) -> None:
    """Restart features int64 [k] of a single SAE at normalised inputs x [k, d_model]."""
    live = torch.ones(sae.d_sae, dtype=torch.bool, device=features.device)
    live[features] = False
    if not live.any():
        live[:] = True
    encoder_norm, decoder_norm = (float(w[live].norm(dim=-1).mean()) for w in (sae.W_enc, sae.W_dec))
    inner = x - sae.b_dec
    sae.reset_features_(features, inner, encoder_norm=ENCODER_SHARE * encoder_norm, decoder_norm=decoder_norm)


def _row_losses(stacks: Sequence[SAEStack], batches: Iterator[Inputs], stop: Event) -> dict[SAEStack, Tensor] | None:
    """Return the loss of each row, [n, rows] per stack; None if stopped."""
    losses: dict[SAEStack, list[Tensor]] = {stack: [] for stack in stacks}
    for batch in batches:
        for stack in stacks:
            if stop.is_set():
                return None
            losses[stack].append(stack.row_losses(batch))
    return None if stop.is_set() else {stack: torch.cat(parts, dim=1) for stack, parts in losses.items()}


def _gather(rows: Mapping[SAEIndex, Tensor], batches: Iterator[Inputs], stop: Event) -> dict[SAEIndex, Tensor] | None:
    """Return the inputs at rows int64 [k], float32 [k, d_model] on the CPU, for each SAE; None if stopped."""
    inputs = {(stack, i): torch.empty(len(drawn), stack.sae.d_model) for (stack, i), drawn in rows.items()}
    begin = 0
    for batch in batches:
        if stop.is_set():
            return None
        end = begin + batch.x.shape[1]
        for (stack, i), drawn in rows.items():
            inside = (drawn >= begin) & (drawn < end)
            inputs[stack, i][inside] = batch.x[stack.inputs[i], (drawn[inside] - begin).to(batch.x.device)].cpu()
        begin = end
    return inputs
