"""Write the SAEs of a run in another library's format, each into a folder of its own."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from data.command.layer_choice import Layers
from data.command.option_types import suggestion
from data.errors import InputError
from data.system.location import publish_folder
from train.interchange.files import Files
from train.interchange.formats.registry import EXPORTS
from train.interchange.origin import origin_of
from train.interchange.portable import portable
from train.output.load import hooks_of, load_sae
from train.sae import SAE


def export_sae(sae: SAE, *, to: str, out: str | PathLike[str]) -> Path:
    """Write one SAE in another library's format; return its folder.

        from train import export_sae, load_sae
        export_sae(load_sae("runs/demo/topk_k=32", layer=3), to="saelens", out="exported")

    Args:
        sae: A trained SAE, as `load_sae` returns it. Its `source` gives the metadata.
        to: "saelens", "dictionary-learning", "sparsify", "saebench" or "safetensors".
        out: The folder, which must not exist yet.

    Raises:
        InputError: The format has no counterpart of the SAE, or `out` exists.
    """
    return _write(converted(sae, to), _new_folder(Path(out)))


def export_run(
    run: str | PathLike[str], *, to: str, out: str | PathLike[str], layers: Layers | None = None
) -> list[Path]:
    """Write the SAEs of a run, or of one checkpoint or snapshot, each into OUT/HOOK; return these folders.

    All SAEs are converted before the first is written. Raises InputError as `export_sae` does, and DamagedRunError.
    """
    hooks = hooks_of(Path(run))
    if layers is not None:
        hooks = layers.choose_hooks(hooks, "the run")
    folders = [_new_folder(Path(out) / hook) for hook in hooks]
    for hook in hooks:
        converted(load_sae(Path(run), hook), to)
    return [
        _write(converted(load_sae(Path(run), hook), to), folder) for hook, folder in zip(hooks, folders, strict=True)
    ]


def unfinished(run: str | PathLike[str]) -> str | None:
    """Return a sentence if the weights in a run's folder are those of a training that had not ended, else None."""
    path = Path(run)
    return origin_of(load_sae(path, hooks_of(path)[0])).unfinished()


def converted(sae: SAE, to: str) -> Files:
    """Return the files of an SAE in a format. Raises InputError."""
    if to not in EXPORTS:
        formats = ", ".join(EXPORTS)
        raise InputError(f"--to {to[:80]}: is not a format; {suggestion(to, EXPORTS, f'give {formats}')}")
    return EXPORTS[to](portable(sae), origin_of(sae))


def _new_folder(folder: Path) -> Path:
    """Return a folder's path. Raises InputError if it exists."""
    if folder.exists():
        raise InputError(f"--out: {folder} exists; remove it, or give another --out")
    return folder


def _write(files: Files, folder: Path) -> Path:
    """Write the files of a new folder, which exists once all of them do."""
    unfinished = folder.with_name(folder.name + ".partial")
    unfinished.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (unfinished / name).write_bytes(content)
    publish_folder(unfinished, folder, last=next(iter(files)))
    return folder
