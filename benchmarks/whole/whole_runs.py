"""The post's experiment by `train` as a whole command, on a part of its activations, and scaled.

    python benchmarks/whole/whole_runs.py --store data/gpt2.zarr [--activations 2e6] [--device cuda]

Two baselines and two NSAEs in every layer of a store, 16 d_model features each, in batches of 4096; the seconds
are those of `train`'s timing.jsonl. A step's are told for each quarter of the run: the first has what is measured and
compiled at the start, and the last is what the hours are scaled by. `waiting` is the share of the time for which no
batch was there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.shared.measure import report, seconds

ROOT = Path(__file__).resolve().parents[2]
BATCH, QUARTERS = 4096, 4


def trained(
    store: Path, activations: int, *, l1: str, expansion: float, batch_size: int, device: str
) -> dict[str, Any]:
    """Train on a store; return the seconds of the command, the steps, the last records, and `rows`, the quarters."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "runs"
        command = [
            sys.executable, "-m", "train", "--store", str(store.resolve()), "--out", str(out),
            "--variant", "baseline,nsae", "--l1", l1, "--expansion", str(expansion),
            "--batch-size", str(batch_size), "--activations", str(activations), "--snapshots", "0",
            "--validate-every", str(activations), "--log-every", str(activations // (4 * QUARTERS)), "--device", device,
        ]  # fmt: skip
        whole = seconds(lambda: subprocess.run(command, check=True, stdout=sys.stderr, cwd=ROOT))
        lines = [json.loads(line) for line in (out / "timing.jsonl").read_text(encoding="utf-8").splitlines()]
        last = [
            json.loads(metrics.read_text(encoding="utf-8").splitlines()[-1])
            for metrics in sorted(out.glob("*/metrics.jsonl"))
        ]
    rows = quarters(lines)
    return {"steps": lines[-1]["step"], "whole command, s": whole, "last records": last, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--activations", type=float, default=2e6, help="of each run")
    parser.add_argument("--scaled-to", type=float, default=100e6)
    parser.add_argument("--l1", default="1e-4,1e-3")
    parser.add_argument("--expansion", type=float, default=16)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    result = trained(
        options.store, int(options.activations), l1=options.l1, expansion=options.expansion, batch_size=BATCH,
        device=options.device,
    )  # fmt: skip
    rows = result.pop("rows")
    scaled = options.scaled_to / BATCH * rows[-1]["ms a step"] / 1000 / 3600
    about = {
        "benchmark": "whole_runs", "activations": options.activations, **result,
        "hours, scaled": scaled, "scaled to": options.scaled_to,
    }  # fmt: skip
    print(
        f"{result['steps']} steps, whole command {result['whole command, s']:.1f} s; {options.scaled_to:.3g} "
        f"activations: {scaled:.2f} hours"
    )
    report(about, rows, options.out)


def quarters(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A step's milliseconds and the share of waiting, of each quarter of what timing.jsonl tells."""
    rows, before = [], 0
    for quarter in range(QUARTERS):
        part = lines[quarter * len(lines) // QUARTERS : (quarter + 1) * len(lines) // QUARTERS]
        spent, steps = sum(line["seconds"] for line in part), part[-1]["step"] - before
        waited = sum(line["data_wait_seconds"] for line in part)
        rows.append({"up to step": part[-1]["step"], "ms a step": 1000 * spent / steps, "waiting": waited / spent})
        before = part[-1]["step"]
    return rows


if __name__ == "__main__":
    main()
