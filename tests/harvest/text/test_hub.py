"""Models and datasets by hub name: the command as users run it, against a server that answers as the hub does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import zstandard
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from data import Store, open_store
from harvest.demo import MODEL as DEMO
from harvest.text.sources import THE_PILE
from tests.helpers.processes.zygote import Ended, Zygote
from tests.helpers.servers.hub import Hub, write_jsonl

pytestmark = pytest.mark.long

MODEL = "someone/tiny-gpt2"
TEXTS = [f"The {i}th text says that {i * i} is the square of {i}." for i in range(1200)]
SIZES = ("--tokens", "20k", "--context-size", "32", "--device", "cpu")
WITHOUT_THE_HUB = (
    "torch", "torch.distributed.tensor", "torch._dynamo", "pandas", "pyarrow.parquet", "zarr", "tokenizers",
    "safetensors.torch", "scipy.stats", "sklearn", "boto3",
)  # fmt: skip


def make_model(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    shape = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 64, "vocab_size": 4096}
    GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[Hub]:
    """A model with two branches; the texts in JSON lines (two shards, and a split that is not them) and in parquet."""
    middle = len(TEXTS) // 2
    write_jsonl(folder / "texts" / "data" / "train-00000-of-00002.jsonl", TEXTS[:middle])
    write_jsonl(folder / "texts" / "data" / "train-00001-of-00002.jsonl", TEXTS[middle:])
    write_jsonl(folder / "texts" / "data" / "test-00000-of-00001.jsonl", ["another split"])
    (folder / "texts" / "README.md").write_text("---\nlicense: mit\n---\nTexts.\n")
    (folder / "columns").mkdir()
    pq.write_table(pa.table({"n": range(len(TEXTS)), "text": TEXTS}), folder / "columns" / "train.parquet")
    write_jsonl(folder / "script" / "train.jsonl", TEXTS)
    (folder / "script" / "script.py").write_text("import datasets\n")
    with Hub() as server:
        for seed, branch in enumerate(["main", "other"]):
            server.add("models", MODEL, make_model(folder / branch, seed), branch)
        for name in ("texts", "columns", "script"):
            server.add("datasets", f"someone/{name}", folder / name)
        server.start()
        yield server
        server.shutdown()


Harvest = Callable[..., Ended]


def environment(hub: Hub, folder: Path, more: dict[str, str]) -> dict[str, str | None]:
    removed = {name: None for name in os.environ if name.startswith(("HF_", "TRANSFORMERS_"))}
    ours = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(folder / "home")}
    switches = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
    return {**removed, **ours, **switches, **more}


@pytest.fixture(scope="module")
def harvest(hub: Hub, folder: Path) -> Iterator[Harvest]:
    """Run the command with a hub's address, and a cache in a folder.

    The hub's libraries read both from the environment as they are imported. One zygote has imported them with the
    module's hub and folder; it and commands with another environment are forked from one that has not imported them.
    """
    usual = environment(hub, folder, {})

    def run(hub: Hub, folder: Path, *arguments: str | Path, **more: str) -> Ended:
        wanted = environment(hub, folder, more)
        zygote = with_the_hub if wanted == usual else without_it
        return zygote.run("harvest", *arguments, *SIZES, folder=folder, environment=wanted)

    warm = ("datasets", "transformers", "harvest.cli", "harvest.run")
    with Zygote(WITHOUT_THE_HUB, keep_imports=False) as without_it, without_it.branch(usual, warm) as with_the_hub:
        yield run


@pytest.fixture(scope="module")
def first(harvest: Harvest, hub: Hub, folder: Path) -> Store:
    """The hub's model on the hub's texts, both at `main`."""
    done = harvest(hub, folder, "--model", MODEL, "--dataset", "someone/texts", "--out", folder / "first.zarr")
    assert done.code == 0, done.stderr
    return open_store(folder / "first.zarr")


def assert_holds_the_texts(store: Store) -> None:
    tokens, documents = store.tokens(), store.documents()
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    for part in (slice(0, store.layout.n_heldout_contexts), slice(store.layout.n_heldout_contexts, None)):
        kept = list(dict.fromkeys(documents[part].ravel().tolist()))
        assert kept == sorted(kept)
        stream = [t for i in kept for t in [*tokenizer(TEXTS[i])["input_ids"], tokenizer.eos_token_id]]
        stored = tokens[part].ravel().tolist()
        assert stored == stream[: len(stored)]


def test_a_hub_model_and_a_streamed_hub_dataset_are_harvested(hub: Hub, folder: Path, first: Store) -> None:
    assert first.complete
    assert_holds_the_texts(first)
    model, tokens = first.provenance["model"], first.provenance["tokens"]
    assert (model["name"], tokens["dataset"]) == (MODEL, "someone/texts")
    assert tokens["dataset_fingerprint"] == hub.repositories["datasets", "someone/texts"]["main"][0]
    assert model["revision"] == hub.repositories["models", MODEL]["main"][0]
    assert not list((folder / "home").rglob("*.jsonl")), "the dataset was downloaded, not streamed"


def test_model_files_are_all_loaded_at_the_given_revision(
    harvest: Harvest, hub: Hub, folder: Path, first: Store
) -> None:
    hub.requests.clear()
    hook = ("--hook", "mlp.hook_post", "--layers", "1")  # through TransformerLens, which loads a tokenizer of its own
    out, other = folder / "other.zarr", hub.repositories["models", MODEL]["other"][0]
    done = harvest(
        hub, folder, "--model", MODEL, "--revision", "other", "--dataset", "someone/columns", "--out", out, *hook
    )
    assert done.code == 0, done.stderr
    store = open_store(out)
    assert_holds_the_texts(store)
    assert store.provenance["model"]["sha256"] != first.provenance["model"]["sha256"]
    assert store.provenance["model"]["revision"] == other
    asked = [request for request in hub.requests if MODEL in request]
    assert [request for request in asked if other not in request and "/other" not in request] == []


@pytest.mark.parametrize("switches", [{"HF_HUB_OFFLINE": "1"}, {}], ids=["told so", "not told"])
def test_harvest_works_offline_from_a_prepared_cache(
    harvest: Harvest, hub: Hub, folder: Path, first: Store, switches: dict[str, str]
) -> None:
    texts = write_jsonl(folder / "local.jsonl", TEXTS)
    out = folder / f"offline-{len(switches)}.zarr"
    with hub.closed():
        done = harvest(hub, folder, "--model", MODEL, "--dataset", texts, "--out", out, **switches)
    assert done.code == 0, done.stderr
    assert "Retry" not in done.stderr
    store = open_store(out)
    assert_holds_the_texts(store)
    assert store.provenance["model"] == first.provenance["model"]


@pytest.mark.parametrize(
    ("option", "switches", "reason", "remedy"),
    [
        ("--model", {}, "folder, 127.0.0.1 cannot be reached (Connection refused)", "check the network"),
        ("--dataset", {"HF_HUB_OFFLINE": "1"}, "file or folder, HF_HUB_OFFLINE is set", "unset it"),
    ],
    ids=["not told", "told so"],
)
def test_missing_network_is_reported_without_retries(
    harvest: Harvest, hub: Hub, folder: Path, option: str, switches: dict[str, str], reason: str, remedy: str
) -> None:
    names = {"--model": "demo", "--dataset": "demo", option: "someone/unknown"}
    words = [word for pair in names.items() for word in pair]
    with hub.closed():
        done = harvest(hub, folder, *words, "--out", folder / "unknown.zarr", **switches)
    assert done.code == 2
    missing = f"there is no such {reason}, and the {option[2:]} is not in the hub's cache; {remedy}, or "
    assert done.stderr.splitlines()[-1].startswith(f"Error: {option} someone/unknown: {missing}")
    assert "Retry" not in done.stderr


def test_unwritable_hub_cache_is_named(harvest: Harvest, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out, cache = tmp_path / "s.zarr", tmp_path / "file" / "hub"
    done = harvest(hub, tmp_path, "--model", MODEL, "--dataset", "demo", "--out", out, HF_HOME=str(tmp_path / "file"))
    assert done.code == 2
    assert done.stderr.splitlines()[-1] == (
        f"Error: --model {MODEL}: there is no such folder, in the hub's cache {cache}, {tmp_path / 'file'} is not a "
        "folder, and the model is not in the hub's cache; set HF_HOME to another folder, or give a local directory"
    )


@pytest.mark.parametrize(
    ("option", "name", "breaks_at"),
    [
        ("--model", "someone/nothing", None),
        ("--dataset", "someone/nothing", None),
        ("--dataset", "someone/script", None),
        ("--dataset", "someone/texts", "/api/datasets/someone/texts"),
    ],
    ids=["no such model", "no such dataset", "a dataset that is a program", "a connection that breaks"],
)
def test_missing_and_broken_hub_downloads_are_refused_with_one_sentence(
    harvest: Harvest,
    hub: Hub,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    name: str,
    breaks_at: str | None,
) -> None:
    monkeypatch.setattr(hub, "breaks_at", breaks_at)
    names = {"--model": "demo", "--dataset": "demo", option: name}
    out = folder / "none.zarr"
    done = harvest(hub, folder, *(word for pair in names.items() for word in pair), "--out", out)
    assert "Traceback" not in done.stderr
    assert done.code == 2, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith(f"Error: {option} {name}: ")]
    assert not out.exists()


def test_the_default_dataset_is_harvested_from_its_compressed_train_split(
    harvest: Harvest, hub: Hub, folder: Path
) -> None:
    for split, texts in (("train", TEXTS), ("val", ["validation"]), ("test", ["test"])):
        path = folder / "pile" / split / "00.jsonl.zst"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps({"text": t, "meta": {"pile_set_name": "Pile-CC"}}) + "\n" for t in texts)
        path.write_bytes(zstandard.compress("".join(lines).encode()))
    hub.add("datasets", THE_PILE, folder / "pile")
    done = harvest(hub, folder, "--model", MODEL, "--out", folder / "pile.zarr", "--layers", "0")
    assert done.code == 0, done.stderr
    store = open_store(folder / "pile.zarr")
    assert_holds_the_texts(store)
    assert store.provenance["tokens"]["dataset"] == THE_PILE


def test_nulls_and_bad_rows_of_a_hub_dataset_are_counted_and_named(harvest: Harvest, hub: Hub, folder: Path) -> None:
    rows = [None, *TEXTS[:700], None, 7]
    (folder / "rows").mkdir()
    (folder / "rows" / "train.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in rows))
    hub.add("datasets", "someone/rows", folder / "rows")
    arguments = ("--model", MODEL, "--dataset", "someone/rows", "--layers", "0", "--out", folder / "rows.zarr")
    done = harvest(hub, folder, *arguments)
    assert (done.code, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "Error: --dataset someone/rows: " in done.stderr
    (folder / "rows" / "train.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in rows[:-1]))
    done = harvest(hub, folder, *arguments)
    assert done.code == 0, done.stderr
    assert "null rows of the dataset, counted as empty documents: 2" in done.stderr


def test_masked_token_ids_of_a_hub_dataset_are_left_out(harvest: Harvest, hub: Hub, folder: Path) -> None:
    ids = [[5, 6, 7, 0]] * 3000
    (folder / "ids").mkdir()
    columns = {"labels": [[-100] * 4] * 3000, "attention_mask": [[1, 1, 1, 0]] * 3000, "input_ids": ids}
    pq.write_table(pa.table(columns), folder / "ids" / "train.parquet")
    hub.add("datasets", "someone/ids", folder / "ids")
    done = harvest(hub, folder, "--model", MODEL, "--dataset", "someone/ids", "--out", folder / "ids.zarr")
    assert done.code == 0, done.stderr
    assert set(np.unique(open_store(folder / "ids.zarr").tokens()).tolist()) == {5, 6, 7}
