"""How a bucket is reached: AWS's files and variables, and where its credentials do not appear."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data import InputError, StoreError
from data.system.location import locate
from data.system.remote.object_store import object_store

KEY_ID, SECRET, TOKEN = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG", "AQoDYXdzEPT"
NOWHERE = "http://127.0.0.1:1"  # refuses connections
PROCESS = {"Version": 1, "AccessKeyId": KEY_ID, "SecretAccessKey": SECRET, "SessionToken": TOKEN}
CONFIG = f"""
[profile work]
region = eu-west-1
endpoint_url = {NOWHERE}
credential_process = echo '{json.dumps(PROCESS)}'

[profile signed-out]
endpoint_url = {NOWHERE}
sso_start_url = https://example.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = reader
"""


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS's configuration file has two profiles; no variable names credentials or a machine's role."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("data.system.remote.object_store.REPETITIONS", 0)
    monkeypatch.setattr("data.system.location.FIRST_PATIENCE", 0)
    object_store.cache_clear()
    yield
    object_store.cache_clear()


def test_profile_gives_endpoint_region_and_credentials_which_appear_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    bucket = object_store("s3", "bucket")
    store: Any = bucket._store
    config = store.config
    assert (config["endpoint"], config["region"]) == (NOWHERE, "eu-west-1")
    assert [config[name] for name in ("access_key_id", "secret_access_key", "session_token")] == [KEY_ID, SECRET, TOKEN]
    with pytest.raises(StoreError) as raised:
        locate("s3://bucket/gpt2.zarr")
    assert "s3://bucket/gpt2.zarr cannot be reached (Connection refused)" in str(raised.value)
    for text in (repr(bucket), repr(store), repr(raised.value), repr(raised.value.__context__)):
        assert not any(secret in text for secret in (KEY_ID, SECRET, TOKEN))


def test_profile_that_is_signed_out_or_unknown_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "signed-out")
    with pytest.raises(StoreError, match=r"cannot be reached \(Error loading SSO Token.*check the address"):
        locate("s3://bucket/gpt2.zarr")
    monkeypatch.setenv("AWS_PROFILE", "unknown")
    object_store.cache_clear()
    with pytest.raises(InputError, match=r"cannot be reached \(The config profile \(unknown\) could not be found\)"):
        locate("s3://bucket/gpt2.zarr")


def test_requests_without_credentials_are_anonymous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOWHERE)
    store: Any = object_store("s3", "bucket")._store
    assert store.config["skip_signature"]
