"""Fetch the files of a run into the hub's cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from data.command.libraries.hub import why_only_cache
from data.errors import InputError
from train.hub.address import HubAddress
from train.hub.errors import not_cached, reading

SHOWN_FOLDERS = 4  # in a message


def fetch_folder(address: HubAddress, files: Sequence[str]) -> Path:
    """Fetch these files of a folder into the hub's cache; return the folder there.

    Without a connection, the cache's files are used. Raises InputError if they cannot be fetched or one is missing.
    """
    repo, revision, only_cache = address.repo, address.revision, why_only_cache()
    with reading(str(address), repo, revision, only_cache):
        if only_cache is not None:
            root = Path(snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=[]))
            if not all((root / address.path(file)).exists() for file in files):
                raise InputError(not_cached(str(address), *only_cache))
            return root / address.folder
        try:
            root = Path(hf_hub_download(repo, address.path(files[0]), revision=revision))
            root = root.parents[address.path(files[0]).count("/")]
            for file in files[1:]:
                hf_hub_download(repo, address.path(file), revision=root.name)  # of the same commit
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError as error:
            raise InputError(_without_files(address, files)) from error
    return root / address.folder


def _without_files(address: HubAddress, files: Sequence[str]) -> str:
    """Return the sentence for a folder that lacks files: it names the folders that have them."""
    names = set(HfApi().list_repo_files(address.repo, revision=address.revision))
    last = files[-1]
    folders = sorted(name.removesuffix(f"/{last}") for name in names if name.endswith(f"/{last}"))
    whole = [folder for folder in folders if all(f"{folder}/{file}" in names for file in files)]
    examples = ", ".join(whole[:SHOWN_FOLDERS]) + ", …" * (len(whole) > SHOWN_FOLDERS)
    remedy = f"name one of its folders that have one: {examples}" if whole else "`train import` reads other libraries'"
    return f"{address}: has no run that `train push` wrote; {remedy}"
