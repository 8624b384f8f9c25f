"""The Hugging Face hub: whether it can be reached, and the Git LFS pointers in clones of its repositories."""

from __future__ import annotations

import socket
import sys
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants

from data.command.writable import try_writing

POINTER = b"version https://git-lfs.github.com/spec/"
CONNECT_SECONDS = 5.0  # for each address of the host


@cache
def why_only_cache() -> tuple[str, str] | None:
    """Return why only the hub's cache can be used, and the remedy, as parts of a sentence; None if the hub can be used.

    Tries to connect once per process, unless a proxy is set. If that fails, it puts the hub's libraries into offline
    mode: otherwise they would retry for a minute per file even for files in the cache.
    """
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set", "unset it"
    address = urlsplit(constants.ENDPOINT)
    host, port = address.hostname or "", address.port or (80 if address.scheme == "http" else 443)
    if not getproxies().keys() & {"http", "https", "all"} or proxy_bypass(host):
        try:
            socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            _go_offline()
            return f"{host} cannot be reached ({error.strerror or error})", "check the network"
    folder = Path(constants.HF_HUB_CACHE)
    try:
        try_writing(folder)
    except OSError as error:
        return f"in the hub's cache {folder}, {error.strerror}", "set HF_HOME to another folder"
    return None


def _go_offline() -> None:
    constants.HF_HUB_OFFLINE = True
    if "datasets" in sys.modules:  # it copied the setting when it was imported
        sys.modules["datasets"].config.HF_HUB_OFFLINE = True


def is_pointer(path: Path) -> bool:
    """Return whether a file is a Git LFS pointer instead of the large file. Raises OSError if it cannot be read."""
    with open(path, "rb") as opened:
        return opened.read(len(POINTER)) == POINTER
