"""The gradients of SAEs that state their loss alone, by PyTorch: on selected pairs if these are few, else on matrices.

Each SAE of a stack is taken by itself. The sparse step makes one pass over the encoder's product, block by block of
rows, and has only one block's pre-activations in memory; all else is computed on the pairs of the whole batch. Where
too many entries are selected, the definition (`SAE.training_pass`) is differentiated as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from train.loss import Terms
from train.sae import SAE, Gradients, LossInputs, PairwiseSAE, TrainingPass
from train.sae.batch_split import BatchSplit
from train.sae.selection import Selection, largest
from train.step.gradients import Forward
from train.step.pair_entries import PairEntries, encoded_entries
from train.step.pair_products import PairProducts
from train.step.sparse import Pairs
from train.step.workspace import StepWorkspace, slices


class TooDenseError(Exception):
    """More entries are selected than the sparse step is faster for."""


@dataclass(frozen=True)
class PairRows:
    """The rows of one SAE's batch, of which only selected pre-activations are kept (train/sae/entries.py).

    inner [rows, d_model]: what the encoder multiplies. batch_rows, split: rows of the batch, and how ranks split it.
    """

    sae: PairwiseSAE
    inner: Tensor
    workspace: StepWorkspace
    products: PairProducts
    batch_rows: int
    split: BatchSplit

    def select(self, selection: Selection) -> PairEntries:
        """Return the selected entries. Raises TooDenseError, of ranks that split a batch on all or none."""
        rows = len(self.inner)
        limit = selection.limit(self.batch_rows)
        position, values, floor = self._collect(selection, None)
        if limit is not None and self.split.total(len(values)) < limit and floor > 0:  # the estimate was too high
            position, values, _ = self._collect(selection, 0.0)
        features = self.sae.d_sae
        if limit is not None:
            among = features if selection.among is None else len(selection.among)
            kept = largest(selection, values, position, limit, among, self.split)
            position, values = position[kept], values[kept]
        if selection.among is not None:
            row = torch.div(position, len(selection.among), rounding_mode="floor")
            position = row * features + selection.among[position - row * len(selection.among)]
        counts = torch.bincount(position % features, minlength=features)[None]
        sae = self.sae
        return encoded_entries(
            values.to(torch.promote_types(values.dtype, torch.float32)),
            Pairs.of(position, counts, rows, self.products), self.inner, sae.W_enc,
            None if sae.encoder_bias is None else getattr(sae, sae.encoder_bias),
            sae.b_dec if sae.subtracts_bias else None,
        )  # fmt: skip

    @torch.no_grad()
    def _collect(self, selection: Selection, floor: float | None) -> tuple[Tensor, Tensor, float]:
        """Return the positions and values of the batch's selected entries, and the floor, estimated if None."""
        sae, compute = self.sae, self.workspace.compute
        W_enc = sae.W_enc if selection.among is None else sae.W_enc[selection.among]
        bias = None if sae.encoder_bias is None else getattr(sae, sae.encoder_bias)
        if bias is not None and selection.among is not None:
            bias = bias[selection.among]
        W_enc, n_features = W_enc.to(compute).mT, len(W_enc)
        positions, values, too_dense = [], [], False
        for rows in slices(len(self.inner), self.workspace.n_rows):
            inner = self.inner[rows].to(compute)
            pre = self.workspace.c.view(-1)[: len(inner) * n_features].view(len(inner), n_features)
            torch.mm(inner, W_enc, out=pre) if bias is None else torch.addmm(bias.to(compute), inner, W_enc, out=pre)
            if floor is None:
                floor = selection.floor(pre, self.split)
            position = selection.positions(pre, floor)
            too_dense = len(position) > self.workspace.max_sparse_density * len(inner) * sae.d_sae
            if too_dense and not selection.masks:
                break
            values.append(pre.view(-1).index_select(0, position))
            positions.append(position.add_(rows.start * n_features))
        if not selection.masks and self.split.total(int(too_dense)):
            raise TooDenseError
        assert floor is not None
        return torch.cat(positions), torch.cat(values), floor


class AutogradStep:
    """The gradients of some SAEs, which share memory with a stack; written to `out`."""

    def __init__(self, saes: Sequence[SAE], workspace: StepWorkspace, products: PairProducts, out: Gradients) -> None:
        self._saes, self._workspace, self._products, self._out = saes, workspace, products, out
        for sae in saes:
            for name in sae.trained:
                getattr(sae, name).requires_grad_()

    def gradients(self, x: Tensor, steps: Sequence[LossInputs]) -> tuple[Forward, Terms]:
        """Fill `out`, let the SAEs learn from what they observed, and return the forward pass and the losses' terms.

        x [n, rows, d_model]: the normalised inputs. A term that an SAE lacks is 0.
        """
        result, terms = Forward.allocate(x, self._saes[0].d_sae, noise=False), dict[str, Tensor]()
        for i, (sae, step) in enumerate(zip(self._saes, steps, strict=True)):
            observed: dict[str, list[Tensor]] = {}
            for number, (rows, part) in enumerate(self._passes(sae, x[i], step)):
                _record(result, i, rows, part, x[i, rows])
                _record_terms(terms, i, rows, part, x)
                loss = sum(term.sum() / step.rows if term.dim() else term for term in part.terms.values())
                tensors = [getattr(sae, name) for name in sae.trained]
                gradients = torch.autograd.grad(loss, tensors, allow_unused=True)  # type: ignore[arg-type]
                for name, gradient in zip(sae.trained, gradients, strict=True):
                    _add(self._out[name][i], gradient, first=not number)
                for name, value in part.observed.items():
                    observed.setdefault(name, []).append(value)
            sae.after_step_({name: _joined(parts) for name, parts in observed.items()}, step)
        return result, terms

    @torch.no_grad()
    def evaluate(self, x: Tensor, steps: Sequence[LossInputs]) -> tuple[Forward, Terms]:
        """Return the forward pass as at inference, and the losses' terms as in training."""
        result, terms = Forward.allocate(x, self._saes[0].d_sae, noise=False), dict[str, Tensor]()
        for i, (sae, step) in enumerate(zip(self._saes, steps, strict=True)):
            for rows, part in self._passes(sae, x[i], step):
                _record_terms(terms, i, rows, part, x)
            for rows in slices(x.shape[1], self._workspace.n_rows):
                c = sae.activations(x[i, rows])
                _record(result, i, rows, TrainingPass.of(c, sae.reconstruct(c), {}), x[i, rows])
        return result, terms

    def _passes(self, sae: SAE, x: Tensor, step: LossInputs) -> Iterator[tuple[slice, TrainingPass]]:
        """Yield the rows of each part of a batch, and the pass over them."""
        if isinstance(sae, PairwiseSAE) and self._workspace.max_sparse_density:
            try:
                with torch.no_grad():
                    inner = sae.encoder_inputs(x)
                encoded = PairRows(sae, inner, self._workspace, self._products, step.rows, step.split)
                whole = sae.loss_on(encoded, x, step)
            except TooDenseError:
                pass
            else:
                yield slice(0, len(x)), whole
                return
        for rows in slices(len(x), self._workspace.n_rows if sae.sees == "row" else len(x)):
            beta = step.beta[rows] if len(step.beta) > 1 else step.beta
            yield rows, sae.training_pass(x[rows], replace(step, beta=beta))


def _record(result: Forward, i: int, rows: slice, part: TrainingPass, x: Tensor) -> None:
    """Write a part's pass of the SAE `i` into the result."""
    result.l1[i, rows] = part.l1
    torch.sub(part.x_hat.detach(), x, out=result.residual[i, rows])
    result.fires[i] += part.fires


def _record_terms(terms: dict[str, Tensor], i: int, rows: slice, part: TrainingPass, x: Tensor) -> None:
    """Write the terms of the SAE `i` for some rows into `terms`; a term of the whole batch is that of each row."""
    for name, term in part.terms.items():
        if name not in terms:
            terms[name] = torch.zeros_like(x[..., 0])
        terms[name][i, rows] = term.detach()


def _add(total: Tensor, gradient: Tensor | None, *, first: bool) -> None:
    if gradient is None:
        if first:
            total.zero_()
    elif first:
        total.copy_(gradient)
    else:
        total.add_(gradient)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Return what the parts of a batch observed: values per row, or a number of the only part."""
    return torch.cat(list(parts)) if parts[0].dim() else parts[0]
