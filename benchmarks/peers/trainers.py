"""Other libraries' own trainers at a small size, behind one interface. conformance.py records their steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

D_MODEL, D_SAE, ROWS, STEPS, LR, K = 12, 36, 64, 5, 1e-3, 4
DEAD_AFTER, AUX_K = 3 * ROWS, 3
PENALTY = 0.2
GROUPS = [0.25, 0.25, 0.5]


@dataclass
class Peer:
    """A library's trainer.

    parameters: by our name; of our shape once transposed where `transposed` names it.
    step: takes a step on a batch, given its number, and returns the loss's terms by our names, with their weights.
    state: other numbers after each step, by our names.
    """

    parameters: Callable[[], dict[str, torch.nn.Parameter]]
    transposed: set[str]
    step: Callable[[int, Tensor], dict[str, float]]
    state: Callable[[], dict[str, Any]] = field(default=dict)

    def oriented(self, name: str, tensor: Tensor) -> Tensor:
        return tensor.T if name in self.transposed else tensor


# dictionary_learning
def dl_trainer(name: str, **options: Any) -> Any:
    import dictionary_learning.trainers.batch_top_k as batch_top_k
    import dictionary_learning.trainers.gdm as gdm
    import dictionary_learning.trainers.jumprelu as jumprelu
    import dictionary_learning.trainers.matryoshka_batch_top_k as matryoshka
    import dictionary_learning.trainers.p_anneal as p_anneal
    import dictionary_learning.trainers.standard as standard
    import dictionary_learning.trainers.top_k as top_k

    modules = (standard, gdm, top_k, batch_top_k, matryoshka, jumprelu, p_anneal)
    (trainer,) = {getattr(module, name) for module in modules if hasattr(module, name)}
    return trainer(
        steps=STEPS, activation_dim=D_MODEL, dict_size=D_SAE, layer=0, lm_name="none", lr=LR, device="cpu",
        warmup_steps=0, **options,
    )  # fmt: skip


def dl_loss(trainer: Any, i: int, x: Tensor) -> dict[str, float]:
    """Return what the trainer logs for a step, without side effects on it."""
    fired = getattr(trainer, "num_tokens_since_fired", None)
    kept = None if fired is None else fired.clone()
    buffers = {name: value.clone() for name, value in trainer.ae.named_buffers()}
    logged = trainer.loss(x, step=i, logging=True)
    if kept is not None:
        trainer.num_tokens_since_fired = kept
    for name, value in buffers.items():
        setattr(trainer.ae, name, value)
    return logged[-1]


def dl_linear(trainer: Any, bias: str) -> Callable[[], dict[str, Any]]:
    ae = trainer.ae
    return lambda: {
        "W_enc": ae.encoder.weight, "b_enc": ae.encoder.bias, "W_dec": ae.decoder.weight, "b_dec": getattr(ae, bias),
    }  # fmt: skip


def dl_penalised(name: str, **options: Any) -> Callable[[], Peer]:
    """Make a trainer with an L1 penalty."""

    def make() -> Peer:
        trainer = dl_trainer(name, l1_penalty=PENALTY, sparsity_warmup_steps=None, **options)

        def step(i: int, x: Tensor) -> dict[str, float]:
            logged = dl_loss(trainer, i, x)
            trainer.update(i, x)
            terms = {"l2": logged["mse_loss"], "l1": PENALTY * logged["sparsity_loss"]}
            return {**terms, "aux": logged["aux_loss"]} if "aux_loss" in logged else terms

        if name != "GatedSAETrainer":
            return Peer(dl_linear(trainer, "bias"), {"W_dec"}, step)
        ae = trainer.ae
        gated = {
            "W_enc": ae.encoder.weight, "b_gate": ae.gate_bias, "b_mag": ae.mag_bias, "r_mag": ae.r_mag,
            "W_dec": ae.decoder.weight, "b_dec": ae.decoder_bias,
        }  # fmt: skip
        return Peer(lambda: gated, {"W_dec"}, step)

    return make


def dl_selecting(name: str, **options: Any) -> Callable[[], Peer]:
    """Make a trainer with an auxiliary loss of dead features."""

    def make() -> Peer:
        trainer = dl_trainer(name, k=K, threshold_start_step=1, threshold_beta=0.9, **options)
        trainer.dead_feature_threshold, trainer.top_k_aux = DEAD_AFTER, AUX_K

        def step(i: int, x: Tensor) -> dict[str, float]:
            logged = dl_loss(trainer, i, x)
            trainer.update(i, x)
            return {"l2": logged["l2_loss"], "aux": logged["auxk_loss"] / 32}

        def state() -> dict[str, Any]:
            known = {"since_fired": trainer.num_tokens_since_fired, "dead": max(trainer.dead_features, 0)}
            return known if name == "TopKTrainer" else {**known, "threshold": float(trainer.ae.threshold)}

        if name == "MatryoshkaBatchTopKTrainer":
            ae = trainer.ae
            plain = {"W_enc": ae.W_enc, "b_enc": ae.b_enc, "W_dec": ae.W_dec, "b_dec": ae.b_dec}
            return Peer(lambda: plain, {"W_enc"}, step, state)
        return Peer(dl_linear(trainer, "b_dec"), {"W_dec"}, step, state)

    return make


def dl_jumprelu() -> Peer:
    trainer = dl_trainer(
        "JumpReluTrainer", bandwidth=0.1, sparsity_penalty=PENALTY, sparsity_warmup_steps=None, target_l0=3.0
    )
    ae = trainer.ae

    def step(i: int, x: Tensor) -> dict[str, float]:
        logged = dl_loss(trainer, i, x)
        trainer.update(i, x)
        return {"l2": logged["l2_loss"], "sparsity": logged["loss"] - logged["l2_loss"]}

    names = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
    return Peer(lambda: {name: getattr(ae, name) for name in names}, {"W_enc"}, step)


def dl_p_anneal(function: str) -> Callable[[], Peer]:
    def make() -> Peer:
        trainer = dl_trainer(
            "PAnnealTrainer", initial_sparsity_penalty=PENALTY, sparsity_warmup_steps=None, anneal_start=1, p_end=0.2,
            n_sparsity_updates=5, sparsity_function=function,
        )  # fmt: skip

        def step(i: int, x: Tensor) -> dict[str, float]:
            loss = float(trainer.loss(x, step=-1).detach())  # no step of an update
            if trainer.next_p is not None:
                trainer.sparsity_queue.pop()
            penalty = trainer.scaled_lp_loss.item()
            trainer.update(i, x)
            return {"l2": loss - penalty, "lp": penalty}

        return Peer(
            dl_linear(trainer, "bias"), {"W_dec"}, step, lambda: {"penalty_scale": trainer.sparsity_coeff / PENALTY}
        )

    return make


# SAELens
def saelens(name: str, terms: dict[str, str], **options: Any) -> Callable[[], Peer]:
    """Make a SAELens trainer. terms: our names of its losses."""

    def make() -> Peer:
        import sae_lens as library
        from sae_lens.config import SAETrainerConfig

        config = getattr(library, f"{name}TrainingSAEConfig")(d_in=D_MODEL, d_sae=D_SAE, device="cpu", **options)
        sae = getattr(library, f"{name}TrainingSAE")(config)
        trainer: Any = library.SAETrainer(
            SAETrainerConfig(
                total_training_samples=STEPS * ROWS, train_batch_size_samples=ROWS, lr=LR, lr_end=LR, device="cpu",
                dead_feature_window=1,
            ),
            sae, data_provider=iter(()),
        )  # fmt: skip
        dead = 0

        def step(i: int, x: Tensor) -> dict[str, float]:
            nonlocal dead
            dead = int(trainer.dead_neurons.sum())
            losses: dict[str, float] = {}
            for key, value in trainer._train_step(sae, x).losses.items():
                ours = "l2" if "mse" in key else terms[key]
                losses[ours] = losses.get(ours, 0.0) + float(value)
            trainer.n_training_steps += 1
            return losses

        def state() -> dict[str, Any]:
            known: dict[str, Any] = {"since_fired": trainer.n_forward_passes_since_fired * ROWS, "dead": dead}
            return {**known, "threshold": float(sae.topk_threshold)} if hasattr(sae, "topk_threshold") else known

        return Peer(lambda: dict(sae.named_parameters()), {"W_enc"}, step, state)

    return make


# sparsify
def sparsify() -> Peer:
    """Return TopK with its trainer's step for `optimizer="adam"`; its auxiliary loss is off, as by default."""
    import os

    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from sparsify import SparseCoder, SparseCoderConfig

    sae = SparseCoder(D_MODEL, SparseCoderConfig(num_latents=D_SAE, k=K), dtype=torch.float32)
    optimizer = torch.optim.Adam(sae.parameters(), lr=LR)

    def step(i: int, x: Tensor) -> dict[str, float]:
        sae.set_decoder_norm_to_unit_norm()
        out = sae(x)
        out.fvu.backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        if i == STEPS - 1:
            sae.set_decoder_norm_to_unit_norm()
        return {"l2": float(out.fvu)}

    names = {"W_enc": sae.encoder.weight, "b_enc": sae.encoder.bias, "W_dec": sae.W_dec, "b_dec": sae.b_dec}
    return Peer(lambda: names, set(), step)
