"""`harvest` beside SAELens's caching runner, per activation written.

    python benchmarks/harvest/cache.py --peers ENV/bin/python

Both run a model of GPT-2 small's shape with random weights over the same number of tokens and write `mlp_out`. SAELens
makes one pass a hook, which stops at that hook's layer; we write all layers in one pass, and are also timed at single
layers. In turn, each in a process of its own; loading the model and importing is not counted, nor our first batch.
benchmarks/peers says how to install SAELens.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.shared.language_model import TOKENS, harvested, make_model, make_tokens, saelens_seconds
from benchmarks.shared.measure import report

N_LAYERS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the Python of an environment that has SAELens")
    parser.add_argument("--single", type=int, nargs="+", default=[0, 5, 11], help="layers timed alone, too")
    parser.add_argument("--batches", type=int, default=4, help="of 16 contexts of 256 tokens")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    sets = {"all": N_LAYERS, **dict.fromkeys(map(str, args.single), 1)}
    times: dict[str, list[tuple[float, float]]] = {layers: [] for layers in sets}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model", N_LAYERS)
        n_tokens = (args.batches + 1) * TOKENS
        make_tokens(folder / "tokens.jsonl", n_tokens)
        for _ in range(args.repeats):
            peer = saelens_seconds(args.peers, range(N_LAYERS), args.batches, args.threads)
            for layers in sets:
                peers = sum(peer.values()) if layers == "all" else peer[int(layers)]
                ours = 1 / harvested(folder, n_tokens, args.threads, layers=layers)["tokens_per_second"]
                times[layers].append((ours, peers))
    rows: list[dict[str, Any]] = [
        {"layers": layers, "hooks": sets[layers], "ours, µs an activation": 1e6 * median(u for u, _ in timings) / n,
         "SAELens, µs": 1e6 * median(t for _, t in timings) / n, "SAELens / ours": median(t / u for u, t in timings)}
        for (layers, timings), n in zip(times.items(), sets.values(), strict=True)
    ]  # fmt: skip
    report({"benchmark": "cache", "batches": args.batches, "repeats": args.repeats}, rows, args.out)


if __name__ == "__main__":
    main()
