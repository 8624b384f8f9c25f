"""What the benchmarks of harvesting share: a model of GPT-2 small's shape, tokens, and watched child processes."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

BATCH, CONTEXT = 16, 256


def make_model(path: Path, layers: int) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(n_layer=layers)).save_pretrained(path)


def make_tokens(path: Path, batches: int) -> np.ndarray:
    tokens = np.random.default_rng(0).integers(0, 50257, (batches * BATCH + 2, CONTEXT))
    with open(path, "w") as file:
        for row in tokens.tolist():
            file.write(json.dumps({"input_ids": row}) + "\n")
    return tokens


def child(command: list[str], threads: int) -> dict[str, float]:
    """Run a child process; the speed that its JSON tells, and its peak RssAnon in MiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as elsewhere:  # so that `harvest` is the package, not this file
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=elsewhere)
        return watched(process)


def watched(process: subprocess.Popen[str]) -> dict[str, float]:
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max(peak, *(int(x.split()[1]) for x in status.splitlines() if x.startswith("RssAnon")))
            except (OSError, TypeError):
                pass
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    assert process.returncode == 0
    return {"tokens_per_second": json.loads(output)["tokens_per_second"], "rss_anon_mib": peak / 1024}
