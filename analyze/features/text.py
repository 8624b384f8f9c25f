"""The features that fire on a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch

from analyze.features.token_text import token_texts
from analyze.measure.patching.model import check_model, load_patchable, model_of_store
from analyze.runs.same_rows import check_store
from analyze.runs.trained_run import TrainedRun, all_hooks, find_runs
from analyze.tables import markdown
from data.errors import InputError
from data.store.reader import Store, open_store
from harvest.text.sources import Batch
from harvest.text.tokenizer import HubTokenizer
from train.sae import SAE


@dataclass(frozen=True)
class TokenFeatures:
    """The features of one SAE that are active at a token, noise off.

    token: the token's text.
    features: numbers and activations of the most active ones, by falling activation.
    n_active: the count of all active features.
    """

    run: str
    hook: str
    position: int
    token: str
    features: Sequence[tuple[int, float]]
    n_active: int


def features_on_text(
    store: Store | str | PathLike[str], runs: Iterable[TrainedRun | str | PathLike[str]] | str | PathLike[str],
    text: str, *, hooks: Sequence[str] | str = (), model: str | None = None, top: int = 5,
    device: torch.device | str = "cpu",
) -> list[TokenFeatures]:  # fmt: skip
    """Return which features of SAEs fire on a text, token by token.

        from analyze import features_on_text
        for at in features_on_text("data/demo.zarr", "runs/demo/nsae_target_l0=32", "Once upon a time"):
            print(at.hook, at.token, at.features)      # [(number, activation), …]

    The text is tokenised as the store's was, with the store's prefix token before it.

    Args:
        store: The store that the SAEs were trained on.
        runs: Folders of runs, or folders that contain runs; one or several.
        text: At most as many tokens as the store's contexts have.
        hooks: Full names of the hooks. Default: all.
        model: The language model as `harvest --model` takes it. Default: the name recorded in the store.
        top: Largest number of features per token.
        device: Where the model and the SAEs run.

    Raises:
        InputError: A run was trained on another store, the model cannot be loaded or is not the store's, or the text
            is empty or too long.
    """
    opened = store if isinstance(store, Store) else open_store(str(store))
    wanted_runs = [runs] if isinstance(runs, str | PathLike) else list(runs)
    trained = [run for run in wanted_runs if isinstance(run, TrainedRun)]
    trained += find_runs([Path(run) for run in wanted_runs if not isinstance(run, TrainedRun)])
    check_store(trained, opened)
    wanted = [hooks] if isinstance(hooks, str) else list(hooks)
    chosen = [hook for hook in all_hooks(trained) if not wanted or hook in wanted]
    facts = model_of_store(opened, model)
    check_model(opened, facts)
    recorded = opened.provenance["tokens"]
    tokenizer = HubTokenizer(facts, separator="none", special_tokens=recorded.get("special_tokens") or "text")
    ids = [int(i) for part in tokenizer.encode(Batch([text], ["--text"], 0, {})) for i in part]
    prefix = recorded.get("prefix_token")
    all_ids = ids if prefix is None else [int(prefix), *ids]
    if not ids:
        raise InputError("--text: the text has no tokens; give at least one word")
    if len(all_ids) > opened.schema.context_size:
        raise InputError(
            f"--text: the text has {len(all_ids):,} tokens, and the store's contexts have "
            f"{opened.schema.context_size:,}; give a shorter text"
        )
    processing = opened.provenance["model"]["processing"]
    patchable = load_patchable(facts, chosen, processing=processing, device=torch.device(device))
    _, activations = patchable.clean(torch.tensor([all_ids], device=device))
    texts = token_texts(tokenizer.tokenizer, all_ids)
    return [
        TokenFeatures(run.name, hook, position, texts[position], features, n_active)
        for hook in chosen
        for run in trained
        if hook in run.hooks
        for position, (features, n_active) in enumerate(_largest(run.sae(hook, device), activations[hook][0], top))
    ]


@torch.inference_mode()
def _largest(sae: SAE, x: torch.Tensor, n: int) -> list[tuple[list[tuple[int, float]], int]]:
    """Return the n most active features of each row of x [rows, d_model], and the count of all active ones.

    The features are numbers and activations, by falling activation.
    """
    c = sae.encode(x)
    best = c.topk(min(n, sae.d_sae), dim=1)
    return [
        ([(number, value) for number, value in zip(numbers, values, strict=True) if value > 0], n_active)
        for numbers, values, n_active in zip(
            best.indices.tolist(), best.values.tolist(), (c > 0).sum(dim=1).tolist(), strict=True
        )
    ]


def as_table(lines: Sequence[TokenFeatures]) -> str:
    """Return a Markdown table per SAE, with a row per token and the features as `number (activation)`."""
    tables = []
    for run, hook in dict.fromkeys((line.run, line.hook) for line in lines):
        rows = [
            [f"`{line.token}`".replace("\n", "↵").replace("|", "\\|"), _features(line)]
            for line in lines if (line.run, line.hook) == (run, hook)
        ]  # fmt: skip
        tables.append(f"{hook}, {run}\n\n{markdown(['token', 'features that fire (activation)'], rows)}")
    return "\n\n".join(tables)


def _features(line: TokenFeatures) -> str:
    listed = ", ".join(f"{number} ({value:.3g})" for number, value in line.features)
    shown = len(line.features)
    return f"{shown} strongest of {line.n_active}: {listed}" if shown < line.n_active else listed or "none"
