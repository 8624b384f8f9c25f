"""Whether the model hub can be asked for models and datasets."""

from __future__ import annotations

import socket
import sys
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants

CONNECT_SECONDS = 5.0  # for each address of the host


@cache
def why_offline() -> str | None:
    """Why only the hub's cache can be used, as part of a sentence; None where the hub can be asked.

    The host is tried once in a process. Where it cannot be reached, the libraries are put into their offline mode:
    they would retry each file for a minute, though it is in the cache. A proxy is left to the libraries.
    """
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    address = urlsplit(constants.ENDPOINT)
    host, port = address.hostname or "", address.port or (80 if address.scheme == "http" else 443)
    if getproxies().keys() & {"http", "https", "all"} and not proxy_bypass(host):
        return None
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        _go_offline()
        return f"{host} cannot be reached ({error.strerror or error})"
    return None


def _go_offline() -> None:
    constants.HF_HUB_OFFLINE = True
    if "datasets" in sys.modules:  # it has a copy, taken as it is imported
        sys.modules["datasets"].config.HF_HUB_OFFLINE = True
