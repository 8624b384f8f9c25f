"""SAEs by name on the Hugging Face hub: fetch the files that an import reads, and no others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, get_token, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from data.command.hub import why_only_cache
from data.errors import InputError
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
    try:
        if only_cache is not None:
            root = Path(snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=[]))
        else:
            root = _download(repo, path, revision, name)
    except LocalEntryNotFoundError as error:
        if only_cache is None:
            raise InputError(f"{name}: its files cannot be fetched ({_reason(error)}); try again") from error
        raise InputError(_not_cached(name, *only_cache)) from error
    except GatedRepoError as error:
        raise InputError(
            f"{name}: {repo} is gated; accept its terms on the hub, and log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        access = "that the token in use may read" if get_token() else "that can be read without a token"
        raise InputError(
            f"{name}: is no local folder, and {repo} no repository on the hub {access}; correct the name, or for a "
            "private repository log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"--revision {revision}: {repo} has no such branch, tag or commit; give another") from error
    except InputError:
        raise
    except Exception as error:  # the libraries of HTTP have their own exceptions
        raise InputError(f"{name}: cannot be fetched from the hub ({_reason(error)})") from error
    if only_cache is not None and not (root / path).exists():
        raise InputError(_not_cached(name, *only_cache))
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


def _not_cached(name: str, reason: str, remedy: str) -> str:
    return f"{name}: is no local folder, {reason}, and it is not in the hub's cache; {remedy}, or give a local folder"


def _reason(error: Exception) -> str:
    """Return the first line of an error's message, without the token."""
    text, token = str(error).strip(), get_token()
    first = (text.replace(token, "…") if token else text).split("\n", maxsplit=1)[0][:200]
    return re.sub(r"hf_\w+", "…", first) or type(error).__name__
