"""Other libraries' evaluations of one small SAE, as a file that our translations are compared with.

    ENVIRONMENT/bin/pip install --no-deps --target FOLDER sae-bench==0.6.0 tabulate
    PYTHONPATH=FOLDER ENVIRONMENT/bin/python benchmarks/peers/evaluation.py

Each library's own functions run on a made-up language model of one layer, whose activation is a token's vector plus a
position's, and whose logits are a linear map of their running mean. Token 0 is special (BOS, EOS and padding). The SAE
has dead features and shrinks. tests/analyze/translation/test_references.py computes the same with our formulas.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

OUT = Path(__file__).resolve().parents[2] / "tests" / "analyze" / "translation" / "evaluation.npz"
HOOK = "blocks.0.hook_mlp_out"
BATCHES, CONTEXTS, LENGTH, VOCABULARY, D_MODEL, D_SAE = 3, 2, 6, 7, 5, 12
SPECIAL = 0


def made_up() -> dict[str, Tensor]:
    """Return the tokens [BATCHES, CONTEXTS, LENGTH], and the weights of the language model and the SAE."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    tokens = torch.randint(1, VOCABULARY, (BATCHES, CONTEXTS, LENGTH), generator=generator)
    tokens[:, :, 0] = SPECIAL
    tokens[1, 0, 3] = SPECIAL
    embedding = normal(VOCABULARY, D_MODEL) + 0.5
    embedding[SPECIAL] *= 4  # a special token's norm is an outlier
    position = 0.3 * normal(LENGTH, D_MODEL)
    W_enc, b_enc = normal(D_SAE, D_MODEL), normal(D_SAE) - 2
    b_enc[:3] = -100.0  # dead
    x = (embedding[tokens] + position)[tokens != SPECIAL]
    c, b_dec = torch.relu(x @ W_enc.T + b_enc), x.mean(dim=0)
    W_dec = torch.linalg.solve(c.T @ c + torch.eye(D_SAE), c.T @ (x - b_dec))  # a ridge regression shrinks
    return {
        "tokens": tokens, "embedding": embedding, "position": position, "unembedding": normal(D_MODEL, VOCABULARY),
        "W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": b_dec,
    }  # fmt: skip


@dataclass(frozen=True)
class LanguageModel:
    """A model of one layer with the part of TransformerLens's interface that the evaluations use."""

    weights: dict[str, Tensor]

    def activations(self, tokens: Tensor) -> Tensor:
        return self.weights["embedding"][tokens] + self.weights["position"]

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits of x [contexts, LENGTH, D_MODEL], from the mean of all positions up to each."""
        return x.cumsum(dim=1) / torch.arange(1, LENGTH + 1)[:, None] @ self.weights["unembedding"]

    def __call__(self, tokens: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        return self.run_with_hooks(tokens, fwd_hooks=[])

    def run_with_hooks(
        self, tokens: Tensor, *, fwd_hooks: list[tuple[str, Callable[..., Tensor]]], **options: Any
    ) -> tuple[Tensor, Tensor]:
        x = self.activations(tokens)
        for _, function in fwd_hooks:
            x = function(x, hook=None)
        logits = self.logits(x)
        return logits, cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")

    def run_with_cache(self, tokens: Tensor, **options: Any) -> tuple[None, dict[str, Tensor]]:
        return None, {HOOK: self.activations(tokens)}


class SmallSAE:
    """A ReLU SAE with the part of the libraries' interfaces that the evaluations use."""

    device = torch.device("cpu")
    dict_size = D_SAE

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights
        place: dict[str, Any] = {"hook_name": HOOK, "hook_head_index": None, "hook_layer": 0}
        self.cfg = SimpleNamespace(**place, d_sae=D_SAE, metadata=SimpleNamespace(**place))

    def encode(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.weights["W_enc"].T + self.weights["b_enc"])

    def decode(self, c: Tensor) -> Tensor:
        return c @ self.weights["W_dec"] + self.weights["b_dec"]

    def __call__(self, x: Tensor, output_features: bool = False) -> Any:
        c = self.encode(x)
        return (self.decode(c), c) if output_features else self.decode(c)


class Batches:
    """Gives the batches of tokens in order, as SAELens's ActivationsStore does."""

    def __init__(self, tokens: Tensor) -> None:
        self._batches = iter(tokens)

    def get_batch_tokens(self, n: int) -> Tensor:
        return next(self._batches)


def evaluate_transformer_lens(
    library: Any, sae: SmallSAE, weights: dict[str, Tensor], n_batches: int, ignore_tokens: Any, *,
    exclusion: Mapping[str, bool] = MappingProxyType({}), **options: Any,
) -> Any:  # fmt: skip
    """Return SAELens's or SAEBench's metrics over all batches, special tokens excluded, and the features' densities."""
    model, tokens = LanguageModel(weights), weights["tokens"].reshape(n_batches, -1, LENGTH)
    common = {"n_batches": n_batches, "eval_batch_size_prompts": len(tokens[0]), "ignore_tokens": ignore_tokens}
    metrics, features = library.get_sparsity_and_variance_metrics(
        sae, model, Batches(tokens), **options, **common, compute_l2_norms=True,
        compute_sparsity_metrics=True, compute_variance_metrics=True, compute_featurewise_density_statistics=True,
        model_kwargs={},
    )  # fmt: skip
    losses = library.get_downstream_reconstruction_metrics(
        sae, model, Batches(tokens), **options, **common, **exclusion, compute_kl=True, compute_ce_loss=True
    )
    return {**metrics, **losses}, torch.tensor(features["feature_density"])


def evaluate_sae_lens(sae: SmallSAE, weights: dict[str, Tensor], n_batches: int) -> dict[str, float]:
    from sae_lens import evals
    from sae_lens.training.activation_scaler import ActivationScaler

    metrics, density = evaluate_transformer_lens(
        evals, sae, weights, n_batches, [SPECIAL], activation_scaler=ActivationScaler()
    )
    names = ("explained_variance", "explained_variance_legacy", "l0", "ce_loss_score")
    return {name: metrics[name] for name in names} | {"dead": float((density == 0).float().mean())}


def evaluate_sae_bench(
    sae: SmallSAE, weights: dict[str, Tensor], n_batches: int, *, keep_special: bool = False
) -> dict[str, float]:
    import sae_bench.evals.core.main as core

    metrics, density = evaluate_transformer_lens(
        core, sae, weights, n_batches, {SPECIAL},
        exclusion={"exclude_special_tokens_from_reconstruction": keep_special},
    )  # fmt: skip
    similarities = {key: [0.0] for key in ("max_encoder_cosine_sim", "max_decoder_cosine_sim")}
    alive = core.calculate_misc_metrics({**similarities, "feature_density": density})["frac_alive"]
    names = ("explained_variance", "explained_variance_legacy", "l0", "ce_loss_score")
    return {name: metrics[name] for name in names} | {"frac_alive": alive}


class Saved(Tensor):
    """A tensor as nnsight's proxies look after a trace."""

    def save(self) -> Saved:
        return self

    @property
    def value(self) -> Tensor:
        return self.as_subclass(Tensor)


class Output:
    """The output of a traced model: known once the trace ends."""

    value: Tensor

    def save(self) -> Output:
        return self


class Traced:
    """A language model with the part of nnsight's interface that dictionary_learning's `loss_recovered` uses."""

    dtype = torch.float32

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self._model = LanguageModel(weights)
        self.submodule = SimpleNamespace()
        self.output, self.inputs = Output(), Output()

    @contextmanager
    def trace(self, text: Tensor | str, **options: Any) -> Iterator[None]:
        tokens = self._model.weights["tokens"][0] if isinstance(text, str) else text
        self.submodule.output = self._model.activations(tokens).as_subclass(Saved)
        self.output = Output()
        yield
        self.output.value = self._model.logits(self.submodule.output.value)


def evaluate_dictionary_learning(sae: SmallSAE, weights: dict[str, Tensor], n_batches: int) -> dict[str, float]:
    """Return what `evaluate` gives if the rows come in this many batches of equal size."""
    from dictionary_learning import evaluation
    from dictionary_learning.buffer import ActivationBuffer

    model = Traced(weights)
    batches = weights["tokens"].reshape(n_batches, -1, LENGTH)

    class Buffer(ActivationBuffer):  # type: ignore[misc]
        def __init__(self) -> None:
            self.model, self.submodule = model, model.submodule
            self._rows = iter(LanguageModel(weights).activations(batches).reshape(n_batches, -1, D_MODEL))
            self._texts = iter(batches)

        def __next__(self) -> Tensor:
            return next(self._rows)

        def text_batch(self, batch_size: int | None = None) -> Tensor:
            return next(self._texts)

    measured = evaluation.evaluate(sae, Buffer(), n_batches=n_batches)
    return {name: measured[name] for name in ("frac_variance_explained", "l0", "frac_alive", "frac_recovered")}


LIBRARIES: dict[str, Callable[..., dict[str, float]]] = {
    "saelens": evaluate_sae_lens,
    "saebench": evaluate_sae_bench,
    "dictionary-learning": evaluate_dictionary_learning,
}


def main() -> None:
    weights = made_up()
    sae = SmallSAE(weights)
    cases: dict[str, Callable[[SmallSAE, dict[str, Tensor]], dict[str, float]]] = {
        f"{name}{f', {n_batches} batches' * (n_batches > 1)}": partial(evaluate, n_batches=n_batches)
        for name, evaluate in LIBRARIES.items()
        for n_batches in (1, BATCHES)
    }
    cases["saebench, special tokens kept"] = partial(evaluate_sae_bench, n_batches=1, keep_special=True)
    expected = {name: evaluate(sae, weights) for name, evaluate in cases.items()}
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in weights.items()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(OUT, **arrays, expected=np.array(json.dumps(expected)))
    print(json.dumps(expected, indent=1))


if __name__ == "__main__":
    main()
