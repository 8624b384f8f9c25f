"""Files of SAELens before version 6, and transcoders that look like SAEs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.errors import InputError
from train.interchange.formats.registry import read_foreign

D_MODEL, D_SAE, K = 6, 20, 3


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (D_MODEL, D_SAE), "W_dec": (D_SAE, D_MODEL), "b_enc": (D_SAE,), "b_dec": (D_MODEL,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def old_saelens(folder: Path, **more: Any) -> Path:
    """Write a folder as SAELens 5 did: SAE.cfg.to_dict() names the activation, and the hook `hook_point` or so."""
    config = {"architecture": "standard", "d_in": D_MODEL, "d_sae": D_SAE, "hook_point": "blocks.1.hook_mlp_out"}
    (folder / "cfg.json").write_text(json.dumps({**config, "normalize_activations": False, **more}), encoding="utf-8")
    save_file(tensors(), folder / "sae_weights.safetensors")
    return folder


def test_topk_of_saelens_before_version_6_is_no_relu(tmp_path: Path) -> None:
    folder = old_saelens(tmp_path, activation_fn_str="topk", activation_fn_kwargs={"k": K})
    (foreign,) = read_foreign(folder)
    assert (foreign.variant, foreign.origin.hook, foreign.input_scale) == ("topk", "blocks.1.hook_mlp_out", "none")
    t, x = tensors(), torch.randn(50, D_MODEL, generator=torch.Generator().manual_seed(1))
    pre = torch.relu((x - t["b_dec"]) @ t["W_enc"] + t["b_enc"])
    kth = pre.sort(dim=1, descending=True).values[:, K - 1 : K]
    assert torch.allclose(foreign.sae()(x), (pre * (pre >= kth)) @ t["W_dec"] + t["b_dec"], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_fn_str": "topk"}, "entry k is not of type int"),
        ({"activation_fn_str": "tanh-relu"}, "'tanh-relu' has no counterpart here"),
        ({"activation_fn": 3}, "architecture is not of type str"),
    ],
)
def test_other_activations_of_saelens_before_version_6_are_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read_foreign(old_saelens(tmp_path, **change))


def test_a_scale_per_feature_of_saelens_before_version_6_is_not_dropped(tmp_path: Path) -> None:
    folder = old_saelens(tmp_path, activation_fn_str="relu")
    assert read_foreign(folder)[0].variant == "relu"
    path = folder / "sae_weights.safetensors"
    save_file({**load_file(path), "scaling_factor": torch.ones(D_SAE)}, path)
    assert read_foreign(folder)[0].variant == "relu"
    save_file({**load_file(path), "scaling_factor": torch.full((D_SAE,), 2.0)}, path)
    with pytest.raises(InputError, match="multiplies each feature by a scaling_factor"):
        read_foreign(folder)


@pytest.mark.parametrize(("written", "refused"), [(None, False), ("model.layers.1.output", False), ("other", True)])
def test_a_gemma_scope_transcoder_is_told_by_the_hook_that_it_writes(
    written: str | None, refused: bool, tmp_path: Path
) -> None:
    save_file(
        {name.lower(): value for name, value in {**tensors(), "threshold": torch.zeros(D_SAE)}.items()},
        tmp_path / "params.safetensors",
    )
    config = {"hf_hook_point_in": "model.layers.1.output", "hf_hook_point_out": written}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if refused:
        with pytest.raises(InputError, match="so it is a transcoder and no SAE of one hook"):
            read_foreign(tmp_path)
    else:
        assert read_foreign(tmp_path)[0].variant == "jumprelu"
