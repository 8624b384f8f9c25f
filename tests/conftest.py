"""Real parts for the tests: stores on disk, a random GPT-2, pretrained models where they are at hand."""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import shutil
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import settings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # which Triton reads as it is first imported

from data import Store, open_store
from data.store.writing.write import ActivationSource, create_empty, fill, make_schema, write_store
from data.system.location import Location
from tests.helpers.fixture_types import Command, Finished, LocalStore, MakeStore, TrainSmall
from tests.helpers.processes.syncs import skip_syncs
from tests.helpers.processes.zygote import Zygote, compiler
from tests.helpers.servers.s3_front import S3Front

settings.register_profile("ours", deadline=None, max_examples=50)
settings.load_profile("ours")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files marked `long` first, so that no worker is left alone with one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


ZYGOTE = pytest.StashKey[Zygote]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the zygote that all workers of pytest-xdist share. It imports its libraries while they collect tests."""
    worker: dict[str, str] | None = getattr(session.config, "workerinput", None)
    if worker:
        at = Path(gettempdir()) / f"zygote-{worker['testrunuid']}"
        locked = at.with_suffix(".lock")
        with open(locked, "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            session.config.stash[ZYGOTE] = Zygote(faults=compiler() is not None, at=at)
            locked.unlink(missing_ok=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests without garbage collection, which later leaves out what was imported: that stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Let no command in this process wait for the disk: its files outlive the process without that."""
    with pytest.MonkeyPatch.context() as patch:
        skip_syncs(patch.setattr)
        yield


SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(path: str) -> Path:
    """A file beside the checkout that only some machines have."""
    file = SHARED / path
    if not file.exists():
        pytest.skip(f"needs {path}, which is not on this machine")
    return file


@pytest.fixture(scope="session")
def stories260k() -> Path:
    return shared("models/stories260K")


@pytest.fixture(scope="session")
def random_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of 3 layers with random weights, larger than usual so that centring shows; no tokenizer."""
    from transformers import GPT2Config, GPT2LMHeadModel

    path = tmp_path_factory.mktemp("models") / "random-gpt2"
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=3, n_embd=48, n_head=4, n_positions=64, vocab_size=211))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-tokenised dataset for `random_gpt2`: 400 documents of 20 to 120 token ids."""
    path = tmp_path_factory.mktemp("text") / "tokens.jsonl"
    rng = np.random.default_rng(0)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(400):
            ids = rng.integers(0, 211, rng.integers(20, 120)).tolist()
            file.write(json.dumps({"input_ids": ids}) + "\n")
    return path


class HarvestedSource(ActivationSource):
    """Activations that seem to come from a language model, which no machine has."""

    @property
    def provenance(self) -> dict[str, Any]:
        made = super().provenance
        model = {"revision": None, "sha256": "0" * 64, "n_layers": 2, "d_model": 8, "processing": "none"}
        return {**made, "model": {**made["model"], **model}}


@pytest.fixture
def make_store(tmp_path: Path, make_store_in: MakeStore) -> MakeStore:
    """Write a store from made-up activations, in the test's own folder unless told."""
    return partial(make_store_in, root=tmp_path)


@pytest.fixture(scope="session")
def make_store_in(tmp_path_factory: pytest.TempPathFactory) -> MakeStore:
    """Write a store from made-up activations into the folder `root`, by the same parts as a harvest does.

    A finished store on the disk is written once per session and copied from then on, unless a test wants it `fresh`.
    """
    written: dict[tuple[Any, ...], Path] = {}

    def make(
        *, root: Location, n_contexts: int = 60, context_size: int = 32, skip: int = 0,
        widths: dict[str, int] | None = None, n_heldout: int = 10, rows_per_shard: int = 128,
        shards_per_window: int = 4, dtype: str = "float16", compression: str = "none", name: str = "made.zarr",
        windows: int | None = None, seed: int = 0, constant: float | None = None,
        source_type: type[ActivationSource] = ActivationSource, fresh: bool = False,
    ) -> tuple[LocalStore, dict[str, np.ndarray], np.ndarray]:  # fmt: skip
        widths = widths or {"blocks.0.hook_mlp_out": 8, "blocks.1.hook_mlp_out": 12}
        per_context = context_size - skip
        options: dict[str, Any] = {
            "dtype": dtype, "compression": compression, "seed": seed, "rows_per_shard": rows_per_shard,
            "shards_per_window": shards_per_window,
        }  # fmt: skip
        rng = np.random.default_rng(seed)
        tokens = rng.integers(0, 1000, (n_contexts, context_size)).astype(np.int32)
        number = np.arange(n_contexts, dtype=np.int32)
        number[n_heldout:] += n_heldout % 2  # no document lies in both splits
        document = np.repeat(number[:, None] // 2, context_size, axis=1)
        values = {
            h: rng.normal(size=(n_contexts * per_context, d)).astype(np.float32) * (1 + i)
            for i, (h, d) in enumerate(widths.items())
        }
        for rows in values.values():
            rows[::per_context] *= 30  # position 0 is an outlier, as in real models
            if constant is not None:
                rows[:] = constant
        path = root / name
        source = source_type(
            widths, n_contexts, [values], context_size=context_size, skip_positions=skip, n_heldout=n_heldout,
            tokens=tokens, documents=document, model="made-up", dataset="made-up",
        )  # fmt: skip
        if windows is None and isinstance(path, Path) and not fresh:
            key = (n_contexts, context_size, skip, *widths.items(), n_heldout, constant, source_type, *options.values())
            if key not in written:
                written[key] = tmp_path_factory.mktemp("written") / "store.zarr"
                write_store(written[key], source, **options)
            shutil.copytree(written[key], path)
            return cast(LocalStore, open_store(path)), values, tokens
        if windows is None:
            return cast(LocalStore, write_store(path, source, **options)), values, tokens
        schema = make_schema(source, **options)
        batches, scales = create_empty(path, source, schema)
        fill(path, schema, batches, scales, windows)
        return cast(LocalStore, open_store(path)), values, tokens

    return make


@pytest.fixture(scope="session")
def command() -> Command:
    """Run `harvest` or `analyze` as its console script does, but in this process: imports take seconds."""

    def run(name: str, *arguments: str | Location) -> Finished:
        main = importlib.import_module(f"{name}.cli").main
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Finished(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def zygote(pytestconfig: pytest.Config) -> Iterator[Zygote]:
    """Start `harvest`, `train` or `analyze` as a process of its own, forked from one that has imported them.

    If there is a C compiler, its commands can have faults (tests/faults).
    """
    with pytestconfig.stash.get(ZYGOTE, None) or Zygote(faults=compiler() is not None) as process:
        yield process


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    """The port of an S3 server in this process, with a bucket."""
    from tests.helpers.servers.s3 import moto_server  # imports moto, which takes seconds

    with moto_server() as port:
        yield port


@pytest.fixture
def s3(moto_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Front]:
    """A process that is an S3 server to its clients, and counts their requests; the environment names it."""
    from tests.helpers.servers.s3 import s3_front

    with s3_front(moto_port, tmp_path_factory.mktemp("s3")) as front:
        yield front


@pytest.fixture
def train_small(command: Command, tmp_path: Path) -> TrainSmall:
    """Train small SAEs on a store, on the CPU; returns the experiment's folder."""

    def train(store: Store, *options: str) -> Path:
        out = tmp_path / "runs"
        done = command(
            "train", "--store", store.path, "--expansion", "4", "--batch-size", "64", "--activations", "2k",
            "--validate-every", "1k", "--device", "cpu", "--out", out, *options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return out

    return train
