"""Does the cost grow as the work does?  python benchmarks/scaling.py

Tokens × 10 and layers × 3 for `harvest` (GPT-2 small's shape; 2 layers, and 6), activations × 10, layers × 3 and
features × 4 for a baseline's training (768 → 3072, and 12 288; the share of active features is kept). In turn, several
times. "over linear" is the ratio of the costs over that of the work: 1 is linear, less is cheaper than that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from _contest import compete
from _lm import BATCH, CONTEXT, harvested, make_model, make_tokens
from _measure import report

HERE = Path(__file__).resolve().parent
SHARE = 50 / 12288  # of active features


def row(what: str, factor: int, small: list[float], large: list[float]) -> dict[str, Any]:
    ratio = median(large) / median(small)
    return {"what": what, "work": f"× {factor}", "seconds, small": median(small), "seconds, large": median(large),
            "cost": f"× {ratio:.2f}", "over linear": ratio / factor}  # fmt: skip


def harvesting(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of harvests, from the first batch's end to the last seal."""
    cases = {"small": (2, 6), "tokens": (2, 60), "layers": (6, 6)}  # layers and batches, the first one not counted
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n_layers in (2, 6):
            make_model(folder / str(n_layers), n_layers)
        make_tokens(folder / "tokens.jsonl", 61)
        for _ in range(options.repeats):
            for case, (n_layers, batches) in cases.items():
                found = harvested(folder, batches + 1, options.threads, model=str(n_layers))
                seconds[case].append(batches * BATCH * CONTEXT / found["tokens_per_second"])
    return [row("harvest: tokens", 10, seconds["small"], seconds["tokens"]),
            row("harvest: layers", 3, seconds["small"], seconds["layers"])]  # fmt: skip


def training(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of steps, and of ten."""

    def command(name: str, d_sae: int) -> list[str]:
        shape = {"--d-model": 768, "--d-sae": d_sae, "--batch-size": options.batch_size, "--l0": SHARE * d_sae}
        return [sys.executable, str(HERE / "_steps.py"), name, *(str(x) for pair in shape.items() for x in pair)]

    commands = {"small": command("ours", 3072), "layers": command("ours, three layers", 3072),
                "features": command("ours", 12288)}  # fmt: skip
    found = compete(commands, rounds=options.repeats, steps=10)
    times = {name: result["seconds"] for name, result in found.items()}
    tens = [sum(times["small"][i : i + 10]) for i in range(0, len(times["small"]), 10)]
    return [row("training: activations", 10, times["small"], tens),
            row("training: layers", 3, times["small"], times["layers"]),
            row("training: features", 4, times["small"], times["features"])]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    rows = [*training(options), *harvesting(options)]
    report({"benchmark": "scaling", "batch": options.batch_size}, rows, options.out)


if __name__ == "__main__":
    main()
