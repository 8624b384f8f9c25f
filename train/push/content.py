"""The files of finished runs that are pushed: settings, measures and final weights, without optimizer state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data.errors import InputError
from train.output.files.checked import check_extent, checked_content
from train.output.run_folder import SAE_FILE, STATE_JSON, RunFolder, read_info
from train.output.settings import RunSettings, read_run_settings

LOCAL = re.compile(r"(file:)?(/|~|\.\.?/|[A-Za-z]:\\|\\\\)", re.ASCII)  # how a local path begins


@dataclass(frozen=True)
class FinishedRun:
    """A finished run. `name`: its folder in the repository; "" is the top."""

    name: str
    folder: RunFolder
    settings: RunSettings


def finished_runs(path: Path) -> tuple[list[FinishedRun], list[str]]:
    """Return the run in a folder, or the runs of the experiment in it, and the names of its diverged runs.

    Raises InputError if there is none, or if one is unfinished.
    """
    single = RunFolder(path).settings.is_file()
    settings_files = [path / "run.json"] if single else sorted([*path.glob("*/run.json"), *path.glob("*/*/run.json")])
    folders = [RunFolder(file.parent) for file in settings_files]
    diverged = [folder for folder in folders if folder.failure.exists()]
    whole = [folder for folder in folders if folder not in diverged]
    unfinished = [folder for folder in whole if not folder.final.is_dir()]
    if not folders:
        raise InputError(f"{path}: is neither a run nor an experiment; give a folder, runs/NAME/RUN or runs/NAME")
    if not whole:
        raise InputError(f"{path}: its training diverged, so there are no final weights; train again")
    if unfinished:
        remedy = "first continue its training with the same command" + ("" if single else ", or push the others singly")
        raise InputError(f"{unfinished[0].path}: is unfinished; {remedy}")
    runs = [
        FinishedRun("" if single else folder.path.relative_to(path).as_posix(), folder, read_run_settings(folder))
        for folder in whole
    ]
    return runs, [folder.path.name for folder in diverged]


def files_of(run: FinishedRun) -> dict[str, bytes | Path]:
    """Return the files of a run by their path in the repository: their content, or the file that has it.

    Raises DamagedRunError if a file differs from its checksum.
    """
    final = run.folder.final
    info = read_info(final)
    weights = info.files[SAE_FILE]
    check_extent(final / SAE_FILE, weights, whole=True)
    pushed = replace(info, counted_rows={}, files={SAE_FILE: weights})  # the counts are in the optimizer's state
    settings = replace(run.settings, provenance=without_local_paths(run.settings.provenance))
    files: dict[str, bytes | Path] = {
        "run.json": checked_content(settings.to_json()),
        f"final/{STATE_JSON}": checked_content(asdict(pushed)),
        f"final/{SAE_FILE}": final / SAE_FILE,
    }
    if info.metrics is not None:
        check_extent(run.folder.metrics, info.metrics, whole=False)
        files["metrics.jsonl"] = run.folder.metrics.read_bytes()[: info.metrics.bytes]
    prefix = f"{run.name}/" if run.name else ""
    return {prefix + name: content for name, content in files.items()}


def without_local_paths(value: Any) -> Any:
    """Return a JSON value in which texts that are local paths are replaced by their last part."""
    if isinstance(value, Mapping):
        return {name: without_local_paths(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_local_paths(entry) for entry in value]
    if isinstance(value, str) and LOCAL.match(value):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value
