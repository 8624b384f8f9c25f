"""`harvest` on a GPU beside the bare forward pass, in each precision.  python benchmarks/harvest_gpu.py

The bare pass is that of `transformers` with SDPA: all blocks, no LM head, no hooks, nothing written; in bfloat16 its
weights are, too. Against it `harvest`, all layers' `mlp_out` to disk in float16, uncompiled and compiled, of a
GPT-2-small-shaped model with random weights, in batches of the same shape. In turn, each in a process of its own; first
batches are left out, and with them what is compiled. Harvest's time ends when the last shard is sealed. Set TMPDIR to
/dev/shm where the disk is slower than the card.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _lm import CONTEXT, child, harvested, make_model, make_tokens
from _measure import report

N_LAYERS, D_MODEL, THREADS = 12, 768, 16
# harvest, and the bare pass beside it
OURS = {"float32": "float32", "tf32": "tf32", "tf32, compiled": "tf32", "bfloat16": "bfloat16",
        "bfloat16, compiled": "bfloat16, compiled"}  # fmt: skip


def bare(model: str, what: str, batch_size: int, batches: int, device: str) -> None:
    """Child process: print tokens a second of the forward pass alone."""
    import torch
    from transformers import AutoModel

    precision, _, compiled = what.partition(", ")
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    lm: Any = AutoModel.from_pretrained(model, dtype=kind, attn_implementation="sdpa").eval().to(device)
    if compiled:
        lm = torch.compile(lm)
    tokens = torch.randint(0, 50257, (batches, batch_size, CONTEXT), device=device)

    def settle() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode():
        for batch in tokens[:3]:  # what is compiled, and what is chosen at first use
            lm(input_ids=batch, use_cache=False)
        settle()
        begin = time.perf_counter()
        for batch in tokens:
            lm(input_ids=batch, use_cache=False)
        settle()
    print(json.dumps({"tokens_per_second": tokens.numel() / (time.perf_counter() - begin)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=64, help="contexts of 256 tokens")
    parser.add_argument("--batches", type=int, default=40, help="of so many")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", help="of harvest's rows, separated by |")
    parser.add_argument("--keep", type=Path, help="a folder for the model, the tokens and the last store")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        model, what = args.child
        bare(model, what, args.batch_size, args.batches, args.device)
        return
    ours = args.only.split("|") if args.only else list(OURS)
    python = [sys.executable, str(Path(__file__).resolve()), "--batch-size", str(args.batch_size), "--batches",
              str(args.batches), "--device", args.device]  # fmt: skip
    speed: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        make_model(folder / "model", N_LAYERS)
        n_tokens = args.batches * args.batch_size * CONTEXT
        make_tokens(folder / "tokens.jsonl", n_tokens)
        for _ in range(args.repeats):
            for what in dict.fromkeys(OURS[one] for one in ours):
                command = [*python, "--child", str(folder / "model"), what]
                speed.setdefault(("bare", what), []).append(child(command, THREADS)["tokens_per_second"])
            for what in ours:
                precision, _, compiled = what.partition(", ")
                record = harvested(
                    folder, n_tokens, THREADS, compiling="yes" if compiled else "no", device=args.device,
                    precision=precision, batch_size=args.batch_size,
                )  # fmt: skip
                speed.setdefault(("harvest", what), []).append(record["tokens_per_second"])
    rows: list[dict[str, Any]] = []
    for (who, what), speeds in speed.items():
        tokens = statistics.median(speeds)
        beside = statistics.median(speed["bare", what if who == "bare" else OURS[what]])
        rows.append({
            "what": who, "products in": what, "tokens/s": tokens, "over the bare pass": tokens / beside,
            "GB/s written": tokens * N_LAYERS * D_MODEL * 2 / 1e9 if who == "harvest" else 0.0,
        })  # fmt: skip
    report({"benchmark": "harvest_gpu", "batch_size": args.batch_size, "batches": args.batches}, rows, args.out)


if __name__ == "__main__":
    main()
