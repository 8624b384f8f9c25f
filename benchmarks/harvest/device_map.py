"""A harvest of a model whose weights are larger than the machine's memory, from memory and the disk.

    python benchmarks/harvest/device_map.py [--gigabytes 30] [--memory 4GB]

The model has Llama's shape, random weights in bfloat16 files, and `--gigabytes` of weights in float32. `harvest
--device-map auto` keeps `--memory` of them in memory and reads the others from the disk in each pass. The peak is that
of the whole command's resident memory, with the pages of files that it maps.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from safetensors.torch import save_file

from benchmarks.shared.measure import machine

D, INNER, HEADS, VOCABULARY = 4096, 11008, 32, 4096
SHAPES = {
    "input_layernorm": (D,), "post_attention_layernorm": (D,),
    "self_attn.q_proj": (D, D), "self_attn.k_proj": (D, D), "self_attn.v_proj": (D, D), "self_attn.o_proj": (D, D),
    "mlp.gate_proj": (INNER, D), "mlp.up_proj": (INNER, D), "mlp.down_proj": (D, INNER),
}  # fmt: skip
CONTEXT = 32


def write_model(folder: Path, n_layers: int) -> None:
    """Write a model in hub format, one file per block; all blocks have the same random weights."""
    folder.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": D, "intermediate_size": INNER,
        "num_hidden_layers": n_layers, "num_attention_heads": HEADS, "num_key_value_heads": HEADS,
        "vocab_size": VOCABULARY, "max_position_embeddings": 2048, "dtype": "bfloat16", "tie_word_embeddings": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.manual_seed(0)
    block = {name: _weight(shape) for name, shape in SHAPES.items()}
    files = {"rest": {"model.embed_tokens.weight": _weight((VOCABULARY, D)), "model.norm.weight": _weight((D,))}}
    weight_map: dict[str, str] = {}
    for i in range(n_layers):
        files[f"block-{i}"] = {f"model.layers.{i}.{name}.weight": weight for name, weight in block.items()}
    for name, weights in files.items():
        save_file(weights, folder / f"{name}.safetensors", metadata={"format": "pt"})
        weight_map |= dict.fromkeys(weights, f"{name}.safetensors")
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _weight(shape: tuple[int, ...]) -> torch.Tensor:
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    return (torch.randn(shape) / shape[1] ** 0.5).to(torch.bfloat16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=30, help="of the weights in float32")
    parser.add_argument("--memory", default="4GB", help="for weights")
    parser.add_argument("--tokens", type=int, default=4 * CONTEXT)
    parser.add_argument("--folder", type=Path, help="for the model and the store, which are removed")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    n_parameters = sum(int(np.prod(shape)) for shape in SHAPES.values())
    n_layers = round(options.gigabytes * 1e9 / 4 / n_parameters)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write_model(folder / "model", n_layers)
        ids = np.random.default_rng(0).integers(0, VOCABULARY, (options.tokens // CONTEXT + 2, CONTEXT)).tolist()
        lines = "".join(json.dumps({"input_ids": row}) + "\n" for row in ids)
        (folder / "tokens.jsonl").write_text(lines, encoding="utf-8")
        begin = time.perf_counter()
        done = subprocess.run(
            [
                sys.executable, "-m", "harvest", "--model", str(folder / "model"), "--dataset",
                str(folder / "tokens.jsonl"), "--tokens", str(options.tokens), "--context-size", str(CONTEXT),
                "--batch-size", str(options.tokens // CONTEXT), "--held-out", "1", "--device", "cpu",
                "--device-map", "auto", "--max-memory", f"cpu={options.memory}", "--json",
                "--out", str(folder / "store.zarr"),
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.perf_counter() - begin
        if done.returncode:
            sys.exit(done.stderr)
        summary = json.loads(done.stdout)
    result = {
        "machine": machine(), "benchmark": "device_map", "layers": n_layers,
        "parameters": n_layers * n_parameters + VOCABULARY * D,
        "weights in float32, GB": 4 * (n_layers * n_parameters + VOCABULARY * D) / 1e9,
        "memory of the machine, GB": psutil.virtual_memory().total / 1e9, "memory for weights": options.memory,
        "tokens": options.tokens, "hooks": len(summary["hooks"]),
        "blocks": next((line for line in done.stderr.splitlines() if line.startswith("blocks")), ""),
        "peak memory, GB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9,
        "whole command, s": seconds,
    }  # fmt: skip
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
