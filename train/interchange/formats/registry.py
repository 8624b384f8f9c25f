"""The formats by name. A new one is a file beside this one, and an entry in EXPORTS, READERS, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from data.errors import InputError
from data.system.new_folder import PARTIAL
from train.interchange.files import Files
from train.interchange.foreign import ForeignSAE
from train.interchange.formats.author import read_author
from train.interchange.formats.dictionary_learning import dictionary_learning_files, read_dictionary_learning
from train.interchange.formats.gemma_scope import read_gemma_scope
from train.interchange.formats.llama_scope import read_llama_scope
from train.interchange.formats.plain import plain_files, read_plain, saebench_files
from train.interchange.formats.saelens import read_saelens, saelens_files
from train.interchange.formats.sparsify import read_sparsify, sparsify_files
from train.interchange.origin import Origin
from train.interchange.portable import PortableSAE

EXPORTS: dict[str, Callable[[PortableSAE, Origin], Files]] = {
    "saelens": saelens_files,
    "dictionary-learning": dictionary_learning_files,
    "sparsify": sparsify_files,
    "saebench": saebench_files,
    "safetensors": plain_files,
}
# A file that only this format has in its folder → what reads the folder.
READERS: dict[str, Callable[[Path], ForeignSAE]] = {
    "sae_weights.safetensors": read_saelens,
    "ae.pt": read_dictionary_learning,
    "sae.json": read_plain,  # before sparsify, whose weights have the same name
    "sae.safetensors": read_sparsify,
    "params.npz": read_gemma_scope,
    "params.safetensors": read_gemma_scope,
    "hyperparams.json": read_llama_scope,
}
# The same file → the other file that the reader reads.
BESIDE = {
    "sae_weights.safetensors": "cfg.json",
    "ae.pt": "config.json",
    "sae.json": "sae.safetensors",
    "sae.safetensors": "cfg.json",
    "params.npz": "config.json",
    "params.safetensors": "config.json",
    "hyperparams.json": "checkpoints/final.safetensors",
}


def read_foreign(path: Path) -> list[ForeignSAE]:
    """Return the SAEs of a folder, of the folders in it, or of a file, by the files that they have.

    Raises InputError if it is none of the formats, or cannot be read.
    """
    if path.is_file():
        reader = READERS.get(path.name)
        return [reader(path.parent)] if reader is not None else read_author(path)
    folders = [folder for folder in (path, *sorted(path.glob("*"))) if _mark(folder)]
    if folders[:1] == [path]:
        folders = [path]
    if not folders:
        raise InputError(
            f"{path}: holds no SAE of a known format; give a folder with {', '.join(READERS)}, or a checkpoint file of "
            "the post's author"
        )
    return [READERS[_mark(folder)](folder) for folder in folders]


def _mark(folder: Path) -> str:
    """Return the file that tells the format of a folder; "" if there is none, or if an export has not ended."""
    if folder.name.endswith(PARTIAL):
        return ""
    return next((name for name in READERS if (folder / name).is_file()), "")


def files_to_read(names: Iterable[str], path: str) -> list[str]:
    """Return those of a repository's files that `read_foreign` reads at a path in it ("": its top).

    names: of all files, with `/` between folders. Empty if there is no SAE of a known format.
    """
    known = set(names)
    folder, _, name = path.rpartition("/")
    if path in known:
        folders = [folder] if name in READERS else None
    else:
        marked = folders_with_saes(known)
        folders = [path] if path in marked else [other for other in marked if other.rpartition("/")[0] == path != other]
    if folders is None:
        return [path]
    read = []
    for chosen in folders:
        prefix = f"{chosen}/" if chosen else ""
        mark = next(mark for mark in READERS if prefix + mark in known)
        read += [prefix + file for file in (mark, BESIDE[mark]) if prefix + file in known]
    return read


def folders_with_saes(names: Iterable[str]) -> list[str]:
    """Return the folders that have a file of a known format, sorted; names: as `files_to_read`."""
    split = [name.rpartition("/") for name in names]
    return sorted({folder for folder, _, name in split if name in READERS})
