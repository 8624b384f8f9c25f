"""delphi's cache of latents, from which it makes the examples that it has explained and scored.

`latents/HOOK/FIRST_LAST.safetensors` has the active entries of a range of features, and the tokens of all contexts;
`latents/HOOK/config.json` names the model and the text. `neighbours/HOOK-decoder_similarity.json` has the nearest
features, whose contexts delphi takes as hard examples without the feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from analyze.features.activations import ActivePositions, activations
from analyze.features.exports.sae_features import SAEFeatures
from analyze.features.measure import blocks
from analyze.measure.dictionary import nearest
from data.command.json_text import json_text

FILE_ENTRIES = 1 << 23  # active entries per file: 80 MiB, and 500 MiB of memory
NEIGHBOURS = 10
SIMILARITY = "decoder_similarity"  # delphi's name of cosines of decoder directions


@dataclass(frozen=True)
class _Split:
    """The features of one file: `numbers`, all in first … last. The ranges of all files together are 0 … d_sae − 1."""

    first: int
    last: int
    numbers: list[int]


def write_delphi(features: SAEFeatures, root: Path) -> Path:
    """Write the features of an SAE into ROOT/RUN, as delphi does below its folder of results.

    Returns the folder RUN/latents, delphi's `raw_dir`. Contexts of several hooks of a run share the folder.
    """
    folder, heldout = Path(features.run) / "latents", features.heldout
    latents = root / folder / features.hook
    latents.mkdir(parents=True)
    tokens, sae = heldout.tokens(), features.fires.run.sae(features.hook, features.device)
    splits = _splits(features)
    for split in splits:
        active = activations(heldout, features.hook, sae, split.numbers, device=features.device)
        entries = [active.of_feature(i) for i in range(len(split.numbers))]
        tensors = {"locations": _locations(split, entries, tokens.shape), "tokens": tokens,
                   "activations": np.concatenate([entry.activation for entry in entries])}  # fmt: skip
        save_file(tensors, latents / f"{split.first}_{split.last}.safetensors")
    config = {
        "dataset_repo": features.store.dataset, "dataset_split": "heldout", "dataset_name": "", "dataset_column": "",
        "batch_size": 1, "cache_ctx_len": tokens.shape[1], "n_tokens": tokens.size, "n_splits": len(splits),
        "model_name": features.store.model_name,
    }  # fmt: skip
    (latents / "config.json").write_text(json_text(config), encoding="utf-8")
    neighbours = root / folder.with_name("neighbours") / f"{features.hook}-{SIMILARITY}.json"
    neighbours.parent.mkdir(exist_ok=True)
    neighbours.write_text(json_text(_neighbours(features), indent=None), encoding="utf-8")
    return folder


def _splits(features: SAEFeatures) -> list[_Split]:
    """Cut the live ones of the features into files."""
    count = features.fires.all.count
    files = list(blocks([number for number in features.numbers if count[number]], count, most=FILE_ENTRIES))
    firsts = [0, *(numbers[0] for numbers in files[1:])]
    lasts = [*(first - 1 for first in firsts[1:]), len(count) - 1]
    return [_Split(*split) for split in zip(firsts, lasts, files, strict=True)] if files else []


def _locations(
    split: _Split, entries: Sequence[ActivePositions], shape: tuple[int, ...]
) -> NDArray[np.unsignedinteger]:
    """Return context, position and feature of each active entry, the feature less the file's first: [entries, 3].

    shape: of the contexts. delphi expects uint16 or uint32, and each feature's entries in the order of the text.
    """
    size = max(*shape, split.last - split.first + 1)
    context_and_position = [divmod(entry.place, shape[1]) for entry in entries]
    columns = [
        np.stack([context, position, np.full(len(context), number - split.first)], axis=1)
        for (context, position), number in zip(context_and_position, split.numbers, strict=True)
    ]
    return np.concatenate(columns).astype(np.uint16 if size <= 1 << 16 else np.uint32)


def _neighbours(features: SAEFeatures) -> dict[str, list[tuple[float, int]]]:
    """Return the nearest live features of each one by decoder direction: [cosine, feature], the largest first."""
    W_dec = features.fires.run.sae(features.hook).W_dec.detach()
    near, cosines = nearest(W_dec, features.fires.all.live, NEIGHBOURS)
    return {
        str(number): [
            (float(f"{cosine:.6g}"), n)
            for cosine, n in zip(cosines[number].tolist(), near[number].tolist(), strict=True)
            if n >= 0
        ]
        for number in features.numbers
    }
