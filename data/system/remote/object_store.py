"""Amazon's, Google's and Azure's object stores by obstore, which fetches faster than fsspec's drivers for them.

The methods are those of fsspec's file systems that `location` uses, without options that it does not use.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any

import obstore
from obstore.store import from_url

REPETITIONS = 4  # of a request by obstore, within ten seconds; only longer faults are told (retry.py)
CLIENT = {"allow_http": True, "read_timeout": "2m", "timeout": "10m"}  # read: until the next bytes of an answer
IN_PARTS = 256 << 20  # bytes from which an object is put in parts, some of which a kill leaves in the bucket


@cache
def object_store(protocol: str, bucket: str) -> ObjectStore:
    """Return a bucket, the same one in all threads. Raises errors of boto3 for wrong settings."""
    return ObjectStore(protocol, bucket)


class ObjectStore:
    """A bucket. Paths begin with its name."""

    def __init__(self, protocol: str, bucket: str) -> None:
        self._url = f"{protocol}://{bucket}"
        self._settings: dict[str, Any] = {}
        self._credentials = None
        if protocol == "s3":  # obstore does not read AWS's files: profiles, single sign-on and roles
            import boto3

            session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
            about = session.client("s3").meta
            self._settings = {"endpoint": about.endpoint_url, "region": about.region_name}
            self._credentials = session.get_credentials()
            if self._credentials is None:
                self._settings["skip_signature"] = True  # anonymous, as public buckets allow

    @property
    def _store(self) -> obstore.store.ObjectStore:
        if self._credentials is None:
            return _connection(self._url, **self._settings)
        current = self._credentials.get_frozen_credentials()  # boto3 renews those that expire soon
        key = {"access_key_id": current.access_key, "secret_access_key": current.secret_key}
        token = {"session_token": current.token} if current.token else {}
        return _connection(self._url, **self._settings, **key, **token)

    def invalidate_cache(self) -> None:
        """Do nothing: no listing is kept."""

    def info(self, path: str) -> None:
        """Raise FileNotFoundError if there is no object of a name, and none below it."""
        try:
            self._store.head(_key(path))
        except FileNotFoundError:
            self.ls(path)

    def ls(self, path: str, *, detail: bool = False) -> list[str]:
        """Return the names of the objects and folders in a folder. Raises FileNotFoundError without any."""
        listed = self._store.list_with_delimiter(_key(path))
        names = [entry["path"] for entry in listed["objects"]] + list(listed["common_prefixes"])
        if not names:
            raise FileNotFoundError(path)
        return names

    def find(self, path: str, *, detail: bool = True) -> dict[str, Any]:
        """Return name → description of all objects below a folder."""
        return {entry["path"]: entry for entry in self._store.list(_key(path)).collect()}

    def cat_file(self, path: str) -> obstore.Bytes:
        """Return an object's content."""
        return self._store.get(_key(path)).bytes()

    def pipe_file(self, path: str, content: bytes) -> None:
        """Put an object."""
        self._store.put(_key(path), content, chunk_size=IN_PARTS)

    def rm(self, path: str, *, recursive: bool = True) -> None:
        """Delete an object, or all below a folder."""
        self._store.delete(list(self.find(path)) or _key(path))


@lru_cache(maxsize=32)
def _connection(url: str, **settings: Any) -> obstore.store.ObjectStore:
    repetitions = {"max_retries": REPETITIONS, "retry_timeout": timedelta(seconds=10)}
    options: Any = {"client_options": CLIENT, "retry_config": repetitions, **settings}
    return from_url(url, **options)


def _key(path: str) -> str:
    return path.partition("/")[2]
