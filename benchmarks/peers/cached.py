"""SAELens's cached activations: made by its runner, and read by its own loader from what we write. See README.md.

    ENVIRONMENT/bin/python benchmarks/peers/cached.py make FOLDER
    harvest --activations FOLDER/cache --out FOLDER/store.zarr --dtype float32
    analyze export --store FOLDER/store.zarr --to saelens --split all --out FOLDER/exported
    ENVIRONMENT/bin/python benchmarks/peers/cached.py read FOLDER

`make` runs CacheActivationsRunner on a model with random weights. `read` loads FOLDER/exported with SAELens's
ActivationsStore, and compares every context with FOLDER/cache: it prints the largest difference, which must be 0.
"""

from __future__ import annotations

import argparse
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig, cache_activations_runner
from sae_lens.training.activations_store import ActivationsStore
from transformer_lens import HookedTransformer, HookedTransformerConfig

CONTEXTS, CONTEXT_SIZE, D, HOOK = 12, 8, 4, "blocks.1.hook_mlp_out"
BATCH = 4  # contexts


def model() -> HookedTransformer:
    return HookedTransformer(
        HookedTransformerConfig(
            n_layers=2, d_model=D, n_ctx=CONTEXT_SIZE, d_head=2, n_heads=2, d_mlp=8, d_vocab=50, act_fn="gelu_new",
            normalization_type="LN", seed=0,
        )
    )  # fmt: skip


def tokens() -> datasets.Dataset:
    ids = np.random.default_rng(0).integers(1, 50, (CONTEXTS, CONTEXT_SIZE))
    return datasets.Dataset.from_dict({"input_ids": ids.tolist()})


def make(folder: Path) -> None:
    """Cache activations as SAELens does, into FOLDER/cache."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    runner: Any = cache_activations_runner
    runner.load_model = lambda **_: model()
    n_tokens = CONTEXTS * CONTEXT_SIZE
    config = CacheActivationsRunnerConfig(
        dataset_path="made-up", model_name="made-up", model_batch_size=BATCH, hook_name=HOOK, d_in=D,
        training_tokens=n_tokens, context_size=CONTEXT_SIZE, new_cached_activations_path=str(folder / "cache"),
        buffer_size_gb=BATCH * CONTEXT_SIZE * D * 4 * 1.001 / 1e9, shuffle=False, prepend_bos=False, streaming=False,
        device="cpu",
    )  # fmt: skip
    print(CacheActivationsRunner(config, override_dataset=tokens()).run())


def read(folder: Path) -> None:
    """Load FOLDER/exported with SAELens, and compare it with FOLDER/cache."""
    loaded = {}
    for name, path in (("cache", folder / "cache"), ("exported", folder / "exported" / HOOK)):
        store = ActivationsStore(
            model=model(), dataset=tokens(), streaming=False, hook_name=HOOK, hook_head_index=None,
            context_size=CONTEXT_SIZE, d_in=D, n_batches_in_buffer=2, total_training_tokens=CONTEXTS * CONTEXT_SIZE,
            store_batch_size_prompts=1, train_batch_size_tokens=8, prepend_bos=False, normalize_activations="none",
            device=torch.device("cpu"), dtype="float32", cached_activations_path=str(path),
        )  # fmt: skip
        contexts = {}
        for _ in range(CONTEXTS):
            rows, ids = store.get_raw_llm_batch()
            assert ids is not None
            contexts[tuple(ids.flatten().tolist())] = rows.reshape(CONTEXT_SIZE, D)
        loaded[name] = contexts
    cache, exported = loaded["cache"], loaded["exported"]
    assert cache.keys() == exported.keys()
    difference = max(float((cache[ids] - exported[ids]).abs().max()) for ids in cache)
    print(json.dumps({"contexts": len(cache), "difference": difference, "version": version("sae-lens")}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["make", "read"])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    (make if options.step == "make" else read)(options.folder)


if __name__ == "__main__":
    main()
