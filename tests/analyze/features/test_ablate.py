"""The effect of removing a feature, against KL computed in float64."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from analyze.features.ablate import Ablator
from analyze.features.measure import measure_features
from analyze.features.record import FeatureRecord
from tests.analyze.features.conftest import HOOKS, SeedRuns


class LinearModel:
    """A model whose activation is a table's row, and whose logits are linear in it."""

    def __init__(self, width: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randn(1000, width, generator=generator) * 3
        self.unembedding = torch.randn(width, 1000, generator=generator)

    def clean(self, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = self.table[tokens]
        return x @ self.unembedding, {HOOKS[0]: x}

    def patched(self, name: str, value: Tensor) -> Tensor:
        return value @ self.unembedding


def record_of(contexts: list[int], number: int) -> FeatureRecord:
    strongest: Any = [SimpleNamespace(context=context) for context in contexts]
    record: Any = SimpleNamespace(number=number, strongest=strongest)
    return record


def test_effect_is_the_mean_kl_where_the_feature_is_active(seed_runs: SeedRuns) -> None:
    store, fires = seed_runs.heldout.store, seed_runs.fires[0]
    sae, model = fires.run.sae(HOOKS[0]), LinearModel(16)
    tokens = torch.from_numpy(store.tokens(np.array([0, 1])).astype(np.int64))
    x = model.table[tokens]
    f = sae.encode(x)
    number = int((f[:, :-1] != 0).sum(dim=(0, 1)).argmax())
    ablator = Ablator(model, store, HOOKS[0], sae)
    effect = ablator.ablate(record_of([0, 1], number))
    assert effect is not None
    kls = []
    for context, position in torch.nonzero(f[:, :-1, number]).tolist():
        contribution = float(f[context, position, number]) * sae.W_dec[number] * sae.input_scale
        clean = x[context, position].double() @ model.unembedding.double()
        ablated = (x[context, position] - contribution).double() @ model.unembedding.double()
        p, q = torch.log_softmax(clean, 0), torch.log_softmax(ablated, 0)
        kls.append(float((p.exp() * (p - q)).sum()))
    assert effect.positions == len(kls) > 3
    assert effect.kl == pytest.approx(float(np.mean(kls)), rel=1e-3)


def test_a_feature_that_is_active_at_no_position_has_no_effect(seed_runs: SeedRuns) -> None:
    store, fires = seed_runs.heldout.store, seed_runs.fires[0]
    sae = fires.run.sae(HOOKS[0])
    dead = int(torch.nonzero(~fires.all.live)[0, 0])
    record = next(measure_features(seed_runs.heldout, fires, None, numbers=[dead]))
    assert Ablator(LinearModel(16), store, HOOKS[0], sae).ablate(record) is None
