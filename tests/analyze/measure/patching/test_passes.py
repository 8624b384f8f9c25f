"""Loss, KL divergence and agreement of patched passes, against PyTorch in float64, and their sums and scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from analyze.measure.patching.passes import CLEAN, PatchSums, Reference, patch_measures
from analyze.statistics.jackknife import without_each
from train.measures import PATCHED


def test_loss_kl_and_agreement_equal_torch_in_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, other = (torch.randn(2, 6, 50, generator=generator) * 3 for _ in range(2))
    tokens = torch.randint(0, 50, (2, 6), generator=generator)
    measures = Reference(clean, tokens).compare(other)
    p, q = (log_softmax(logits[:, :-1].double(), dim=-1) for logits in (clean, other))
    loss = cross_entropy(other[:, :-1].double().transpose(1, 2), tokens[:, 1:], reduction="none")
    kl = kl_div(q, p, log_target=True, reduction="none").sum(dim=-1)
    assert torch.equal(measures[..., 0], torch.ones(2, 5, dtype=torch.float64))
    torch.testing.assert_close(measures[..., 1], loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(measures[..., 2], kl, rtol=1e-5, atol=1e-5)
    assert torch.equal(measures[..., 3].bool(), p.argmax(dim=-1) == q.argmax(dim=-1))


def test_patching_with_the_identity_has_zero_kl_at_every_position() -> None:
    clean = torch.randn(2, 6, 50_000, generator=torch.Generator().manual_seed(0)) * 8
    tokens = torch.randint(0, 50_000, (2, 6), generator=torch.Generator().manual_seed(1))
    assert Reference(clean, tokens).compare(clean.clone())[..., 2].abs().max() == 0
    near = clean + 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    p, q = (log_softmax(logits[:, :-1].double(), dim=-1) for logits in (clean, near))
    kl = kl_div(q, p, log_target=True, reduction="none").sum(dim=-1)
    torch.testing.assert_close(Reference(clean, tokens).compare(near)[..., 2], kl, rtol=1e-3, atol=1e-6)


def test_tallies_sum_positions_by_group() -> None:
    sums = PatchSums(3)
    terms = torch.arange(24.0).reshape(2, 3, 4)
    l0 = torch.tensor([[5.0, 6, 7], [8, 9, 10]])
    sums.add(CLEAN, terms, np.array([[0, 0, 2], [2, 2, 0]]), l0)
    sums.add(CLEAN, terms, np.array([[1, 1, 1], [1, 1, 1]]), l0)
    expected = np.concatenate([terms.reshape(-1, 4).numpy(), l0.reshape(-1, 1).numpy()], axis=1)
    assert np.array_equal(sums.by_pass[CLEAN][0], expected[[0, 1, 5]].sum(axis=0))
    assert np.array_equal(sums.by_pass[CLEAN][1], expected.sum(axis=0))


def test_score_without_each_document_is_that_of_the_other_documents() -> None:
    rng = np.random.default_rng(0)
    clean, zero, patched = (rng.random((30, 5)) + shift for shift in (0, 2, 1))
    replicates = patch_measures(PATCHED.values(), *(without_each(sums) for sums in (clean, zero, zero, patched)))
    others = np.arange(30) != 17
    c, z, p = (sums[others, 1].sum() for sums in (clean, zero, patched))
    assert replicates["score"][17] == pytest.approx((z - p) / (z - c))
