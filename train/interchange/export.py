"""Write the SAEs of a run in another library's format, each into a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from data.command.layer_choice import Layers
from data.command.option_types import suggestion
from data.errors import InputError
from data.system.new_folder import check_new, new_folder
from train.interchange.files import Files
from train.interchange.formats.registry import EXPORTS
from train.interchange.origin import origin_of
from train.interchange.portable import portable
from train.output.load import hooks_of, load_sae
from train.sae import SAE


@dataclass(frozen=True)
class Exported:
    """The folders of the exported SAEs; unfinished: a sentence if their training had not ended, else None."""

    folders: tuple[Path, ...]
    unfinished: str | None


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
    folder, files = Path(out), converted(sae, to)
    with new_folder(folder) as partial:
        _write(files, partial)
    return folder


def export_run(
    run: str | PathLike[str], *, to: str, out: str | PathLike[str], layers: Layers | None = None
) -> Exported:
    """Write the SAEs of a run, or of one checkpoint or snapshot, each into OUT/HOOK.

    OUT must not exist yet; it does once all of them are written. Raises InputError as `export_sae` does, and
    DamagedRunError.
    """
    folder, hooks = Path(out), hooks_of(Path(run))
    if layers is not None:
        hooks = layers.choose_hooks(hooks, "the run")
    check_new(folder)
    sae = load_sae(Path(run), hooks[0])
    unfinished, files = origin_of(sae).unfinished(), converted(sae, to)  # what is refused makes no folder
    with new_folder(folder) as partial:
        for hook in hooks:
            _write(files if hook == hooks[0] else converted(load_sae(Path(run), hook), to), partial / hook)
    return Exported(tuple(folder / hook for hook in hooks), unfinished)


def converted(sae: SAE, to: str) -> Files:
    """Return the files of an SAE in a format. Raises InputError."""
    if to not in EXPORTS:
        formats = ", ".join(EXPORTS)
        raise InputError(f"--to {to[:80]}: is not a format; {suggestion(to, EXPORTS, f'give {formats}')}")
    return EXPORTS[to](portable(sae), origin_of(sae))


def _write(files: Files, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
