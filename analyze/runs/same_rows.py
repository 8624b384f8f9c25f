"""The check that runs can be measured on a store: they were trained on it, or on another store of the same rows.

Stores of the same rows are harvests of one text by one model that differ only in how the rows are stored, such as
`harvest --dtype float16` and `--dtype int8`. Their held-out contexts are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.runs.trained_run import TrainedRun
from data.errors import InputError
from data.store.reader import Store
from harvest.output.provenance import read_settings

# Settings of a harvest that decide which hooks are stored, where and how; or names, beside which a checksum stands.
NOT_OF_THE_ROWS = (
    "layers", "hook", "dtype", "compress", "seed", "batch_size", "compile", "versions", "model", "revision", "dataset",
    "activations", "token_ids", "documents",
)  # fmt: skip


def check_store(runs: Sequence[TrainedRun], store: Store) -> None:
    """Raise InputError if a run was trained on a store whose rows or held-out contexts are others."""
    for run in runs:
        if not is_of(run, store) and not have_same_rows(run.settings.provenance, store.provenance):
            raise InputError(
                f"{run.folder.path}: was trained on another store than {store.path}, with other rows (fingerprint "
                f"{run.settings.experiment.store[:12]}, not {str(store.fingerprint)[:12]}); give that one"
            )


def is_of(run: TrainedRun, store: Store) -> bool:
    """Return whether a run was trained on a store."""
    return run.settings.experiment.store in (store.fingerprint, store.identity)


def have_same_rows(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two stores hold the same rows, from their provenance; False if it does not tell."""
    rows = _identity(first)
    return rows is not None and rows == _identity(second)


def stored_type(provenance: Mapping[str, Any]) -> str | None:
    """Return the type in which a store has the rows (`harvest --dtype`); None if its provenance does not tell."""
    value = (harvest_settings(provenance) or {}).get("dtype")
    return value if isinstance(value, str) else None


def harvest_settings(provenance: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the options of the harvest that made a store, from its provenance; None if `harvest` did not make it."""
    settings = read_settings(provenance.get("settings") or {})
    return settings if any(name in settings for name in ("dataset_fingerprint", "activations_fingerprint")) else None


def _identity(provenance: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what determines a store's rows and which of them are held out; None if `harvest` did not make it."""
    settings = harvest_settings(provenance)
    if settings is None:
        return None
    of_rows = {name: value for name, value in settings.items() if name not in NOT_OF_THE_ROWS}
    return {**of_rows, "sha256 of the tokens": (provenance.get("tokens") or {}).get("sha256")}
