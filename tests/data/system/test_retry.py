"""The faults of an object store after which a request is repeated, and the messages about them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import aiohttp
import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]
    ClientError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from s3fs.errors import translate_boto_error

from data.errors import StoreError, UnreachableError
from data.system.redact import has_credentials, redacted
from data.system.retry import is_transient, retried


def s3_error(status: int, code: str) -> OSError:
    """The error that s3fs raises for an answer of the server."""
    answer = {"Error": {"Code": code, "Message": "a message"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate_boto_error(ClientError(answer, "GetObject"))


TRANSIENT = [
    ConnectionRefusedError(111, "Connection refused"), TimeoutError(), socket.timeout(),  # noqa: UP041
    EndpointConnectionError(endpoint_url="http://host"), ReadTimeoutError(endpoint_url="http://host"),
    IncompleteReadError(actual_bytes=1, expected_bytes=2), aiohttp.ServerDisconnectedError(),
    aiohttp.ClientPayloadError(), s3_error(500, "InternalError"), s3_error(503, "SlowDown"), s3_error(502, "502"),
    s3_error(400, "RequestTimeout"), s3_error(429, "TooManyRequests"),
]  # fmt: skip
PERMANENT = [
    s3_error(403, "AccessDenied"), s3_error(403, "SignatureDoesNotMatch"), s3_error(404, "NoSuchBucket"),
    s3_error(400, "InvalidBucketName"), s3_error(301, "PermanentRedirect"), NoCredentialsError(),
    SSLError(endpoint_url="https://host", error="self-signed"), ssl.SSLCertVerificationError("self-signed"),
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
    monkeypatch.setattr("time.sleep", slept.append)
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
