"""The bench: a folder with a tiny language model, its tokens and a store, on which the trials run the commands.

A case is a command with its options. Its reference has the files that the undisturbed command leaves.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.helpers.processes.zygote import Ended, Fault, Running, Zygote

# Small shards give a small store several windows, and rows are synced often. All else is as in a user's command.
PATCHES = {"data.store.layout.MAX_ROWS_PER_SHARD": 128, "harvest.pipeline.pipeline.SYNC_SECONDS": 0.02}
CLOCK_FILES = {"timing.jsonl"}
LOCK = ".lock"  # a killed process leaves its lock file, which has no effect

# Resampling, noise, validation, snapshots and several epochs all happen within these steps; checkpoints come often.
TRAINING = (
    "--variant", "baseline,nsae", "--l1", "0.01", "--expansion", "2", "--batch-size", "128", "--activations", "2k",
    "--validate-every", "700", "--validate-rows", "500", "--log-every", "128", "--window", "500",
    "--resample-interval", "700", "--resample-window", "300", "--resample-threshold", "0.02", "--resample-rows", "128",
    "--snapshots", "3", "--checkpoint-minutes", "1e-6", "--device", "cpu",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A command that writes the folder `out`. `over`: options of the earlier command whose output it replaces."""

    name: str
    module: str
    out: str
    more: tuple[str, ...] = ()
    over: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Reference:
    """The files that the undisturbed command leaves, its calls that change files, and the seconds it takes."""

    files: dict[str, bytes]
    calls: list[tuple[str, str]]
    seconds: float


CASES = {
    case.name: case
    for case in (
        Case("harvest", "harvest", "s.zarr"),
        Case("harvest int8", "harvest", "s.zarr", ("--dtype", "int8", "--compress", "zstd")),
        Case("harvest --overwrite", "harvest", "s.zarr", ("--overwrite",), over=("--dtype", "float32")),
        Case("train", "train", "runs"),
        Case("train --overwrite", "train", "runs", ("--overwrite",), over=("--seed", "5")),
    )
}


class Bench:
    """The folder of the model, the tokens and a store; runs cases and keeps their references."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.folder, self._zygote = folder, zygote
        self._references: dict[str, Reference] = {}
        self.lock = threading.RLock()  # several threads run trials on one bench
        make_model(folder / "model")
        make_tokens(folder / "tokens.jsonl")
        zygote.warm(folder / "model")
        (folder / "old").mkdir()
        with _space(folder) as space:
            self._keep_reference(zygote, CASES["harvest"], space)
            shutil.move(space / CASES["harvest"].out, folder / "store.zarr")

    def _keep_reference(self, zygote: Zygote, case: Case, space: Path) -> None:
        began = time.monotonic()
        ended = self.run(zygote, case, space)
        assert ended.code == 0, ended.stderr
        self._references[case.name] = Reference(files_of(space), ended.calls, time.monotonic() - began)

    def arguments(self, case: Case) -> list[str]:
        common = ["--out", case.out, *case.more]
        if case.module == "train":
            return ["--store", str(self.folder / "store.zarr"), *TRAINING, *common]
        sizes = ["--tokens", "3k", "--context-size", "32", "--batch-size", "8", "--device", "cpu"]
        return [
            "--model",
            str(self.folder / "model"),
            "--dataset",
            str(self.folder / "tokens.jsonl"),
            *sizes,
            *common,
        ]

    def start(self, zygote: Zygote, case: Case, space: Path, fault: Fault | None = None) -> Running:
        return zygote.start(case.module, *self.arguments(case), folder=space, fault=fault, patches=PATCHES)

    def run(self, zygote: Zygote, case: Case, space: Path, fault: Fault | None = None) -> Ended:
        return self.start(zygote, case, space, fault).wait()

    def expected(self, zygote: Zygote, case: Case) -> dict[str, bytes]:
        """Return the files that the undisturbed command leaves."""
        return self._reference(zygote, case).files

    def calls(self, zygote: Zygote, case: Case) -> list[tuple[str, str]]:
        """Return the undisturbed command's calls that change files."""
        return self._reference(zygote, case).calls

    def seconds(self, case: Case) -> float:
        """Return the seconds that the undisturbed command took."""
        return self._references[case.name].seconds

    def _reference(self, zygote: Zygote, case: Case) -> Reference:
        with self.lock:
            if case.name not in self._references:
                with self.space(case) as space:
                    self._keep_reference(zygote, case, space)
        return self._references[case.name]

    @contextmanager
    def space(self, case: Case) -> Iterator[Path]:
        """Make a temporary folder in which the case can begin."""
        with _space(self.folder) as space:
            if case.over is not None:
                shutil.copytree(self._old(case, case.over), space / case.out)
            yield space

    def _old(self, case: Case, options: tuple[str, ...]) -> Path:
        """Return the output of the case's earlier run, with these options; it is made once."""
        old = self.folder / "old" / case.name
        with self.lock:
            if not old.exists():
                with _space(self.folder) as space:
                    self.run(self._zygote, Case(case.name, case.module, case.out, options), space)
                    shutil.move(space / case.out, old)
        return old


@contextmanager
def _space(folder: Path) -> Iterator[Path]:
    with TemporaryDirectory(dir=folder) as name:
        yield Path(name).resolve()


def files_of(folder: Path) -> dict[str, bytes]:
    files = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    kept = [path for path in files if path.name not in CLOCK_FILES and path.suffix != LOCK]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def differences(files: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Return a line for each file that is missing, left over or different."""
    names = sorted(files.keys() | expected.keys())
    return [f"{name} differs from the undisturbed one" for name in names if files.get(name) != expected.get(name)]


def make_model(path: Path) -> None:
    """Save a GPT-2 with 2 layers, width 16, 64 tokens and random weights, without a tokenizer."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 32, "vocab_size": 64}
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(path)


def make_tokens(path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [{"input_ids": rng.integers(1, 64, rng.integers(8, 40)).tolist()} for _ in range(300)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
