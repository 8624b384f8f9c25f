"""Load the SAE in this folder for SAEBench: `load_sae(FOLDER)` returns a `BaseSAE`.

    from saebench_sae import load_sae
    selected_saes = [("mine", load_sae("export/blocks.2.hook_mlp_out", model_name="gpt2"))]

It needs SAEBench, PyTorch and safetensors alone. sae.json says what the tensors mean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from sae_bench.custom_saes.base_sae import BaseSAE
from safetensors.torch import load_file


class ExportedSAE(BaseSAE):
    """An SAE with W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_enc [d_sae], b_dec [d_in]."""

    def __init__(
        self, about: dict[str, Any], tensors: dict[str, torch.Tensor], model_name: str, device: torch.device,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        super().__init__(
            about["d_in"], about["d_sae"], model_name, about["layer"] or 0, device, dtype, hook_name=about["hook"]
        )
        self.about = about
        for name, tensor in tensors.items():
            parameter = torch.nn.Parameter(tensor.to(device=device, dtype=dtype), requires_grad=False)
            setattr(self, name, parameter)
        self.cfg.architecture = about["activation"]
        self.cfg.context_size = about["context_size"]

    def units(self, x: torch.Tensor) -> tuple[Any, Any]:
        """Return what is subtracted from rows, and what they are then divided by."""
        if self.about["rows"] == "norm":
            norms = x.norm(dim=-1, keepdim=True)
            return 0.0, torch.where(norms > 0, norms, 1.0) / x.shape[-1] ** 0.5
        if self.about["rows"] == "deviation":
            deviation, mean = torch.std_mean(x, dim=-1, keepdim=True)
            return mean, deviation + 1e-5
        return 0.0, 1.0

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        offset, scale = self.units(x)
        x = (x - offset) / scale
        pre = (x - self.b_dec if self.about["subtracts_bias"] else x) @ self.W_enc + self.b_enc
        return self.activations(pre)

    def activations(self, pre: torch.Tensor) -> torch.Tensor:
        """Return c from π [..., d_sae]."""
        activation = self.about["activation"]
        if activation == "relu":
            return torch.relu(pre)
        if activation == "tanh":
            return torch.tanh(torch.relu(pre))
        if activation == "jumprelu":
            return pre * (pre > self.threshold)
        if activation == "gated":
            return (pre + self.b_gate > 0) * torch.relu(self.r_mag.exp() * pre + self.b_mag)
        top = torch.relu(pre).topk(self.about["k"], dim=-1)
        return torch.zeros_like(pre).scatter_(-1, top.indices, top.values)

    def decode(self, feature_acts: torch.Tensor) -> torch.Tensor:
        if self.about["rows"] != "none":
            raise ValueError("each row has a scale of its own: call the SAE on the rows instead of decode")
        return feature_acts @ self.W_dec + self.b_dec

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        offset, scale = self.units(x)
        return (self.encode(x) @ self.W_dec + self.b_dec) * scale + offset


def load_sae(
    folder: str | Path, model_name: str | None = None, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> ExportedSAE:
    """Load the SAE of a folder; model_name: SAEBench's name of the language model, if it differs from the recorded."""
    about = json.loads((Path(folder) / "sae.json").read_text(encoding="utf-8"))
    tensors = load_file(str(Path(folder) / "sae.safetensors"))
    return ExportedSAE(about, tensors, model_name or about["model"], torch.device(device), dtype)
