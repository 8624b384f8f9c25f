"""Training steps of other libraries, as contestants of benchmarks/train/train_step.py; see README.md beside this.

    ENVIRONMENT/bin/python benchmarks/peers/run.py NAME --d-model 768 --d-sae 12288 --batch-size 4096 --l0 50

Each step is the one that the library's own trainer takes: its loss, autograd, its optimizer, and its bookkeeping of
dead features. Inputs and parameters are the same for all contestants (../train/steps.py), and the learning rate is 0.
On a GPU each library trains in bfloat16: SAELens and dictionary_learning by their options for it, sparsify by default.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.train.steps import ALPHA, Problem, Step, compete_as, problem_of

NEVER = 10**9


def fill(p: Problem, parameters: Mapping[str, torch.nn.Parameter]) -> None:
    """Give a library's parameters the values that all contestants have; some libraries store them transposed."""
    W_enc, b_enc, W_dec, b_dec = p.parameters()
    values = {"W_enc": W_enc, "b_enc": b_enc, "b_gate": b_enc, "W_dec": W_dec, "b_dec": b_dec}
    for name, parameter in parameters.items():
        if name in values:
            value = values[name]
            parameter.data.copy_(value if value.shape == parameter.shape else value.T)


def saelens(p: Problem, name: str = "Standard", **options: Any) -> Step:
    import sae_lens
    from sae_lens.config import SAETrainerConfig

    make_config, make_sae = (getattr(sae_lens, f"{name}TrainingSAE{end}") for end in ("Config", ""))
    sae = make_sae(make_config(d_in=p.d_model, d_sae=p.d_sae, device=str(p.device), **options))
    fill(p, dict(sae.named_parameters()))
    config = SAETrainerConfig(
        total_training_samples=NEVER, train_batch_size_samples=p.batch, lr=0.0, lr_end=0.0, device=str(p.device),
        autocast=p.device.type == "cuda",
    )  # fmt: skip
    trainer: Any = sae_lens.SAETrainer(config, sae, data_provider=iter(()))
    return lambda: trainer._train_step(sae, p.x)


DL_NAMES = {
    "encoder.weight": "W_enc", "encoder.bias": "b_enc", "gate_bias": "b_gate", "decoder.weight": "W_dec",
    "bias": "b_dec", "decoder_bias": "b_dec",
}  # fmt: skip


def dictionary_learning(p: Problem, name: str = "standard.StandardTrainer", **options: Any) -> Step:
    """`name` is a trainer's module and class."""
    module, trainer_class = name.split(".")
    make = getattr(importlib.import_module(f"dictionary_learning.trainers.{module}"), trainer_class)
    trainer: Any = make(
        steps=NEVER, activation_dim=p.d_model, dict_size=p.d_sae, layer=0, lm_name="none", lr=0.0,
        device=str(p.device), warmup_steps=1, **options,
    )  # fmt: skip
    fill(p, {DL_NAMES.get(tensor, tensor): parameter for tensor, parameter in trainer.ae.named_parameters()})
    x, done = p.x.to(p.compute), 0

    def step() -> None:
        nonlocal done
        with torch.autocast(p.device.type, p.compute, enabled=p.device.type == "cuda"):
            trainer.update(done, x)
        done += 1

    return step


def sparsify(p: Problem, k: int = 32, optimizer: str = "signum") -> Step:
    """TopK, by default with the library's k of 32 and its sign descent, unaveraged; its decoder is `embedding_bag`."""
    if p.device.type == "cpu":
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # Triton has no driver for a CPU
    from sparsify import SparseCoder, SparseCoderConfig
    from sparsify.sign_sgd import SignSGD

    sae = SparseCoder(p.d_model, SparseCoderConfig(num_latents=p.d_sae, k=k), device=p.device, dtype=torch.float32)
    assert sae.W_dec is not None
    fill(p, {"W_enc": sae.encoder.weight, "W_dec": sae.W_dec})
    sae.encoder.bias.data.zero_()
    make = {"signum": SignSGD, "adam": torch.optim.Adam}[optimizer]
    descent = make(sae.parameters(), lr=1e-30)  # SignSGD refuses 0
    fired = torch.zeros(p.d_sae, dtype=torch.bool, device=p.device)

    def step() -> None:
        out = sae(p.x)
        fired[out.latent_indices.flatten()] = True
        out.fvu.backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        descent.step()
        descent.zero_grad()
        sae.set_decoder_norm_to_unit_norm()

    return step


def k_of(p: Problem) -> int:
    return round(p.l0)


L1: dict[str, Any] = {"l1_penalty": ALPHA, "sparsity_warmup_steps": None}
THRESHOLD: dict[str, Any] = {"threshold_start_step": 1}
FRACTIONS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 17 / 32)  # of the features, per group of Matryoshka's prefixes


def widths(p: Problem) -> list[int]:
    """Return the widths of Matryoshka's prefixes."""
    return [round(total * p.d_sae) for total in accumulate(FRACTIONS)]


SL, DL, SP = "SAELens", "dictionary_learning", "sparsify"
PEERS: dict[str, Callable[[Problem], Step]] = {
    SL: lambda p: saelens(p, l1_coefficient=ALPHA),
    DL: lambda p: dictionary_learning(p, **L1),
    SP: sparsify,
    # By architecture, under our names.
    f"{SL}, relu": lambda p: saelens(p, l1_coefficient=ALPHA),
    f"{SL}, gated": lambda p: saelens(p, "Gated", l1_coefficient=ALPHA),
    f"{SL}, topk": lambda p: saelens(p, "TopK", k=k_of(p)),
    f"{SL}, batchtopk": lambda p: saelens(p, "BatchTopK", k=k_of(p)),
    f"{SL}, matryoshka": lambda p: saelens(p, "MatryoshkaBatchTopK", k=k_of(p), matryoshka_widths=widths(p)),
    f"{SL}, jumprelu": lambda p: saelens(p, "JumpReLU", l0_coefficient=ALPHA),
    f"{DL}, baseline": lambda p: dictionary_learning(p, **L1),
    f"{DL}, relu": lambda p: dictionary_learning(p, "standard.StandardTrainerAprilUpdate", **L1),
    f"{DL}, gated": lambda p: dictionary_learning(p, "gdm.GatedSAETrainer", **L1),
    f"{DL}, topk": lambda p: dictionary_learning(p, "top_k.TopKTrainer", k=k_of(p), **THRESHOLD),
    f"{DL}, batchtopk": lambda p: dictionary_learning(p, "batch_top_k.BatchTopKTrainer", k=k_of(p), **THRESHOLD),
    f"{DL}, matryoshka": lambda p: dictionary_learning(
        p, "matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer", k=k_of(p), group_fractions=list(FRACTIONS), **THRESHOLD
    ),
    f"{DL}, jumprelu": lambda p: dictionary_learning(
        p, "jumprelu.JumpReluTrainer", sparsity_penalty=ALPHA, target_l0=p.l0, sparsity_warmup_steps=None
    ),
    f"{DL}, p-anneal": lambda p: dictionary_learning(
        p, "p_anneal.PAnnealTrainer", initial_sparsity_penalty=ALPHA, sparsity_warmup_steps=None
    ),
    f"{SP}, topk": lambda p: sparsify(p, k=k_of(p), optimizer="adam"),
}
PACKAGES = {SL: "sae-lens", DL: "dictionary-learning", SP: "eai-sparsify"}

if __name__ == "__main__":
    name, problem = problem_of(argparse.ArgumentParser(description=__doc__))
    library = name.split(", ")[0]
    compete_as(problem, PEERS[name](problem), version=version(PACKAGES[library]))
