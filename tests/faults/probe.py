"""Read everything in a store or an experiment through the public functions, and print digests of it.

Prints one line of JSON: `read`, the digests by name; or `reported`, the message, if an InputError was raised. Any other
exception ends as a traceback.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch


def store(path: str) -> None:
    _report(lambda: _store(Path(path)))


def runs(path: str) -> None:
    _report(lambda: _runs(Path(path)))


def _report(read: Any) -> None:
    from data.errors import InputError

    try:
        print(json.dumps({"read": read()}))
    except InputError as error:
        print(json.dumps({"reported": str(error)}))


def _digest(*values: Any) -> str:
    digest = hashlib.sha256()
    for value in values:
        array = (
            value.detach().reshape(-1).view(torch.uint8).numpy()
            if isinstance(value, torch.Tensor)
            else np.ascontiguousarray(value)
        )
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _store(path: Path) -> dict[str, str]:
    from data import ShuffledStream, open_store
    from data.summary import summarize

    opened = open_store(path)
    both = [shard for split in ("heldout", "train") for shard in opened.shards(split)]
    facts = {**asdict(summarize(opened)), "path": ""}  # each trial has a folder of its own
    read = {
        "tokens": _digest(opened.tokens()), "document": _digest(opened.documents()),
        "origin": _digest(*(part for shard in both for part in opened.origin(shard))),
        "facts": hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16],
    }  # fmt: skip
    for hook in opened.hooks:
        read[hook] = _digest(*(opened.rows(hook, shard) for shard in both))
    with ShuffledStream(opened, batch_size=64, seed=0) as stream:
        n_batches = sum(opened.shard_rows(shard) for shard in opened.shards("train")) // 64
        read["stream"] = _digest(*(next(stream).clone() for _ in range(n_batches)))
    return read


def _runs(path: Path) -> dict[str, str]:
    """Return digests of the weights that `load_sae` reads, final ones and snapshots."""
    from train import load_sae

    read = {}
    for run in sorted(folder.parent for folder in path.glob("*/final")):
        for where in [run, *sorted((run / "snapshots").iterdir())]:
            saes = [load_sae(where, layer=layer) for layer in (0, 1)]
            read[str(where.relative_to(path))] = _digest(
                *(p.detach() for sae in saes for p in sae.state_dict().values())
            )
    return read


def fuzz(what: str, inputs: str, seed: str) -> None:
    """Give hostile files to the readers of a store or a run, and print how many were refused."""
    import importlib

    print(importlib.import_module(f"tests.faults.fuzz_{what}").fuzz(int(inputs), int(seed)))
