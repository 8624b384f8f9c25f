"""The parts that the benchmarks share: the machine's description and limits, medians, and a table.

Times on shared machines drift, so every script alternates the things it compares, and reports medians and ratios of
them, or of what one turn measured.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT_SIDE, LIMIT_BYTES, LIMIT_REPEATS = 2048, 256 * 2**20, 5
GPU_SIDE, GPU_BYTES, GPU_REPEATS = 8192, 2 * 2**30, 20


def machine() -> dict[str, Any]:
    import torch

    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }  # fmt: skip


def limits() -> dict[str, float]:
    """Measure the limits of the machine.

    They are those of a matrix product in float32, a copy (a byte read and written counts once), and a write that is
    synced, in the folder for temporary files.
    """
    import torch

    a, b, product = (torch.randn(LIMIT_SIDE, LIMIT_SIDE) for _ in range(3))
    source, target = torch.ones(LIMIT_BYTES, dtype=torch.uint8), torch.zeros(LIMIT_BYTES, dtype=torch.uint8)

    def write() -> None:
        with tempfile.TemporaryFile() as file:
            file.write(source.numpy().data)
            file.flush()
            os.fsync(file.fileno())

    def rate(amount: float, work: Callable[[], object]) -> float:
        return amount / 1e9 / statistics.median([seconds(work) for _ in range(LIMIT_REPEATS)])

    on_gpu = gpu_limits() if torch.cuda.is_available() else {}
    return {
        **on_gpu,
        "matmul, GFLOP/s": rate(2 * LIMIT_SIDE**3, lambda: torch.mm(a, b, out=product)),
        "memcpy, GB/s": rate(LIMIT_BYTES, lambda: target.copy_(source)),
        "disk, write and fsync, GB/s": rate(LIMIT_BYTES, write),
    }


def gpu_limits() -> dict[str, float]:
    """Measure the limits of the GPU.

    They are those of a product in bfloat16 on random data, of a copy (a byte read and written counts once), and of a
    copy from pinned memory of the host.
    """
    import torch

    a, b = (torch.randn(GPU_SIDE, GPU_SIDE, device="cuda").to(torch.bfloat16) for _ in range(2))
    source, target = (torch.empty(GPU_BYTES, dtype=torch.uint8, device="cuda") for _ in range(2))
    host = torch.ones(LIMIT_BYTES, dtype=torch.uint8, pin_memory=True)

    def rate(amount: float, work: Callable[[], object]) -> float:
        def repeated() -> None:
            for _ in range(GPU_REPEATS):
                work()
            torch.cuda.synchronize()

        repeated()
        return GPU_REPEATS * amount / 1e9 / seconds(repeated)

    return {
        "GPU, bfloat16 matmul, TFLOP/s": rate(2 * GPU_SIDE**3, lambda: torch.mm(a, b)) / 1000,
        "GPU, copy, GB/s": rate(GPU_BYTES, lambda: target.copy_(source)),
        "GPU, copy from the host, GB/s": rate(LIMIT_BYTES, lambda: target[:LIMIT_BYTES].copy_(host, non_blocking=True)),
    }


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of one shape as Markdown."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(result: dict[str, Any], rows: list[dict[str, Any]], out: Path | None) -> None:
    print(table(rows))
    machine_limits = limits()
    print("\nthe machine's limits: " + ", ".join(f"{name} {value:.3g}" for name, value in machine_limits.items()))
    text = json.dumps({"machine": {**machine(), "limits": machine_limits}, **result, "rows": rows}, indent=2)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
