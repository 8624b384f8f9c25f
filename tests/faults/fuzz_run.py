"""Give hostile files in a run's folder to its readers: they must read each, or raise an InputError that names it.

Half of the inputs have changed bytes. The other half have changed values and a checksum that fits, as someone who
knows the format could make.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from analyze.runs.recorded import as_table, last_measures
from analyze.runs.trained_run import find_runs
from analyze.runs.training_curves import training_curves
from data.errors import InputError
from data.store.chunks import crc32c
from train.experiment import Experiment, Reports, Run
from train.loss import Objective
from train.measures import TRAINING
from train.optim.schedule import Resampling, Schedule
from train.output.files.checked import checked_body
from train.output.load import load_sae
from train.output.manifests import Manifest, Manifests
from train.output.metrics_file import JsonLines
from train.output.results import run_results
from train.output.run_folder import METADATA, STATE_JSON, Checkpoint, CheckpointInfo, RunFolder, read_checkpoint
from train.output.settings import ExperimentRecord, Failure, read_experiment
from train.output.verify import verify
from train.plugins import known_plugin
from train.variants import NSAESettings

MOST_MEMORY = 1 << 30
HOOKS = ("blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out")
RUN = Run("nsae", "nsae", 1e-3, 0, "none", NSAESettings(l1=1e-3))
STRANGE: tuple[Any, ...] = (
    None, True, "", "..", "../../etc/passwd", "/etc/passwd", "a\0b", "x" * 10_000, -1, 0, 2**63, 10**40, 1e308, 0.5, [],
    {}, [[]], {"": {}}, [None] * 50, "nsae", "é\ud800",
)  # fmt: skip


def fuzz(n: int, seed: int = 0) -> int:
    """Try `n` inputs and return how many were refused.

    Raises AssertionError if an input was neither read nor refused.
    """
    rng, refused = random.Random(seed), 0
    before = _memory()
    known_plugin("none")  # reads which architectures the installed packages declare, once per process
    with TemporaryDirectory() as folder:
        whole = Path(folder).resolve() / "runs"
        make_experiment(whole)
        files = {path: path.read_bytes() for path in sorted(whole.rglob("*")) if path.is_file()}
        with _nothing_else_is_read(whole):
            for number in range(n):
                path = rng.choice(list(files))
                change = change_values if rng.random() < 0.5 else change_bytes
                changed = change(path, files[path], rng)
                for one, content in changed.items():
                    one.write_bytes(content)
                what = f"input {number} of seed {seed}, {path.relative_to(whole)}: {changed[path][:2000]!r}"
                refused += _read(whole, path.relative_to(whole).parts[0], what)
                for one in changed:
                    one.write_bytes(files[one])
    used = _memory() - before
    assert used < MOST_MEMORY, f"{used / 1e9:.2f} GB were taken"
    return refused


def make_experiment(out: Path) -> None:
    """Write a finished run, an unfinished one and a diverged one as `train` does, but with random weights."""
    experiment = Experiment(
        store="0" * 64, hooks=HOOKS, runs=(RUN,), expansion=2.0, batch_size=64, decoder_bias=True, init="scaled",
        clip=None, precision="float32", data_seed=0, objective=Objective(), schedule=Schedule(640),
        resampling=Resampling(10**6, 10**5, 0.0, 0, 64), reports=Reports(100, 100, 100, 100, 1),
    )  # fmt: skip
    settings = experiment.to_json()
    ExperimentRecord(settings, {"store": "data/s.zarr"}, {"sparse_below": 0.1}).write(out)
    about = {METADATA: json.dumps({"run": RUN.name, "variant": RUN.variant, "hooks": HOOKS, "store": "0" * 64})}
    shapes = {"W_enc": (8, 4), "W_dec": (8, 4), "b_enc": (8,), "b_dec": (4,), "input_scale": (), "sigma": ()}
    sae = {name: torch.rand(len(HOOKS), *shape) for name, shape in shapes.items()}
    for name in ("nsae", "training", "failed"):
        folder = RunFolder(out / name)
        run_settings = {key: value for key, value in settings.items() if key != "runs"}
        _write(
            folder.settings,
            {**run_settings, "run": {**asdict(RUN), "name": name}, "provenance": {"model": {"name": "x"}}},
        )
        lines = JsonLines(folder.metrics, size=0)
        for step in (5, 10):
            lines.write(
                {"step": step, "rows": 64 * step, "split": split, "hook": hook, "noise": False,
                 **dict.fromkeys(TRAINING, 0.5)}
                for split in ("train", "heldout") for hook in HOOKS
            )  # fmt: skip
        info = CheckpointInfo(10, {"fires": (10, 0)}, lines.sync())
        lines.close()
        folder.save_snapshot(5, sae, about)
        folder.save_checkpoint("000000010", Checkpoint(sae, {"exp_avg.W_enc": sae["W_enc"]}, info), about)
    RunFolder(out / "nsae").finish("000000010")
    _write(out / "failed" / "failed.json", asdict(Failure(7, HOOKS[0], "non-finite loss")))
    Manifests(out / "checkpoints").write(Manifest(10, (), ("training", "nsae")))


def change_bytes(path: Path, content: bytes, rng: random.Random) -> dict[Path, bytes]:
    """Return the content with bytes flipped, cut, repeated or inserted."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 3, 20))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at : at + rng.choice((1, 10, len(data)))]
        elif kind == 2:
            data[at:at] = data[: rng.randrange(100)]
        elif kind == 3:
            data[at:at] = rng.choice((b"[" * 50_000, b"{", b'"', b"\0" * 8, b"\xff", b"1e999", b"9" * 5000, b"NaN"))
        else:
            data[at : at + 8] = rng.randbytes(8)
    return {path: bytes(data)}


def change_values(path: Path, content: bytes, rng: random.Random) -> dict[Path, bytes]:
    """Return files with changed values, in JSON or in a safetensors header, and with checksums that fit."""
    if path.suffix == ".json":
        return {path: _sealed(_changed(json.loads(checked_body(content)), rng))}
    if path.suffix == ".jsonl":
        lines = content.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(_changed(json.loads(lines[at]), rng)).encode()
        changed = b"".join(line + b"\n" for line in lines)
    else:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        if METADATA in header.get("__metadata__", {}) and rng.random() < 0.5:
            inner = _changed(json.loads(header["__metadata__"][METADATA]), rng)
            header["__metadata__"][METADATA] = json.dumps(inner)
        else:
            header = _changed(header, rng)
        text = json.dumps(header).encode()
        changed = len(text).to_bytes(8, "little") + text + content[8 + length :]
    return {path: changed, **_fitting_checksums(path, changed)}


def _fitting_checksums(path: Path, changed: bytes) -> dict[Path, bytes]:
    """Return the state.json that covers a file, if any, with the checksum of the changed bytes."""
    run = path.parent if path.suffix == ".jsonl" else path.parent.parent
    folder = RunFolder(run).newest() if path.suffix == ".jsonl" else path.parent
    if folder is None:
        return {}
    facts = json.loads(checked_body((folder / STATE_JSON).read_bytes()))
    entry = {"bytes": len(changed), "crc32c": f"{crc32c(changed):08x}"}
    if path.suffix == ".jsonl":
        facts["metrics"] = entry
    else:
        facts["files"][path.name] = entry
    return {folder / STATE_JSON: _sealed(facts)}


def _changed(value: Any, rng: random.Random) -> Any:
    """Return a JSON value with one entry in it changed, left out or added."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        kind = rng.random()
        if kind < 0.1:
            return {name: one for name, one in value.items() if name != key}
        if kind < 0.2:
            return {**value, str(rng.choice(STRANGE)): rng.choice(STRANGE)}
        return {**value, key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], _changed(value[at], rng), *value[at + 1 :]]
    return rng.choice(STRANGE)


def _sealed(value: Any) -> bytes:
    body = json.dumps(value, indent=2).encode().removesuffix(b"\n}")
    return body + b',\n  "crc32c": "%08x"\n}\n' % crc32c(body)


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_sealed(value))


def _read(out: Path, changed: str, what: str) -> bool:
    """Read all that may depend on the file or folder `changed`; return whether anything was refused."""
    run, named = out / changed, [replace(RUN, name=changed)]
    readers: list[Callable[[], object]] = [
        lambda: as_table(last_measures(find_runs([run])[0])),
        lambda: training_curves(find_runs([run])),
        lambda: load_sae(run, layer=1),
        lambda: load_sae(run / "snapshots" / "000000005", layer=0),
        lambda: read_checkpoint(RunFolder(run).newest() or run),
        lambda: [result.describe_failure() for result in run_results(out, named)],
        lambda: list(verify(run)),
    ]
    if changed not in ("nsae", "training", "failed"):
        readers = [
            lambda: read_experiment(out),
            lambda: Manifests(out / "checkpoints").read("000000010"),
            lambda: list(verify(out)),
        ]
    refused = False
    for reader in readers:
        try:
            reader()
        except InputError as error:
            refused = True
            if str(out) not in str(error):
                raise AssertionError(f"{what}: the message names no file: {error}") from error
        except BaseException as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    return refused


@contextmanager
def _nothing_else_is_read(folder: Path) -> Iterator[None]:
    """Raise AssertionError if Python opens a file outside of a folder."""
    watching = [True]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching[0]:
            _check(folder, event, arguments)

    sys.addaudithook(watch)
    try:
        yield
    finally:
        watching[0] = False


def _check(folder: Path, event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.fsdecode(arguments[0])
        ours = path.endswith((".py", ".pyc", ".so")) or path.startswith(("/proc/", "/sys/"))
        assert ours or os.path.abspath(path).startswith(str(folder)), f"{path} was read"


def _memory() -> int:
    """Return this process's peak memory in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
