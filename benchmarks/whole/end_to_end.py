"""The cost of a whole experiment: R runs × L layers × N activations.

    python benchmarks/whole/end_to_end.py --peers ENVIRONMENT/bin/python

Measured are its parts, in turn and repeatedly in one call, on GPT-2 small's shape with random weights and SAEs of
768 → 12 288, in batches of 4096 at L0 ≈ 50 (which they reach after the first few hundred of the experiment's steps):
medians of seconds a token, or a row. The experiment's hours are the parts' sums, scaled to its size. Half of our runs
are NSAEs, whose noise costs time; SAELens has none, so that all of its runs are baselines:

    ours              one pass of the language model for all layers, then all runs' steps
    SAELens, live     for each run and layer: the model up to the layer, and a step
    SAELens, cached   for each layer once: its caching runner; for each run and layer: a step
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.shared.contest import compete
from benchmarks.shared.language_model import TOKENS, harvested, make_model, make_tokens, saelens_seconds
from benchmarks.shared.measure import report

BENCHMARKS = Path(__file__).resolve().parents[1]
N_LAYERS, BATCH = 12, 4096


def step_seconds(python: str, rounds: int) -> dict[str, float]:
    """Seconds a row of one SAE's step: ours is the mean of a baseline's and an NSAE's."""
    shape = ["--d-model", "768", "--d-sae", "12288", "--batch-size", str(BATCH), "--l0", "50"]
    results = compete(
        {"ours": [sys.executable, str(BENCHMARKS / "train" / "steps.py"), "ours", *shape],
         "ours, NSAE": [sys.executable, str(BENCHMARKS / "train" / "steps.py"), "ours, NSAE", *shape],
         "SAELens": [python, str(BENCHMARKS / "peers" / "run.py"), "SAELens", *shape]}, rounds=rounds, steps=1,
    )  # fmt: skip
    a_row = {name: median(result["seconds"]) / BATCH for name, result in results.items()}
    return {**a_row, "ours, mean": (a_row["ours"] + a_row["ours, NSAE"]) / 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the Python of an environment that has SAELens")
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--activations", type=float, default=100e6, help="a run")
    parser.add_argument("--part", type=int, nargs="+", default=[0, 5, 11], help="layers whose passes are timed")
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="of the model's passes")
    parser.add_argument("--rounds", type=int, default=5, help="of the steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model", N_LAYERS)
        n_tokens = (args.batches + 1) * TOKENS
        make_tokens(folder / "tokens.jsonl", n_tokens)
        harvests: list[float] = []
        passes: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(args.repeats):
            harvests.append(1 / harvested(folder, n_tokens, args.threads)["tokens_per_second"])
            for is_live, seconds in passes.items():
                # A pass up to a layer costs what the layers before it do, so that the mean over some is that over all.
                peer = saelens_seconds(args.peers, args.part, args.batches, args.threads, live=is_live)
                seconds.append(mean(peer.values()))
    steps = step_seconds(args.peers, args.rounds)
    harvest, live, cached = (median(seconds) for seconds in (harvests, passes[True], passes[False]))
    saes, n = args.runs * N_LAYERS, args.activations
    ways = {
        "ours": (harvest * n, saes * steps["ours, mean"] * n),
        "SAELens, live": (saes * live * n, saes * steps["SAELens"] * n),
        "SAELens, cached": (N_LAYERS * cached * n, saes * steps["SAELens"] * n),
    }
    ours = sum(ways["ours"])
    rows: list[dict[str, Any]] = [
        {"way": way, "language model, hours": model / 3600, "steps, hours": step / 3600,
         "all, hours": (model + step) / 3600, "over ours": (model + step) / ours}
        for way, (model, step) in ways.items()
    ]  # fmt: skip
    parts = {"harvest, s a token": harvests, "SAELens, live, s a token": passes[True],
             "SAELens, caching, s a token": passes[False], "steps, s a row and SAE": steps}  # fmt: skip
    about = {"benchmark": "end_to_end", "runs": args.runs, "layers": N_LAYERS, "activations": n, "part": args.part}
    report({**about, "parts": parts}, rows, args.out)


if __name__ == "__main__":
    main()
