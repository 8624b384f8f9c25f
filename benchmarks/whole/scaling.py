"""Does the cost grow as the work does?  python benchmarks/whole/scaling.py

Whole commands: tokens × 10 and layers × 3 for `harvest` (GPT-2 small's shape; 2 layers, and 6), from the first batch's
end to the last seal; activations × 10 for `train` on such a store (a baseline of 768 → 3072), its steps and logs, from
the start, and once the share of active features has settled; and four runs (of four seeds) in one command.
Single steps of a baseline on made-up inputs, the share of active features kept: layers × 3 and features × 4 (12 288).
In turn, several times. "over linear" is the ratio of the costs over that of the work: 1 is linear, less is cheaper.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.shared.contest import compete
from benchmarks.shared.language_model import TOKENS, harvested, make_model, make_tokens
from benchmarks.shared.measure import report

STEPS = Path(__file__).resolve().parents[1] / "train" / "steps.py"
SHARE = 50 / 12288  # of active features


def row(what: str, factor: int, small: list[float], large: list[float]) -> dict[str, Any]:
    ratio = median(large) / median(small)
    return {"what": what, "work": f"× {factor}", "seconds, small": median(small), "seconds, large": median(large),
            "cost": f"× {ratio:.2f}", "over linear": ratio / factor}  # fmt: skip


def harvesting(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of harvests; the last one, of the most tokens, stays."""
    few, many = options.batches, 10 * options.batches
    cases = {"small": (2, few), "layers": (6, few), "tokens": (2, many)}  # layers and batches
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for n_layers in (2, 6):
        make_model(folder / str(n_layers), n_layers)
    make_tokens(folder / "tokens.jsonl", (many + 1) * TOKENS)
    for _ in range(options.repeats):
        for case, (n_layers, batches) in cases.items():
            n_tokens = (batches + 1) * TOKENS  # the first batch is not counted
            speed = harvested(folder, n_tokens, options.threads, model=str(n_layers))
            seconds[case].append(batches * TOKENS / speed["tokens_per_second"])
    return [row("harvest: tokens", 10, seconds["small"], seconds["tokens"]),
            row("harvest: layers", 3, seconds["small"], seconds["layers"])]  # fmt: skip


def training(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds that runs on the harvested store say they took."""
    few, many, settled = options.steps, 10 * options.steps, options.settled
    whole: dict[int, list[float]] = {few: [], many: []}
    after: dict[int, list[float]] = {few: [], many: []}
    together: list[float] = []
    for _ in range(options.repeats):
        for n_steps, timings in whole.items():
            timings.append(sum(run_seconds(folder, n_steps, options).values()))
        together.append(sum(run_seconds(folder, many, options, seeds="0,1,2,3").values()))
        seconds = run_seconds(folder, settled + many, options)
        for n_steps, timings in after.items():
            timings.append(sum(s for step, s in seconds.items() if settled < step <= settled + n_steps))
    return [row("training: activations", 10, whole[few], whole[many]),
            row(f"training: activations, after {settled} steps", 10, after[few], after[many]),
            row("training: runs on one stream", 4, whole[many], together)]  # fmt: skip


def run_seconds(folder: Path, n_steps: int, options: argparse.Namespace, seeds: str = "0") -> dict[int, float]:
    """Of runs of so many steps on one stream, the seconds of each five, by the last one's number."""
    out = folder / "runs"
    subprocess.run(
        [sys.executable, "-m", "train", "--store", str(folder / "out.zarr"), "--layers", "0", "--out", str(out),
         "--variant", "baseline", "--l1", "1e-3", "--expansion", "4", "--batch-size", str(options.batch_size),
         "--activations", str(n_steps * options.batch_size), "--validate-every", str(n_steps * options.batch_size),
         "--log-every", str(5 * options.batch_size),
         "--seed", seeds, "--snapshots", "0", "--device", "cpu", "--json"],
        check=True, stdout=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    lines = [json.loads(line) for line in (out / "timing.jsonl").read_text(encoding="utf-8").splitlines()]
    shutil.rmtree(out)
    return {line["step"]: line["seconds"] for line in lines}


def stepping(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of steps."""

    def command(name: str, d_sae: int) -> list[str]:
        shape = {"--d-model": 768, "--d-sae": d_sae, "--batch-size": options.batch_size, "--l0": SHARE * d_sae}
        return [
            sys.executable,
            str(STEPS),
            name,
            *(str(x) for pair in shape.items() for x in pair),
        ]

    commands = {"small": command("ours", 3072), "layers": command("ours, three layers", 3072),
                "features": command("ours", 12288)}  # fmt: skip
    results = compete(commands, rounds=options.repeats, steps=10)
    times = {name: result["seconds"] for name, result in results.items()}
    return [row("training: layers", 3, times["small"], times["layers"]),
            row("training: features", 4, times["small"], times["features"])]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batches", type=int, default=20, help="of 16 contexts of 256 tokens that a small harvest has")
    parser.add_argument("--steps", type=int, default=20, help="of a small run, a multiple of 5")
    parser.add_argument("--settled", type=int, default=400, help="steps after which a run is watched again; of 5, too")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*harvesting(folder, options), *training(folder, options), *stepping(options)]
    sizes = {"batch": options.batch_size, "batches": options.batches, "steps": options.steps}
    report({"benchmark": "scaling", **sizes, "repeats": options.repeats}, rows, options.out)


if __name__ == "__main__":
    main()
