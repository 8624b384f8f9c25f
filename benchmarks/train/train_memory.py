"""The memory of a training step at the post's shape, over the memory that it cannot do without.

    python benchmarks/train/train_memory.py [--out benchmarks/results/train_memory.json]

Each case is a process of its own. Measured is the peak of anonymous memory (RssAnon) during some steps, less its value
before the SAEs are made, over parameters + gradients + two Adam moments + one stack's feature activations, float32.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.shared.measure import report


def rss_anon() -> int:
    match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(match[1]) * 1024 if match else 0


def measure(variant: str, n_layers: int, d: int, expansion: int, batch: int, steps: int) -> dict[str, Any]:
    import torch

    from benchmarks.train.storeless import storeless
    from data.system.allocator import keep_large_blocks
    from train.command.grid import make_runs
    from train.loop.build import make_noise_source, make_stacks
    from train.loop.memory_needs import memory_needs
    from train.loop.memory_plan import make_plan
    from train.normalisation.statistics import InputStatistics
    from train.optim.schedule import Schedule
    from train.step.inputs import Inputs

    cpu, total = torch.device("cpu"), 10**6
    hooks = [f"blocks.{i}.hook_mlp_out" for i in range(n_layers)]
    experiment = storeless(
        make_runs((), {"variant": (variant,)}), hooks, expansion=expansion, batch_size=batch, schedule=Schedule(total),
        window=total,
    )  # fmt: skip
    torch.randn(64, 64) @ torch.randn(64, 64)  # threads and their buffers
    inputs = Inputs.of(torch.randn(n_layers, batch, d), cpu)
    before, highest, done = rss_anon(), 0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.is_set():
            highest = max(highest, rss_anon())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    plan = make_plan(experiment, d, cpu)
    stacks = make_stacks(plan, experiment, [InputStatistics(1.0)] * n_layers, cpu)
    noise = make_noise_source(plan, cpu)
    keep_large_blocks()  # as `train` does
    for step in range(steps):
        for stack in stacks:
            stack.step(inputs, stack.batch_noise(noise, step), seen=step * batch, measure=step % 2 == 0)
    done.set()
    watcher.join()
    parameters = 2 * plan.d_sae * d + plan.d_sae + d
    needed = 4 * (4 * n_layers * parameters + plan.largest_stack * batch * plan.d_sae)
    lean = 4 * ((3 * n_layers + plan.largest_stack) * parameters + plan.largest_stack * batch * plan.d_sae)
    return {
        "variant": variant, "layers": n_layers, "SAEs per stack": plan.largest_stack, "GB": (highest - before) / 1e9,
        "over all that": (highest - before) / needed, "with one stack's gradients": (highest - before) / lean,
        "planned GB": memory_needs(plan, experiment, cpu).device_bytes / 1e9,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--expansion", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cases = [(variant, layers) for variant in ("baseline", "nsae") for layers in (1, 4)]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        shape = (options.d_model, options.expansion, options.batch_size, options.steps)
        rows = [pool.apply(measure, (*case, *shape)) for case in cases]
    report({"d_model": options.d_model, "expansion": options.expansion, "batch": options.batch_size}, rows, options.out)


if __name__ == "__main__":
    main()
