"""Repeat requests to an object store after transient faults, with waits that grow from half a second to 15 seconds.

Transient are refused and broken connections, timeouts, throttling, and HTTP status 408, 429 and 5xx. obstore repeats
requests itself, for about ten seconds; this covers a server that is away for longer. It also covers a server that
accepts connections and never answers, for which a request would wait for minutes.
"""

from __future__ import annotations

import errno
import math
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

from data.errors import Stopped, StoreError, UnreachableError
from data.system.remote.redact import redacted

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0  # seconds
PATIENCE = 600.0  # seconds of faults, after which a request fails
LEAST_ANSWER = 5.0  # seconds that a request may take, however short the patience
SILENCE = 30.0  # seconds without an answer, after which standard error says so
STOP_SECONDS = 5.0  # that a request may still take after a signal; it may be about to end
POLL_SECONDS = 0.2

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)  # answers rather than faults
ERROR_NUMBERS = (
    errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH,
    errno.ENETUNREACH, errno.ENETDOWN,
)  # fmt: skip
# Names of classes; the libraries of some (botocore, aiohttp) need not be installed.
NETWORK = {"ConnectionError", "TimeoutError", "ClientConnectionError", "ClientPayloadError"}
UNTRUSTED = {"SSLError", "SSLCertVerificationError", "ClientConnectorCertificateError"}
REPEATABLE = {
    "RequestTimeout", "RequestTimeoutException", "SlowDown", "Throttling", "ThrottlingException", "ThrottledException",
    "RequestThrottled", "RequestThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
    "BandwidthLimitExceeded", "OperationAborted", "InternalError",
}  # fmt: skip
NOT_FOUND, TIMEOUT_OR_THROTTLED = 404, (408, 429)  # HTTP status

# obstore's errors say in their text alone what has happened.
STATUS = re.compile(r"status code: (\d{3})(?:.*?<Code>(\w+)</Code>)?", re.DOTALL)
NO_ANSWER = re.compile(r"HTTP error(?!.*Certificate)", re.DOTALL)
REQUEST = re.compile(r"^.*Error performing .*? - ")
EXPLANATION = re.compile(r'<Message>(.*?)</Message>|(?:message|error): "(.*?)"|(InvalidCertificate)', re.DOTALL)

_stop = threading.Event()  # that of `stopped_by`
_speaking = threading.Lock()  # held by the one thread of a process that says that it waits


@contextmanager
def stopped_by(stop: threading.Event) -> Iterator[None]:
    """Let `stop` end the waiting for an object store inside the context, in all threads of this process."""
    global _stop
    before, _stop = _stop, stop
    try:
        yield
    finally:
        _stop = before


def retried(operation: Callable[[], T], what: str, *, patience: float = PATIENCE, many: bool = False) -> T:
    """Return the operation's result; repeat it after transient faults, for `patience` seconds. `what`: its address.

    many: the operation makes many requests, so it may take longer than `patience` without a fault.

    Standard error says once per outage that the process waits. Raises UnreachableError if faults or the silence of the
    server last longer, StoreError for any other fault of the driver, the errors in ABSENT with their explanation alone,
    and Stopped if a signal ends the waiting (`stopped_by`).
    """
    deadline = time.monotonic() + patience
    with _one_speaker() as say:

        def silent() -> None:
            if not many:
                say(f"{what} has not answered for {SILENCE:g} seconds; waiting for up to {patience / 60:.0f} min")

        for attempt in count():
            try:
                left = max(deadline - time.monotonic(), LEAST_ANSWER)
                return _answer(operation, math.inf if many else left, silent)
            except Stopped:
                raise
            except ABSENT as error:
                raise type(error)(_reason(error)) from None
            except Exception as error:
                if type(error).__module__ == "builtins" and not isinstance(error, OSError):
                    raise  # no fault of a driver
                if status_of(error) == NOT_FOUND:  # obstore's error for the list of a bucket that does not exist
                    raise FileNotFoundError(_reason(error)) from None
                reason, transient = _reason(error), is_transient(error)
            if not transient:
                raise StoreError(f"{what} cannot be reached ({reason}); check the address and the credentials")
            pause = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.SystemRandom().uniform(0.5, 1)
            if time.monotonic() + pause > deadline:
                raise UnreachableError(f"{what} cannot be reached ({reason}); the same command continues once it can")
            say(f"{what} cannot be reached ({reason}); trying again for up to {patience / 60:.0f} min")
            if _stop.wait(pause):
                raise Stopped
    raise AssertionError  # `count` has no end


def _answer(operation: Callable[[], T], seconds: float, silent: Callable[[], None]) -> T:
    """Return the operation's result, or raise its error; `silent` is called after SILENCE seconds without either.

    The operation runs in a thread of its own, which is left behind if it takes longer than `seconds` (TimeoutError), or
    STOP_SECONDS after a signal (Stopped): no driver can be interrupted.
    """
    result: Future[T] = Future()

    def work() -> None:
        try:
            result.set_result(operation())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=work, name="request", daemon=True).start()
    waited, after_signal = 0.0, 0.0
    while not wait([result], timeout=POLL_SECONDS).done:
        waited += POLL_SECONDS
        after_signal += POLL_SECONDS if _stop.is_set() else 0
        if after_signal > STOP_SECONDS:
            raise Stopped
        if waited > seconds:
            raise TimeoutError(f"no answer for {math.ceil(seconds)} s")
        if SILENCE < waited <= SILENCE + POLL_SECONDS:
            silent()
    return result.result()


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
    return bool(names & NETWORK) or any(
        NO_ANSWER.search(str(cause)) or (isinstance(cause, OSError) and cause.errno in ERROR_NUMBERS)
        for cause in causes
    )


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of the answer that an error stands for; None if there was no answer."""
    return next((status for cause in _causes(error) if (status := _response(cause)[0]) is not None), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those that it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _response(error: BaseException) -> tuple[int | None, str]:
    """Return the HTTP status (None without one) and the service's code of an error, as the drivers record them."""
    if answer := STATUS.search(str(error)):
        return int(answer[1]), answer[2] or ""
    for name in ("status", "status_code", "code"):
        status = getattr(error, name, None)
        if isinstance(status, int):
            return status, ""
    return None, ""


def _reason(error: BaseException) -> str:
    """Return the explanation of the service or the system, or else an error's first line, without credentials."""
    text = redacted(str(getattr(error, "strerror", None) or error)).strip() or type(error).__name__
    if explanation := EXPLANATION.search(text):
        text = explanation.group(explanation.lastindex or 0)
    return REQUEST.sub("", text.splitlines()[0])[:200]


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
