"""Give hostile JSON in a store to its readers: they must read as before, or raise a StoreError that names the file.

Some inputs have changed bytes. Others have changed values, with digests and a fingerprint that fit, as someone who
knows the format could make.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from data import ShuffledStream, StoreError, open_store
from data.store.arrays import group_json
from data.store.encodings import ENCODINGS, channel_scales
from data.store.group_metadata import FORMAT
from data.store.layout import Layout
from data.store.schema import Schema
from data.store.sealed import DIGEST, canonical, sealed
from data.store.truth import Truth
from data.store.verify import verify
from data.store.writing.create import create
from data.store.writing.lifecycle import finish, staging_path
from data.store.writing.window_writer import WindowWriter
from tests.faults.fuzz_run import MOST_MEMORY, STRANGE, _changed, _memory, _nothing_else_is_read, change_bytes

HOOKS = {"blocks.0.hook_mlp_out": 4, "blocks.1.hook_mlp_out": 4}


def fuzz(n: int, seed: int = 0) -> int:
    """Try `n` inputs and return how many were refused.

    Raises AssertionError if an input neither read as before nor was refused.
    """
    rng, refused = random.Random(seed), 0
    with TemporaryDirectory() as folder:
        stores = [Path(folder).resolve() / name for name in ("whole.zarr", "growing.zarr")]
        for store in stores:
            make_store(store, whole=store.name == "whole.zarr")
        expected = {store: everything(store) for store in stores}
        paths = {store: sorted(store.rglob("zarr.json")) for store in stores}
        files = {path: path.read_bytes() for store in stores for path in paths[store]}
        before = _memory()
        with _nothing_else_is_read(Path(folder).resolve()):
            for number in range(n):
                store = rng.choice(stores)
                path = store / "zarr.json" if rng.random() < 0.5 else rng.choice(paths[store])
                if rng.random() < 0.5:
                    forged, content = False, change_bytes(path, files[path], rng)[path]
                else:
                    forged, content = True, change_values(store, files[path], rng)
                path.write_bytes(content)
                what = f"input {number} of seed {seed}, {path.relative_to(folder)}: {content[:2000]!r}"
                refused += _read(store, None if forged else expected[store], what, with_verify=not number % 8)
                path.write_bytes(files[path])
        used = _memory() - before
        assert used < MOST_MEMORY, f"{used / 1e9:.2f} GB were taken"
    return refused


def make_store(path: Path, *, whole: bool) -> None:
    """Write a small int8 store with a truth; its last window is missing unless `whole`."""
    layout = Layout(12, 3, 8, 16, 2, 0)
    truth = Truth(
        {hook: np.eye(5, d, dtype=np.float32) + 1 for hook, d in HOOKS.items()}, np.full(5, 0.2), np.arange(25),
        np.arange(24, dtype=np.int32) % 5,
    )  # fmt: skip
    truth.check(HOOKS, 24)
    schema = Schema(layout, HOOKS, "int8", "none", 8, 0, truth.sizes)
    ids = np.arange(12 * 8, dtype=np.int32).reshape(12, 8)
    values = torch.rand(layout.n_rows, 4, generator=torch.Generator().manual_seed(0))
    scale = channel_scales(values)
    about = {"model": {"name": "made-up"}, "tokens": {"dataset": "made-up"}, "settings": {"seed": 0}}
    create(path, schema, [(ids, ids)], about, dict.fromkeys(HOOKS, scale.numpy()), truth)
    for window in range(layout.n_windows if whole else layout.n_windows - 1):
        writer = WindowWriter(path, staging_path(path), schema, window)
        for assignment in layout.assignments(window):
            rows, ranges = assignment.writing_order(assignment.first_row, assignment.first_row + assignment.n_rows)
            encoded = ENCODINGS["int8"].encode(values[rows], scale)
            arrays = {hook + suffix: part.numpy() for hook in HOOKS for suffix, part in encoded.items()}
            writer.write(ranges, arrays)
            writer.add_statistics(rows, ranges, arrays)
        writer.sync(layout.window_contexts(window)[1])
        writer.seal()
    if whole:
        finish(path)


def everything(path: Path) -> str:
    """Return a digest of everything that a store's readers return."""
    store, digest = open_store(path), hashlib.sha256()
    facts = [store.schema.to_json(), store.provenance, store.complete, store.fingerprint]
    digest.update(canonical(facts))
    truth = store.truth.arrays().values() if store.truth else ()
    for array in (store.commit.values, store.tokens(), store.documents(), *truth):
        digest.update(array.tobytes())
    for split in ("heldout", "train"):
        for hook in store.hooks:
            digest.update(store.statistics(hook, split).moments.tobytes())
            for shard in store.shards(split):
                digest.update(store.rows(hook, shard).tobytes())
        for shard in store.shards(split):
            for origin in store.origin(shard):
                digest.update(origin.tobytes())
    if store.n_rows("train") >= 8:
        with ShuffledStream(store, store.hooks[:1], batch_size=8, read_ahead=1) as stream:
            digest.update(next(stream).numpy().tobytes())
    return digest.hexdigest()


def change_values(store: Path, content: bytes, rng: random.Random) -> bytes:
    """Return a JSON file with changed values, and with a digest, perhaps also a fingerprint, that fits."""
    document = json.loads(content)
    attributes = document["attributes"]
    if document["node_type"] != "group" or attributes.get("format") != FORMAT or rng.random() < 0.1:
        return json.dumps(_changed(document, rng)).encode()
    part = rng.choice([name for name in attributes if name != DIGEST])
    changed = {name: value for name, value in attributes.items() if name != DIGEST}
    changed[part] = _changed(attributes[part], rng) if rng.random() < 0.9 else rng.choice(STRANGE)
    if changed.get("complete") is True and rng.random() < 0.7:
        table = (store / "commit" / "c.0.0").read_bytes()[:-4] if (store / "commit" / "c.0.0").exists() else b""
        identity = {name: value for name, value in changed.items() if name not in ("complete", "fingerprint")}
        changed["fingerprint"] = hashlib.sha256(table + canonical(identity)).hexdigest()
    return json.dumps(group_json(sealed(changed))).encode()


def _read(store: Path, expected: str | None, what: str, *, with_verify: bool) -> bool:
    """Read all of a store; return whether it was refused. `expected` is the digest that it must have, if any."""
    try:
        if with_verify:
            list(verify(store))
        content: Any = everything(store)
    except StoreError as error:
        if str(store) not in str(error):
            raise AssertionError(f"{what}: the message names no file: {error}") from error
        return True
    except BaseException as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert expected is None or content == expected, f"{what}: it was read as if undamaged"
    return False
