"""The start of SAEs whose reference has another one than ours by default."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from train.architectures import ARCHITECTURES

D, M = 8, 24


def fresh(variant: str, **settings: Any) -> Any:
    architecture = ARCHITECTURES[variant]
    sae = architecture(d_model=D, d_sae=M, settings=architecture.Settings(**settings))
    sae.initialise(seed=3, mean_norm=1.0)
    return sae


@pytest.mark.parametrize(
    ("variant", "settings", "encoder", "decoder"),
    [
        ("relu", {}, 0.1, 0.1), ("relu", {"start_norm": 0.5}, 0.5, 0.5), ("p-anneal", {"start_norm": 0.1}, 0.1, 1.0),
        ("topk", {}, 1.0, 1.0), ("topk", {"unit_decoder": False, "start_norm": 0.1}, 0.1, 0.1),
        ("frozen", {"start_norm": 0.1}, 0.1, 1.0), ("gated", {"start_norm": 0.2}, 0.2, 1.0),
        ("jumprelu", {"unit_decoder": False, "start_norm": 0.1}, 0.1, 0.1),
    ],
)  # fmt: skip
def test_encoder_starts_as_the_transpose_of_the_decoder_with_the_norms_asked_for(
    variant: str, settings: dict[str, Any], encoder: float, decoder: float
) -> None:
    sae = fresh(variant, **settings)
    assert sae.W_enc.norm(dim=1).tolist() == pytest.approx([encoder] * M)
    assert sae.W_dec.norm(dim=1).tolist() == pytest.approx([decoder] * M)
    torch.testing.assert_close(sae.W_enc / encoder, sae.W_dec / decoder)


def test_decoder_bias_of_topk_starts_at_the_median_the_mean_or_zero() -> None:
    x = torch.cat([torch.zeros(7, D), torch.full((1, D), 8.0)])  # the median is at the seven equal rows
    for start, expected in (("median", 0.0), ("mean", 1.0), ("zero", 0.0)):
        sae = fresh("topk", bias_start=start)
        sae.initialise_at_(x)
        assert sae.b_dec.tolist() == pytest.approx([expected] * D, abs=1e-3)
    x[:7] = 2.0
    for start, expected in (("median", 2.0), ("mean", 2.75), ("zero", 0.0)):
        sae = fresh("batchtopk", bias_start=start)
        sae.initialise_at_(x)
        assert sae.b_dec.tolist() == pytest.approx([expected] * D, abs=1e-3)
