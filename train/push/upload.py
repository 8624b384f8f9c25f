"""Write files to a repository of the Hugging Face hub, in one commit."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils.tqdm import disable_progress_bars

from data.command.libraries.hub import why_only_cache
from data.errors import InputError
from train.hub.errors import LOG_IN, reason

MAIN = "main"
PUSHED = re.compile(r"\.gitattributes|README\.md|(.+/)?(run\.json|metrics\.jsonl|final/(sae\.safetensors|state\.json))")
SHOWN_FILES = 3  # in a message


@dataclass(frozen=True)
class Commit:
    """A commit of a repository. `changed`: whether it was made now, because files differed."""

    revision: str
    url: str
    changed: bool


def upload(files: Mapping[str, bytes | Path], repo: str, *, private: bool, branch: str, message: str) -> Commit:
    """Make the files those of a branch, in one commit; create the repository and the branch if they are missing.

    Files of an earlier push that are not among `files` are removed from the branch; earlier commits still have them.
    Raises InputError, also if the repository has files that no push wrote.
    """
    only_cache = why_only_cache()
    if only_cache is not None:
        raise InputError(f"--to {repo}: {only_cache[0]}; {only_cache[1]}")
    if get_token() is None:
        raise InputError(f"--to {repo}: a push needs a token that may write; {LOG_IN}")
    if not sys.stderr.isatty():
        disable_progress_bars()
    api = HfApi()
    with writing(repo):
        api.create_repo(repo, private=private or None, exist_ok=True)
        if branch != MAIN:
            api.create_branch(repo, branch=branch, exist_ok=True)
        present = api.model_info(repo, revision=branch)
        names = [file.rfilename for file in present.siblings or ()]
        if private and not present.private:
            raise InputError(f"--private: {repo} exists and is public; make it private on the hub, or leave it out")
        others = [name for name in names if not PUSHED.fullmatch(name)]
        if others:
            shown = ", ".join(others[:SHOWN_FILES]) + ", …" * (len(others) > SHOWN_FILES)
            raise InputError(f"--to {repo}: has files that no push wrote ({shown}); give another repository")
        stale = [name for name in names if name not in files and name != ".gitattributes"]
        commit = api.create_commit(
            repo,
            [
                *(CommitOperationAdd(name, content) for name, content in files.items()),
                *(CommitOperationDelete(name) for name in stale),
            ],
            commit_message=message, revision=branch, parent_commit=present.sha,
        )  # fmt: skip
    return Commit(commit.oid, str(commit.commit_url), commit.oid != present.sha)


@contextmanager
def writing(repo: str) -> Iterator[None]:
    """Raise InputError in place of an error of writing to a repository."""
    try:
        yield
    except InputError:
        raise
    except HFValidationError as error:
        raise InputError(f"--to {repo}: is not a valid repository name ({reason(error)})") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise InputError(f"--to {repo}: the hub does not know the token in use; {LOG_IN}") from error
        if status in (403, 404):
            raise InputError(
                f"--to {repo}: the token in use may not write there; give a repository of yours, or {LOG_IN} with a "
                "token that may write"
            ) from error
        if status in (409, 412):
            raise InputError(f"--to {repo}: was changed during the push; push again") from error
        raise InputError(f"--to {repo}: the hub refuses the push ({reason(error)})") from error
    except ValueError as error:  # the hub's check of the metadata
        why = reason(ValueError(" ".join(str(error).split())))
        raise InputError(f"--to {repo}: the hub refuses the model card ({why}); give another --licence") from error
    except Exception as error:  # the libraries of HTTP have their own exceptions
        raise InputError(f"--to {repo}: cannot be written ({reason(error)}); try again") from error
