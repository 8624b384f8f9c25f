"""The faults of an object store after which a request is repeated, and the messages about them."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError, SSLError
from obstore.exceptions import GenericError

from data.errors import Stopped, StoreError, UnreachableError
from data.system.remote.redact import has_credentials, redacted
from data.system.remote.retry import is_transient, retried, stopped_by


class ClientConnectionError(Exception):
    """That of aiohttp, by name: some of fsspec's drivers raise it, and none is installed here."""


class ServerDisconnectedError(ClientConnectionError):
    """That of aiohttp, likewise."""


class ClientPayloadError(Exception):
    """That of aiohttp, likewise."""


REQUEST = "Generic S3 error: Error performing GET http://host/b/x in 1.2s, after 4 retries, max_retries: 4  - "


def s3_error(status: int, code: str) -> GenericError:
    """An error as obstore's for an answer of the server."""
    body = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>a message</Message></Error>'
    return GenericError(f"{REQUEST}Server returned non-2xx status code: {status} Name: {body}\n\nDebug source:\n")


def no_answer(cause: str) -> GenericError:
    """An error as obstore's for a request without an answer."""
    return GenericError(f"{REQUEST}HTTP error: error sending request\n\nDebug source:\nGeneric {{ {cause} }}")


TRANSIENT = [
    ConnectionRefusedError(111, "Connection refused"), TimeoutError(), socket.timeout(),  # noqa: UP041
    ServerDisconnectedError(), ClientPayloadError(),
    EndpointConnectionError(endpoint_url="http://sts"), ReadTimeoutError(endpoint_url="http://sts"),
    no_answer('Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }'),
    GenericError("Generic S3 error: HTTP error: request or response body error\n\nDebug source:\nIncompleteBody"),
    s3_error(500, "InternalError"), s3_error(503, "SlowDown"), s3_error(502, "502"),
    s3_error(400, "RequestTimeout"), s3_error(429, "TooManyRequests"),
]  # fmt: skip
PERMANENT = [
    s3_error(403, "AccessDenied"), s3_error(403, "SignatureDoesNotMatch"), s3_error(404, "NoSuchBucket"),
    s3_error(400, "InvalidBucketName"), GenericError(f"{REQUEST}Received redirect without LOCATION"),
    no_answer("InvalidCertificate(\n    UnknownIssuer,\n)"),
    SSLError(endpoint_url="https://sts", error="self-signed"), ssl.SSLCertVerificationError("self-signed"),
    OSError(28, "No space left on device"),
]  # fmt: skip


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_connection_faults_timeouts_throttling_and_5xx_are_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", PERMANENT, ids=repr)
def test_refused_rights_wrong_requests_and_bad_certificates_are_permanent(error: Exception) -> None:
    assert not is_transient(error)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the process would have slept; its clock advances by them."""
    slept: list[float] = []
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", slept.append)
    monkeypatch.setattr("data.system.remote.retry._stop", stop)
    monkeypatch.setattr("time.monotonic", lambda: sum(slept))
    return slept


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def operation() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return operation


def test_transient_faults_are_repeated_with_doubling_waits_and_said_once(
    waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert retried(failing(*[s3_error(503, "SlowDown")] * 7), "s3://bucket/x") == "done"
    assert len(waits) == 7
    for wait, longest in zip(waits, (0.5, 1, 2, 4, 8, 15, 15), strict=True):
        assert longest / 2 <= wait <= longest
    assert capsys.readouterr().err == "s3://bucket/x cannot be reached (a message); trying again for up to 10 min\n"


def test_an_outage_of_ten_minutes_and_permanent_faults_end_in_one_sentence(waits: list[float]) -> None:
    with pytest.raises(UnreachableError, match=r"^s3://b/x cannot be reached \(refused\); the same command continues"):
        retried(failing(*[ConnectionRefusedError("refused")] * 1000), "s3://b/x")
    assert 570 < sum(waits) <= 600
    waits.clear()
    with pytest.raises(StoreError, match=r"cannot be reached \(a message\); check the address and the credentials"):
        retried(failing(s3_error(403, "AccessDenied")), "s3://b/x")
    with pytest.raises(FileNotFoundError):
        retried(failing(s3_error(404, "NoSuchBucket")), "s3://b/x")
    with pytest.raises(ValueError, match="a bug"):
        retried(failing(ValueError("a bug")), "s3://b/x")
    assert waits == []


def test_signal_ends_the_waiting_for_an_object_store() -> None:
    stop, begin = threading.Event(), time.monotonic()
    threading.Timer(0.1, stop.set).start()
    with stopped_by(stop), pytest.raises(Stopped):
        retried(failing(*[ConnectionRefusedError("refused")] * 1000), "s3://b/x")
    assert time.monotonic() - begin < 5
    assert retried(failing(ConnectionRefusedError("refused")), "s3://b/x") == "done"  # outside the context


@pytest.fixture
def silent_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """A request that gets no answer; the process waits for fractions of a second instead of minutes."""
    for name, seconds in {"LEAST_ANSWER": 0, "SILENCE": 0.05, "STOP_SECONDS": 0.1, "POLL_SECONDS": 0.02}.items():
        monkeypatch.setattr(f"data.system.remote.retry.{name}", seconds)
    answer = threading.Event()
    yield answer.wait
    answer.set()


def test_server_that_never_answers_ends_in_one_sentence(
    silent_server: Callable[[], bool], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnreachableError, match=r"^s3://b/x cannot be reached \(no answer for 1 s\); the same command"):
        retried(silent_server, "s3://b/x", patience=0.5)
    assert capsys.readouterr().err == "s3://b/x has not answered for 0.05 seconds; waiting for up to 0 min\n"


def test_signal_ends_the_waiting_for_an_answer(silent_server: Callable[[], bool]) -> None:
    stop = threading.Event()
    stop.set()
    with stopped_by(stop), pytest.raises(Stopped):
        retried(silent_server, "s3://b/x")
    with stopped_by(stop):
        assert retried(lambda: "an answer", "s3://b/x") == "an answer"


def test_operation_of_many_requests_may_take_longer_than_the_patience(silent_server: Callable[[], bool]) -> None:
    def remove_all() -> str:
        time.sleep(0.3)
        return "done"

    assert retried(remove_all, "s3://b/x", patience=0, many=True) == "done"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (s3_error(503, "SlowDown"), "a message"),
        (no_answer('message: "Connection refused"'), "Connection refused"),
        (GenericError(f"{REQUEST}Server returned non-2xx status code: 403 Forbidden: \n\nDebug"), "Server return"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
    ],
    ids=str,
)
def test_messages_have_the_explanation_of_the_service_or_the_system(error: Exception, reason: str) -> None:
    with pytest.raises(StoreError, match=rf"^s3://b/x cannot be reached \({reason}[^\n]*$"):
        retried(failing(*[error] * 9), "s3://b/x", patience=0)


def test_messages_show_no_credentials(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    url = "http://me:pass@host:9000/b?X-Amz-Signature=abc123&part=1&sig=xyz"
    assert redacted(f"at {url}") == "at http://***@host:9000/b?X-Amz-Signature=***&part=1&sig=***"
    assert redacted("key AKIAIOSFODNN7EXAMPLE of wJalrXUtnFEMI/K7MDENG.") == "key *** of ***."
    assert redacted("s3://bucket/gpt2.zarr?a=b, me@host") == "s3://bucket/gpt2.zarr?a=b, me@host"
    assert has_credentials(url)
    assert not has_credentials("s3://bucket/runs@home/gpt2.zarr")
    with pytest.raises(UnreachableError) as raised:
        retried(failing(*[EndpointConnectionError(endpoint_url=url)] * 1000), "s3://b/x")
    assert "http://***@host:9000" in str(raised.value)
    assert "pass" not in str(raised.value)
