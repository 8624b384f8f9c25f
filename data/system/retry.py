"""Repeat requests to an object store after transient faults, with waits that grow from half a second to 15 seconds.

Transient are refused and broken connections, timeouts, throttling, and HTTP status 408, 429 and 5xx. The drivers repeat
some requests themselves, for about ten seconds; this covers a server that is away for longer.
"""

from __future__ import annotations

import errno
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

from data.errors import StoreError, UnreachableError
from data.system.redact import redacted

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0  # seconds
PATIENCE = 600.0  # seconds of faults, after which a request fails

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)  # answers rather than faults
ERROR_NUMBERS = (
    errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH,
    errno.ENETUNREACH, errno.ENETDOWN,
)  # fmt: skip
# Classes of the drivers' libraries (botocore, aiohttp, google-cloud, azure), which need not be installed.
NETWORK = {
    "ConnectionError", "HTTPClientError", "IncompleteRead", "IncompleteReadError", "ResponseParserError",
    "ClientConnectionError", "ClientPayloadError", "ServiceRequestError", "ServiceResponseError", "TransportError",
}  # fmt: skip
UNTRUSTED = {"SSLError", "SSLCertVerificationError", "ClientConnectorCertificateError"}
REPEATABLE = {
    "RequestTimeout", "RequestTimeoutException", "SlowDown", "Throttling", "ThrottlingException", "ThrottledException",
    "RequestThrottled", "RequestThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
    "BandwidthLimitExceeded", "OperationAborted", "InternalError",
}  # fmt: skip
TIMEOUT_OR_THROTTLED = (408, 429)

_speaking = threading.Lock()  # held by the one thread of a process that says that it waits


def retried(operation: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
    """Return the operation's result; repeat it after transient faults, for `patience` seconds. `what`: its address.

    Standard error says once per outage that the process waits. Raises UnreachableError if faults last longer,
    StoreError for any other fault of the driver, and the errors in ABSENT as they are.
    """
    deadline = time.monotonic() + patience
    with _one_speaker() as say:
        for attempt in count():
            try:
                return operation()
            except ABSENT:
                raise
            except Exception as error:
                if type(error).__module__ == "builtins" and not isinstance(error, OSError):
                    raise  # no fault of a driver
                reason, transient = _reason(error), is_transient(error)
            if not transient:
                raise StoreError(f"{what} cannot be reached ({reason}); check the address and the credentials")
            wait = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.SystemRandom().uniform(0.5, 1)
            if time.monotonic() + wait > deadline:
                raise UnreachableError(f"{what} cannot be reached ({reason}); the same command continues once it can")
            say(f"{what} cannot be reached ({reason}); trying again for up to {patience / 60:.0f} min")
            time.sleep(wait)
    raise AssertionError  # `count` has no end


def is_transient(error: BaseException) -> bool:
    """Return whether a later request may succeed where one failed with this error."""
    causes = list(_causes(error))
    names = {base.__name__ for cause in causes for base in type(cause).__mro__}
    if names & UNTRUSTED:
        return False
    for cause in causes:
        status, code = _response(cause)
        if status is not None:
            return code in REPEATABLE or status in TIMEOUT_OR_THROTTLED or status >= 500
    return bool(names & (NETWORK | {"TimeoutError"})) or any(
        isinstance(cause, OSError) and cause.errno in ERROR_NUMBERS for cause in causes
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those that it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _response(error: BaseException) -> tuple[int | None, str]:
    """Return the HTTP status (None without one) and the service's code of an error, as the drivers record them."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, str(response.get("Error", {}).get("Code"))
    for name in ("status", "status_code", "code"):
        status = getattr(error, name, None)
        if isinstance(status, int):
            return status, ""
    return None, ""


def _reason(error: BaseException) -> str:
    """Return the first line of an error's text, without credentials."""
    text = redacted(str(getattr(error, "strerror", None) or error)).strip() or type(error).__name__
    return text.splitlines()[0][:200]


@contextmanager
def _one_speaker() -> Iterator[Callable[[str], None]]:
    """Yield a function that prints its first text, unless another thread of this process has printed one and waits."""
    speaks = False

    def say(text: str) -> None:
        nonlocal speaks
        if not speaks and _speaking.acquire(blocking=False):
            speaks = True
            print(text, file=sys.stderr, flush=True)

    try:
        yield say
    finally:
        if speaks:
            _speaking.release()
