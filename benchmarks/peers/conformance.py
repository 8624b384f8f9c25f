"""What other libraries' trainers compute in five steps, as small files that our architectures are compared with.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests" / "train" / "architectures" / "references"
D_MODEL, D_SAE, ROWS, STEPS, LR, K = 12, 36, 64, 5, 1e-3, 4
DEAD_AFTER, AUX_K = 3 * ROWS, 3
PENALTY = 0.2
GROUPS = [0.25, 0.25, 0.5]
applied: list[dict[int, Tensor]] = []  # the gradients by parameter's id that Adam was given, step by step


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
            found: dict[str, float] = {}
            for key, value in trainer._train_step(sae, x).losses.items():
                ours = "l2" if "mse" in key else terms[key]
                found[ours] = found.get(ours, 0.0) + float(value)
            trainer.n_training_steps += 1
            return found

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
        for own, parameter in parameters.items():
            value = centre if own == "b_dec" else begin["free.W_dec" if free and own == "W_dec" else own]
            parameter.data.copy_(peer.oriented(own, value))
        steps: list[dict[str, Any]] = []
        for i, x in enumerate(begin["x"]):
            terms = peer.step(i, x.clone())
            steps.append({"terms": terms, **peer.state()})
        arrays = {}
        for own, parameter in parameters.items():
            arrays[f"gradient.{own}"] = peer.oriented(own, applied[0][id(parameter)])
            arrays[f"final.{own}"] = peer.oriented(own, parameter.detach())
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
    from tests.helpers.reference_cases import markdown

    print(markdown())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["write", "table"])
    {"write": write, "table": table}[parser.parse_args().part]()
