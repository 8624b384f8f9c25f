"""Check an existing output: whether it can be written, and whether a harvest with equal settings wrote it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.command.writable import check_writable
from data.errors import DamagedError, InputError, OtherVersionError, StoreError
from data.store.reader import Store, open_store
from data.store.schema import COMMIT
from data.store.sealed import read_sealed
from data.store.writing.lifecycle import is_remains, staging_path
from data.system.location import Location, exists, is_occupied
from harvest.output.provenance import differences, read_settings

SHOWN_OF_HASH = 12  # digits of a fingerprint in a message


def check_out(out: Location, *, overwrite: bool) -> None:
    """Raise InputError if the store or its unfinished parts cannot be written, unless the store is complete.

    `data.store.writing.create.begin` later checks whether an object store can be written.
    """
    if not overwrite and _is_complete(out):
        return
    if isinstance(out, Path):
        check_writable(out)
        check_writable(staging_path(out))
    else:
        remedy = "start the command in a folder that can be written"
        check_writable(staging_path(out), f"--out {out}: its unfinished parts lie in", remedy=remedy)


def _is_complete(out: Location) -> bool:
    try:
        return open_store(out).complete
    except StoreError:
        return False


def existing_store(out: Location) -> Store | None:
    """Return the store at `out`; None if there is none yet.

    Raises InputError if `out` holds something else, and DamagedError or OtherVersionError if it cannot be read.
    """
    if not is_occupied(out) or is_remains(out):
        return None
    try:
        return open_store(out)
    except (DamagedError, OtherVersionError):
        raise
    except StoreError as error:
        if exists(out / COMMIT / "zarr.json") and not exists(out / "zarr.json"):
            raise InputError(
                f"--out {out}: holds a store without its zarr.json; put that file back from a copy, remove the "
                "folder, or choose another --out"
            ) from error
        raise InputError(f"--out {out}: exists and is not an activation store; choose another --out") from error


def existing_settings(out: Location) -> dict[str, Any] | None:
    """Return the settings of a store, or of a harvest that has not created its store yet; None if there is neither.

    Raises as `existing_store`.
    """
    store = existing_store(out)
    return begun_settings(out) if store is None else read_settings(store.provenance["settings"])


def begun_settings(out: Location) -> dict[str, Any] | None:
    """Return the settings in a harvest's unfinished parts; None if there are none."""
    file = staging_path(out) / "settings.json"
    return read_settings(read_sealed(file)) if file.exists() else None


def check_existing(out: Location, settings: dict[str, Any], *, overwrite: bool) -> Store | None:
    """Return the store at `out` if it is complete and has these settings; None if the harvest is to begin or continue.

    Raises InputError, naming the settings that differ, for another store unless `overwrite` is set.
    """
    if overwrite:
        with suppress(DamagedError, OtherVersionError):  # a damaged store can be replaced
            existing_store(out)
        return None
    check_settings(out, settings)
    store = open_store(out) if exists(out / "zarr.json") else None
    return store if store is not None and store.complete else None


def check_settings(out: Location, settings: dict[str, Any]) -> None:
    """Raise InputError, naming the settings that differ, if an existing output was begun with other settings."""
    store = existing_store(out)
    if store is not None and not (store.harvested or "activations" in store.provenance["settings"]):
        raise InputError(
            f"--out {out}: holds a store that no harvest made, so it cannot be continued; give --overwrite to replace "
            "it, or another --out"
        )
    recorded = existing_settings(out)
    if recorded is None:
        return
    differing = [
        f"{name} (the store has {_show(before)}, the command {_show(now)})"
        for name, (before, now) in differences(recorded, settings).items()
    ]
    if differing:
        raise InputError(
            f"--out {out}: holds a harvest with other settings: {'; '.join(differing)}; "
            "give the same settings to continue it, --overwrite to replace it, or another --out"
        )


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)[:SHOWN_OF_HASH] if re.fullmatch("[0-9a-f]{40,}", str(value)) else str(value)
