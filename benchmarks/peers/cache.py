"""SAELens's caching runner on a GPT-2-small-shaped model, hook by hook; see README.md beside this.

    ENVIRONMENT/bin/python benchmarks/peers/cache.py --layers 0 5 11 --batches 4

Prints JSON: seconds of `run()` for each hook. The model is made of random weights, because none can be asked of a hub
by name; the runner's own shuffle at the end is left out, which favours it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig, cache_activations_runner
from transformer_lens import HookedTransformer, HookedTransformerConfig


def model(n_layers: int) -> HookedTransformer:
    return HookedTransformer(
        HookedTransformerConfig(
            n_layers=n_layers, d_model=768, n_ctx=1024, d_head=64, n_heads=12, d_mlp=3072, d_vocab=50257,
            act_fn="gelu_new", normalization_type="LN", seed=0,
        )
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[0])
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--context-size", type=int, default=256)
    parser.add_argument("--live", action="store_true", help="the pass alone, as before a step of training")
    options = parser.parse_args()
    shape = (options.batches * options.batch_size, options.context_size)
    n_tokens = shape[0] * shape[1]
    tokens = Dataset.from_dict({"input_ids": np.random.default_rng(0).integers(0, 50257, shape).tolist()})
    lm = model(12)
    runner: Any = cache_activations_runner
    runner.load_model = lambda **_: lm
    lm(torch.zeros((1, shape[1]), dtype=torch.int64), return_type=None)  # warm
    seconds = {}
    for layer in options.layers:
        with tempfile.TemporaryDirectory() as folder:
            config = CacheActivationsRunnerConfig(
                dataset_path="made-up", model_name="made-up", model_batch_size=options.batch_size,
                hook_name=f"blocks.{layer}.hook_mlp_out", d_in=768, training_tokens=n_tokens,
                context_size=options.context_size, new_cached_activations_path=str(Path(folder) / "cache"),
                buffer_size_gb=n_tokens * 768 * 4 * 1.001 / 1e9,
                shuffle=False, prepend_bos=False, streaming=False, device="cpu",
            )  # fmt: skip
            caching = CacheActivationsRunner(config, override_dataset=tokens)
            begin = time.perf_counter()
            if options.live:
                for _ in range(options.batches):
                    caching.activations_store.get_raw_llm_batch()
            else:
                assert len(caching.run()) == shape[0]
            seconds[layer] = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "tokens": n_tokens, "version": version("sae-lens")}))


if __name__ == "__main__":
    main()
