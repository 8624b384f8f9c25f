"""Five steps of other libraries' trainers, as small files that our architectures are compared with.

    ENVIRONMENT/bin/python benchmarks/peers/conformance.py write      (the libraries' environment; see README.md)
    python benchmarks/peers/conformance.py table                      (ours: the table in docs/architectures.md)

Each case is a library's own trainer on the same batches, from the same weights. A few encoder rows are so small that
their features are dead and auxiliary losses act. Each batch has variance 1 (Σ over entries), because sparsify divides
its loss by it. tests/train/architectures/test_conformance.py repeats the cases in our step.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.peers.trainers import (
    AUX_K,
    D_MODEL,
    D_SAE,
    DEAD_AFTER,
    GROUPS,
    LR,
    PENALTY,
    ROWS,
    STEPS,
    K,
    Peer,
    dl_jumprelu,
    dl_p_anneal,
    dl_penalised,
    dl_selecting,
    saelens,
    sparsify,
)

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests" / "train" / "architectures" / "references"
applied: list[dict[int, Tensor]] = []  # the gradients by parameter's id that Adam was given, step by step


@dataclass(frozen=True)
class Case:
    """A peer, and our options that correspond to it."""

    make: Callable[[], Peer]
    variant: str
    settings: dict[str, Any]
    clip: float | None = None


def start() -> dict[str, Tensor]:
    """Return the batches `x` [STEPS, ROWS, D_MODEL] and the initial parameters, in our shapes.

    free.W_dec: the decoder of cases whose rows have any norm.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    x = normal(STEPS, ROWS, D_MODEL) * torch.linspace(0.5, 1.5, D_MODEL) + 0.3 * normal(D_MODEL)
    variance = (x - x.mean(dim=1, keepdim=True)).square().sum(dim=(1, 2), keepdim=True) / ROWS
    W_dec = normalize(normal(D_SAE, D_MODEL), dim=1)
    W_enc = W_dec + 0.1 * normal(D_SAE, D_MODEL)
    b_enc = 0.05 * normal(D_SAE)
    W_enc[:5] *= 0.02
    b_enc[:5] *= 0.02
    return {
        "x": x / variance.sqrt(), "W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": 0.05 * normal(D_MODEL),
        "free.W_dec": W_dec * torch.linspace(0.5, 1.5, D_SAE)[:, None],
        "b_gate": b_enc, "b_mag": 0.05 * normal(D_SAE), "r_mag": 0.1 * normal(D_SAE),
        "threshold": torch.linspace(0.03, 0.3, D_SAE)[torch.randperm(D_SAE, generator=generator)],
    }  # fmt: skip


FREE = {"unit_decoder": False}
DL_AUX = {"k": K, "aux_k": AUX_K, "dead_after": DEAD_AFTER}
DL_THRESHOLD = {"threshold_decay": 0.9, "threshold_after": 2 * ROWS}
SL_AUX = {"k": K, "aux": 1.0, "aux_form": "absolute", "dead_after": DEAD_AFTER, **FREE}
SL_THRESHOLD = {"threshold_first": "zero"}
SL_JUMP = {"l1": 0.01, "bandwidth": 0.1, "adam_beta1": 0.9, **FREE}
L1 = {"l1_loss": "l1"}
AUX = {"auxiliary_reconstruction_loss": "aux"}
WIDTHS = [9, 18, 36]
PREFIXES = "1/4+1/4+1/2"


def sl_jump(**options: Any) -> Callable[[], Peer]:
    terms = {"l0_loss": "sparsity", "pre_act_loss": "pre_act"}
    return saelens("JumpReLU", terms, jumprelu_bandwidth=0.1, l0_coefficient=0.01, **options)


def sl_topk(name: str, **options: Any) -> Callable[[], Peer]:
    return saelens(name, AUX, k=K, **options)


TABLE: dict[str, Case] = {
    "dictionary_learning-StandardTrainer": Case(dl_penalised("StandardTrainer"), "baseline", {"l1": PENALTY}),
    "dictionary_learning-StandardTrainerAprilUpdate": Case(
        dl_penalised("StandardTrainerAprilUpdate"), "relu", {"l1": PENALTY, "subtract_bias": True}, 1.0
    ),
    "dictionary_learning-GatedSAETrainer": Case(dl_penalised("GatedSAETrainer"), "gated", {"l1": PENALTY}),
    "dictionary_learning-TopKTrainer": Case(dl_selecting("TopKTrainer"), "topk", DL_AUX, 1.0),
    "dictionary_learning-BatchTopKTrainer": Case(
        dl_selecting("BatchTopKTrainer"), "batchtopk", {**DL_AUX, **DL_THRESHOLD}, 1.0
    ),
    "dictionary_learning-MatryoshkaBatchTopKTrainer": Case(
        dl_selecting("MatryoshkaBatchTopKTrainer", group_fractions=GROUPS), "matryoshka",
        {**DL_AUX, **DL_THRESHOLD, "prefixes": PREFIXES, "prefix_loss": "mean-of-shares"}, 1.0,
    ),
    "dictionary_learning-JumpReluTrainer": Case(
        dl_jumprelu, "jumprelu",
        {"l1": PENALTY, "bandwidth": 0.1, "sparsity": "quadratic", "target_l0": 3.0, "l0_of": "activations",
         "subtract_bias": False}, 1.0,
    ),
    "dictionary_learning-PAnnealTrainer": Case(
        dl_p_anneal("Lp^p"), "p-anneal", {"l1": PENALTY, "anneal_after": ROWS, "p_updates": 5}
    ),
    "dictionary_learning-PAnnealTrainer-Lp": Case(
        dl_p_anneal("Lp"), "p-anneal", {"l1": PENALTY, "anneal_after": ROWS, "p_updates": 5, "penalty": "norm"}
    ),
    "sae_lens-standard": Case(
        saelens("Standard", L1, l1_coefficient=PENALTY), "relu", {"l1": PENALTY, "subtract_bias": True}, 1.0
    ),
    "sae_lens-standard-uncentred": Case(
        saelens("Standard", L1, l1_coefficient=PENALTY, apply_b_dec_to_input=False), "relu", {"l1": PENALTY}, 1.0
    ),
    "sae_lens-gated": Case(
        saelens("Gated", {**L1, **AUX}, l1_coefficient=PENALTY), "gated",
        {"l1": PENALTY, "aux_decoder": "trained", "l1_weight": "decoder-norm", "adam_beta1": 0.9, **FREE}, 1.0,
    ),
    "sae_lens-topk": Case(sl_topk("TopK"), "topk", SL_AUX, 1.0),
    "sae_lens-batchtopk": Case(sl_topk("BatchTopK"), "batchtopk", {**SL_AUX, **SL_THRESHOLD}, 1.0),
    "sae_lens-matryoshka": Case(
        sl_topk("MatryoshkaBatchTopK", matryoshka_widths=WIDTHS), "matryoshka",
        {**SL_AUX, **SL_THRESHOLD, "prefixes": PREFIXES, "prefix_loss": "sum"}, 1.0,
    ),
    "sae_lens-jumprelu-step": Case(sl_jump(), "jumprelu", SL_JUMP, 1.0),
    "sae_lens-jumprelu-quadratic": Case(
        sl_jump(jumprelu_sparsity_loss_mode="quadratic", target_l0=3.0), "jumprelu",
        {**SL_JUMP, "sparsity": "quadratic-row", "target_l0": 3.0}, 1.0,
    ),
    "sae_lens-jumprelu-tanh": Case(
        sl_jump(jumprelu_sparsity_loss_mode="tanh", jumprelu_ste_to_input=True, pre_act_loss_coefficient=0.1),
        "jumprelu",
        {**SL_JUMP, "sparsity": "tanh", "ste_to_input": True, "pre_act_loss": 0.1, "dead_after": DEAD_AFTER}, 1.0,
    ),
    "sparsify-topk": Case(sparsify, "topk", {"k": K, "aux": 0.0}),
}  # fmt: skip


def record_gradients() -> None:
    """Let Adam keep the gradients that it is given: projected and clipped, where the trainer does."""
    original = torch.optim.Adam.step

    def step(self: Any, closure: Any = None) -> Any:
        applied.append({id(p): p.grad.clone() for group in self.param_groups for p in group["params"]})
        return original(self, closure)

    torch.optim.Adam.step = step  # type: ignore[method-assign]


def save(name: str, tensors: dict[str, Tensor], **more: Any) -> None:
    """Write a file of tensors by name."""
    arrays: dict[str, Any] = {key: tensor.contiguous().numpy() for key, tensor in tensors.items()}
    np.savez_compressed(CASES / f"{name}.npz", **arrays, **more)


def write() -> None:
    """Run all cases, and write each to a file, beside the common start."""
    from dictionary_learning.trainers.top_k import geometric_median

    record_gradients()
    CASES.mkdir(exist_ok=True)
    begin = start()
    begin["median"] = geometric_median(begin["x"][0])
    save("start", begin)
    for name, case in TABLE.items():
        peer = case.make()
        applied.clear()
        parameters = peer.parameters()
        centre = begin["median"] if case.variant in ("topk", "batchtopk", "matryoshka") else begin["b_dec"]
        free = case.variant == "relu" or not case.settings.get("unit_decoder", True)
        for tensor, parameter in parameters.items():
            value = centre if tensor == "b_dec" else begin["free.W_dec" if free and tensor == "W_dec" else tensor]
            parameter.data.copy_(peer.oriented(tensor, value))
        steps: list[dict[str, Any]] = []
        for i, x in enumerate(begin["x"]):
            terms = peer.step(i, x.clone())
            steps.append({"terms": terms, **peer.state()})
        arrays = {}
        for tensor, parameter in parameters.items():
            arrays[f"gradient.{tensor}"] = peer.oriented(tensor, applied[0][id(parameter)])
            arrays[f"final.{tensor}"] = peer.oriented(tensor, parameter.detach())
        since_fired = steps[-1].get("since_fired")
        if since_fired is not None:
            arrays["since_fired"] = since_fired.to(torch.int32)
        facts: dict[str, Any] = {
            "variant": case.variant, "settings": case.settings, "clip": case.clip, "lr": LR, "free": free,
            "steps": [{k: v for k, v in step.items() if k != "since_fired"} for step in steps],
        }  # fmt: skip
        save(name, arrays, facts=np.array(json.dumps(facts)))
        print(name, json.dumps(facts["steps"]))


def table() -> None:
    """Print how our steps differ from each case, as docs/architectures.md has it."""
    sys.path.insert(0, str(ROOT))
    from tests.helpers.saes.reference_cases import markdown

    print(markdown())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["write", "table"])
    {"write": write, "table": table}[parser.parse_args().part]()
