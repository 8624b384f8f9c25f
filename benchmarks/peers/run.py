"""Training steps of other libraries, as contestants of benchmarks/train_step.py; see README.md beside this.

    ENVIRONMENT/bin/python benchmarks/peers/run.py NAME --d-model 768 --d-sae 12288 --batch-size 4096 --l0 50

Each library's own step, as its trainer takes it: its loss, autograd, its optimizer, its bookkeeping of dead features.
Inputs and parameters are the ones that all contestants have (../_steps.py), the learning rate is 0. On a GPU each is
as it would train in bfloat16: SAELens and dictionary_learning by their options for it, sparsify by itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _steps import ALPHA, Problem, Step, compete_as, problem_of

NEVER = 10**9


def saelens(p: Problem) -> Step:
    from sae_lens import SAETrainer, StandardTrainingSAE, StandardTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig

    sae = StandardTrainingSAE(
        StandardTrainingSAEConfig(d_in=p.d_model, d_sae=p.d_sae, l1_coefficient=ALPHA, device=str(p.device))
    )
    W_enc, b_enc, W_dec, b_dec = p.parameters()
    for name, value in {"W_enc": W_enc.T, "b_enc": b_enc, "W_dec": W_dec, "b_dec": b_dec}.items():
        getattr(sae, name).data.copy_(value)
    config = SAETrainerConfig(
        total_training_samples=NEVER, train_batch_size_samples=p.batch, lr=0.0, lr_end=0.0, device=str(p.device),
        autocast=p.device.type == "cuda",
    )  # fmt: skip
    trainer: Any = SAETrainer(config, sae, data_provider=iter(()))
    return lambda: trainer._train_step(sae, p.x)


def dictionary_learning(p: Problem) -> Step:
    from dictionary_learning.trainers import StandardTrainer

    trainer: Any = StandardTrainer(
        steps=NEVER, activation_dim=p.d_model, dict_size=p.d_sae, layer=0, lm_name="none", lr=0.0, l1_penalty=ALPHA,
        device=str(p.device), warmup_steps=1, sparsity_warmup_steps=None,
    )  # fmt: skip
    W_enc, b_enc, W_dec, b_dec = p.parameters()
    trainer.ae.encoder.weight.data.copy_(W_enc)
    trainer.ae.encoder.bias.data.copy_(b_enc)
    trainer.ae.decoder.weight.data.copy_(W_dec.T)
    trainer.ae.bias.data.copy_(b_dec)
    x, done = p.x.to(p.compute), 0

    def step() -> None:
        nonlocal done
        with torch.autocast(p.device.type, p.compute, enabled=p.device.type == "cuda"):
            trainer.update(done, x)
        done += 1

    return step


def sparsify(p: Problem) -> Step:
    """TopK with its default k, 32, and its default's sign descent, unaveraged; its decoder is `embedding_bag`."""
    if p.device.type == "cpu":
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # which it has no driver for there
    from sparsify import SparseCoder, SparseCoderConfig
    from sparsify.sign_sgd import SignSGD

    sae = SparseCoder(p.d_model, SparseCoderConfig(num_latents=p.d_sae, k=32), device=p.device, dtype=torch.float32)
    W_enc, _, W_dec, _ = p.parameters()
    sae.encoder.weight.data.copy_(W_enc)
    sae.encoder.bias.data.zero_()
    assert sae.W_dec is not None
    sae.W_dec.data.copy_(W_dec)
    optimizer = SignSGD(sae.parameters(), lr=1e-30)  # it refuses 0
    fired = torch.zeros(p.d_sae, dtype=torch.bool, device=p.device)

    def step() -> None:
        out = sae(p.x)
        fired[out.latent_indices.flatten()] = True
        out.fvu.backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        sae.set_decoder_norm_to_unit_norm()

    return step


PEERS: dict[str, tuple[str, Callable[[Problem], Step]]] = {
    "SAELens": ("sae-lens", saelens),
    "dictionary_learning": ("dictionary-learning", dictionary_learning),
    "sparsify": ("eai-sparsify", sparsify),
}

if __name__ == "__main__":
    name, problem = problem_of(argparse.ArgumentParser(description=__doc__))
    package, make = PEERS[name]
    compete_as(problem, make(problem), version=version(package))
