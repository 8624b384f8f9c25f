"""How close is `harvest` to the bare forward pass?  python benchmarks/harvest/harvest_cpu.py

First the bare forward pass in TransformerLens and in `transformers` with SDPA, once each (all blocks, no LM head, not
compiled, no hooks, nothing written). Then, repeatedly and in turn, each in a process of its own: the faster of the two,
and `harvest` (all layers' `mlp_out` to disk in float16), as it is and compiled, on the same batches with the same
threads, on a model of GPT-2 small's shape, or of SmolLM2-135M's (`--family llama`), with random weights. The first
batch of each is left out, and with it what is compiled. Harvest's time ends when the last row is synced and its shards
are sealed. RssAnon is sampled from outside.

The figure of merit is harvest's tokens a second over the faster bare pass's, by repeat, and its median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.shared.language_model import (
    BATCH,
    CONTEXT,
    LAYERS,
    TOKENS,
    VOCABULARY,
    child,
    harvested,
    make_model,
    make_tokens,
)
from benchmarks.shared.measure import report, summary

OURS = {"harvest": "no", "harvest, compiled": "yes"}


def bare(kind: str, model: str, batches: int) -> None:
    """Child process: print tokens a second of the forward pass alone."""
    import torch

    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, VOCABULARY, (batches, BATCH, CONTEXT)))
    if kind == "transformers":
        from transformers import AutoModel

        lm = AutoModel.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa").eval()
        run = partial(lm, use_cache=False)
    else:
        from transformer_lens.model_bridge import TransformerBridge

        bridge = TransformerBridge.boot_transformers(model, device="cpu")
        run = partial(bridge, return_type=None, stop_at_layer=bridge.cfg.n_layers)
    with torch.inference_mode():
        run(tokens[0])
        begin = time.perf_counter()
        for batch in tokens[1:]:
            run(batch)
    print(json.dumps({"tokens_per_second": (batches - 1) * BATCH * CONTEXT / (time.perf_counter() - begin)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=["gpt2", "llama"], default="gpt2")
    parser.add_argument("--layers", type=int, help="all of the family's by default")
    parser.add_argument("--batches", type=int, default=9, help="of 16 contexts of 256 tokens, the first not counted")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        kind, model = args.child
        bare(kind, model, args.batches)
        return
    n_layers = args.layers or LAYERS[args.family]
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "model")
        make_model(Path(model), n_layers, args.family)
        make_tokens(Path(folder) / "tokens.jsonl", args.batches * TOKENS)
        python = [sys.executable, str(Path(__file__).resolve())]
        bare_pass = {
            kind: [*python, "--batches", str(args.batches), "--child", kind, model]
            for kind in ("transformers", "transformer_lens")
        }
        results: dict[str, list[dict[str, float]]] = {}
        first = {kind: [child(command, args.threads)] for kind, command in bare_pass.items()}
        fastest = max(first, key=lambda kind: first[kind][0]["tokens_per_second"])
        for repeat in range(args.repeats):
            results.setdefault(fastest, []).append(child(bare_pass[fastest], args.threads))
            for name, compiling in OURS.items():
                results.setdefault(name, []).append(
                    harvested(Path(folder), args.batches * TOKENS, args.threads, compiling=compiling)
                )
            print(f"repeat {repeat}: " + ", ".join(str(results[kind][-1]) for kind in results), file=sys.stderr)
        slower = next(kind for kind in first if kind != fastest)
        results[slower] = first[slower]
    speed = {kind: [f["tokens_per_second"] for f in runs] for kind, runs in results.items()}
    memory = {kind: max(f["rss_anon_mib"] for f in runs) for kind, runs in results.items()}
    ratios = {
        name: summary([ours / bare for ours, bare in zip(speed[name], speed[fastest], strict=True)]) for name in OURS
    }
    rows = [
        {"what": kind, "tokens/s (median)": statistics.median(values), "over the faster bare pass":
         statistics.median([v / b for v, b in zip(values, speed[fastest], strict=False)]),
         "peak RssAnon, MiB": memory[kind]}
        for kind, values in speed.items()
    ]  # fmt: skip
    result = {
        "benchmark": "harvest", "family": args.family, "layers": n_layers, "batches": args.batches,
        "fastest_bare": fastest, "ratio": ratios, "rss_anon_above_bare_mib": memory["harvest"] - memory[fastest],
    }  # fmt: skip
    report(result, rows, args.out)


if __name__ == "__main__":
    main()
