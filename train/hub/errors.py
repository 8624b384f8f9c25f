"""The errors of the hub and of its libraries, as sentences that name the remedy and never a token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import get_token
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from data.errors import InputError

LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


@contextmanager
def reading(
    name: str, repo: str, revision: str | None, only_cache: tuple[str, str] | None, *, revision_sign: str = "@"
) -> Iterator[None]:
    """Raise InputError in place of an error of reading a repository.

    name: what is read, as the user wrote it. If it is an hf:// address, it cannot be a local folder.
    only_cache: why only the cache can be used, and the remedy (`why_only_cache`); None if the hub can be used.
    revision_sign: the text before a revision, in a message.
    """
    local = not name.startswith("hf://")
    try:
        yield
    except InputError:
        raise
    except LocalEntryNotFoundError as error:
        if only_cache is None:
            raise InputError(f"{name}: its files cannot be fetched ({reason(error)}); try again") from error
        raise InputError(not_cached(name, *only_cache)) from error
    except GatedRepoError as error:
        raise InputError(f"{name}: {repo} is gated; accept its terms on the hub, and {LOG_IN}") from error
    except RepositoryNotFoundError as error:
        access = "that the token in use may read" if get_token() else "that can be read without a token"
        missing = f"is not a local folder, and {repo} is not a repository" if local else f"{repo} is not a repository"
        raise InputError(
            f"{name}: {missing} on the hub {access}; correct the name, or for a private repository {LOG_IN}"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(
            f"{revision_sign}{revision}: {repo} has no such branch, tag or commit; give another"
        ) from error
    except Exception as error:  # the libraries of HTTP have their own exceptions
        raise InputError(f"{name}: cannot be fetched from the hub ({reason(error)})") from error


def not_cached(name: str, why: str, remedy: str) -> str:
    """Return the sentence that says that a name can neither be fetched nor read from the cache."""
    local = "" if name.startswith("hf://") else "is not a local folder, "
    return f"{name}: {local}{why}, and it is not in the hub's cache; {remedy}, or give a local folder"


def reason(error: Exception) -> str:
    """Return the first line of an error's message, without the token."""
    text, token = str(error).strip(), get_token()
    first = (text.replace(token, "…") if token else text).split("\n", maxsplit=1)[0][:200]
    return re.sub(r"hf_\w+", "…", first) or type(error).__name__
