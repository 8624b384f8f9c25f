"""SAEs by name on the Hugging Face hub: fetch the files that an import reads, and no others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from data.command.libraries.hub import why_only_cache
from data.errors import InputError
from train.hub.errors import not_cached, reading
from train.interchange.formats.registry import BESIDE, files_to_read, folders_with_saes

SHOWN_FOLDERS = 4  # in a message


@dataclass(frozen=True)
class HubFiles:
    """The file or folder `path` in the hub's cache, of the repository's commit `revision`."""

    path: Path
    revision: str


def fetch(name: str, revision: str | None = None) -> HubFiles:
    """Fetch what an import reads of `user/repo` or `user/repo/folder` into the hub's cache.

    revision: branch, tag or commit. Without a connection, the cache's files are used. Raises InputError.
    """
    user, repository, *inside = name.split("/")
    repo, path = f"{user}/{repository}", "/".join(inside)
    only_cache = why_only_cache()
    with reading(name, repo, revision, only_cache, revision_sign="--revision "):
        if only_cache is not None:
            root = Path(snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=[]))
        else:
            root = _download(repo, path, revision, name)
    if only_cache is not None and not (root / path).exists():
        raise InputError(not_cached(name, *only_cache))
    return HubFiles(root / path, root.name)


def _download(repo: str, path: str, revision: str | None, name: str) -> Path:
    """Download the files that are read at a path of a repository; return the repository's folder in the cache."""
    names = [file.rfilename for file in HfApi().model_info(repo, revision=revision).siblings or ()]
    wanted = files_to_read(names, path)
    if not wanted:
        folders = [folder for folder in folders_with_saes(names) if folder.startswith(f"{path}/" if path else "")]
        examples = ", ".join(folders[:SHOWN_FOLDERS]) + ", …" * (len(folders) > SHOWN_FOLDERS)
        raise InputError(
            f"{name}: has no SAE of a known format on the hub; "
            + (f"name one of its folders that have one: {examples}" if folders else f"it lacks {', '.join(BESIDE)}")
        )
    files = [Path(hf_hub_download(repo, file, revision=revision)) for file in wanted]
    return files[0].parents[wanted[0].count("/")]
