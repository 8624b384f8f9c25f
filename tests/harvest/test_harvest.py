"""The command from end to end, on a random GPT-2 and on the demo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from data import ShuffledStream, Store, open_store
from data.store.verify import verify
from harvest.demo import MODEL as DEMO
from harvest.model.base import LanguageModel
from harvest.model.find import find_model
from harvest.model.load import load
from harvest.text.packing import heldout_target
from tests.helpers.fixture_types import Command

pytestmark = pytest.mark.long

SIZES = ("--tokens", "8k", "--context-size", "32", "--batch-size", "32", "--device", "cpu")


def harvest(command: Command, model: Path | str, dataset: Path | str, out: Path, *more: str) -> Store:
    done = command("harvest", "--model", model, "--dataset", dataset, "--out", out, *SIZES, *more)
    assert done.returncode == 0, done.stderr
    return open_store(out)


@pytest.fixture(scope="module")
def finished(command: Command, random_gpt2: Path, token_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the usual settings. Nothing may be written into it."""
    return harvest(command, random_gpt2, token_file, tmp_path_factory.mktemp("finished") / "s.zarr")


@pytest.fixture
def copied(finished: Store, tmp_path: Path) -> Path:
    """A copy of `finished` in the test's own folder."""
    assert isinstance(finished.path, Path)
    return shutil.copytree(finished.path, tmp_path / "s.zarr")


def fresh_values(lm: LanguageModel, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Return each hook's values for whole contexts, [n, context, d]."""
    values: dict[str, np.ndarray] = {}
    lm.capture(torch.from_numpy(tokens), lambda name, value: values.update({name: value.clone().numpy()}))
    return values


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "int4"])
def test_stored_rows_equal_a_fresh_forward_pass_within_the_types_rounding(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path, dtype: str
) -> None:
    store = harvest(command, random_gpt2, token_file, tmp_path / "s.zarr", "--dtype", dtype, "--skip-positions", "1")
    assert all(problem is None for problem in verify(store.path))
    assert store.n_rows("train") + store.n_rows("heldout") == (8_000 // 32) * 31
    error = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 6e-3, "int8": 2e-2, "int4": 0.35}[dtype]
    facts = find_model(str(random_gpt2), None)
    fresh = load(facts, ["mlp_out"], [0, 1, 2], processing="centred", device=torch.device("cpu"))
    for shard in [store.shards("train")[0], store.shards("train")[-1], store.shards("heldout")[0]]:
        context, position = store.origin(shard)
        pick = np.arange(0, len(context), 7)
        values = fresh_values(fresh, store.tokens(context[pick].astype(np.int64)).astype(np.int64))
        for hook in store.hooks:
            expected = values[hook][np.arange(len(pick)), position[pick]]
            rows = store.rows(hook, shard)[pick].astype(np.float32)
            distance = np.linalg.norm(rows - expected, axis=1) / np.linalg.norm(expected, axis=1)
            assert distance.max() < error


def test_harvested_contexts_hold_the_text_in_order_with_separators(command: Command, tmp_path: Path) -> None:
    texts = [f"The {i}th text says that {i * i} is the square of {i}." for i in range(900)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    store = harvest(command, "demo", tmp_path / "t.jsonl", tmp_path / "s.zarr", "--layers", "0")
    tokens, documents = store.tokens(), store.documents()
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    for part in (slice(0, store.layout.n_heldout_contexts), slice(store.layout.n_heldout_contexts, None)):
        kept = list(dict.fromkeys(documents[part].ravel().tolist()))
        assert kept == sorted(kept)
        stream = [t for i in kept for t in [*tokenizer(texts[i])["input_ids"], tokenizer.eos_token_id]]
        stored = tokens[part].ravel().tolist()
        assert stored == stream[: len(stored)]
    n_held = store.layout.n_heldout_contexts
    held, train = (set(documents[p].ravel().tolist()) for p in (slice(0, n_held), slice(n_held, None)))
    assert not held & train
    assert n_held == heldout_target(store.layout.n_contexts, None) == 25


def test_harvested_store_streams_finite_training_rows(finished: Store) -> None:
    with ShuffledStream(finished, batch_size=512) as stream:
        batch = next(stream)
    assert batch.shape == (512, 3, 48)
    assert batch.dtype == torch.float16
    assert torch.isfinite(batch).all()


def test_a_prefix_token_starts_each_context(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path
) -> None:
    store = harvest(command, random_gpt2, token_file, tmp_path / "s.zarr", "--prefix-token", "7", "--layers", "1")
    assert set(store.tokens()[:, 0].tolist()) == {7}
    assert store.provenance["tokens"]["prefix_token"] == 7
    assert store.hooks == ["blocks.1.hook_mlp_out"]


def test_harvest_stores_named_hooks_through_transformer_lens(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path
) -> None:
    more = ("--hook", "mlp_out,mlp.hook_post", "--layers", "0,2")
    store = harvest(command, random_gpt2, token_file, tmp_path / "s.zarr", *more)
    assert store.schema.widths == {
        "blocks.0.hook_mlp_out": 48, "blocks.0.mlp.hook_post": 192,
        "blocks.2.hook_mlp_out": 48, "blocks.2.mlp.hook_post": 192,
    }  # fmt: skip
    assert store.provenance["model"]["forward_path"] == "transformer_lens"


def test_harvest_of_too_short_a_text_completes_the_store_with_a_note(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s.zarr"
    done = command("harvest", "--model", random_gpt2, "--dataset", token_file, "--out", out, *SIZES, "--tokens", "1M")
    assert done.returncode == 0, done.stderr
    assert "the text ended early" in done.stderr
    store = open_store(out)
    assert store.complete
    assert store.provenance["tokens"]["text_ended"]


def test_harvest_of_a_finished_store_does_nothing(
    command: Command, random_gpt2: Path, token_file: Path, finished: Store, copied: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in copied.rglob("*")}
    done = command("harvest", "--model", random_gpt2, "--dataset", token_file, "--out", copied, *SIZES, "--json")
    assert done.returncode == 0
    assert "nothing to do" in done.stderr
    assert json.loads(done.stdout)["fingerprint"] == finished.fingerprint
    assert before == {p: p.stat().st_mtime_ns for p in copied.rglob("*")}


def test_harvest_with_other_settings_is_refused_by_name_unless_overwrite_is_given(
    command: Command, random_gpt2: Path, token_file: Path, copied: Path
) -> None:
    base = ("harvest", "--model", random_gpt2, "--dataset", token_file, "--out", copied, *SIZES)
    done = command(*base, "--dtype", "bfloat16", "--seed", "3")
    assert done.returncode == 2
    assert "--dtype (the store has float16, the command bfloat16)" in done.stderr
    assert "--seed (the store has 0, the command 3)" in done.stderr
    assert open_store(copied).dtype == "float16"
    done = command(*base, "--dtype", "bfloat16", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert open_store(copied).dtype == "bfloat16"


def test_values_beyond_the_stored_type_stop_the_harvest_with_layer_token_and_remedy(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(random_gpt2)
    with torch.no_grad():
        model.transformer.h[1].mlp.c_proj.weight *= 1e6
    model.save_pretrained(tmp_path / "loud")
    base = ("harvest", "--model", tmp_path / "loud", "--dataset", token_file, "--out", tmp_path / "s.zarr", *SIZES)
    done = command(*base)
    assert done.returncode == 2
    assert "blocks.1.hook_mlp_out at token" in done.stderr
    assert "--dtype bfloat16" in done.stderr
    assert "Traceback" not in done.stderr
    for dtype in ("bfloat16", "int8"):
        assert command(*base, "--dtype", dtype, "--overwrite").returncode == 0
    with torch.no_grad():
        model.transformer.h[2].mlp.c_proj.bias[0] = float("nan")
    model.save_pretrained(tmp_path / "loud")
    for dtype in ("float16", "int8"):
        done = command(*base, "--layers", "2", "--dtype", dtype, "--overwrite")
        assert done.returncode == 2
        assert "finite" in done.stderr or "NaN" in done.stderr


def test_two_harvests_are_equal_byte_for_byte(
    command: Command, random_gpt2: Path, token_file: Path, finished: Store, tmp_path: Path
) -> None:
    stores = [finished, harvest(command, random_gpt2, token_file, tmp_path / "again.zarr")]
    one, two = ({str(p)[len(str(s.path)) :]: p.read_bytes() for p in s.path.rglob("*") if p.is_file()} for s in stores)
    assert one == two


def test_harvest_of_a_pretrained_stories_model_stores_every_layer(
    command: Command, stories260k: Path, tmp_path: Path
) -> None:
    stories = stories260k.parents[1] / "text" / "stories.jsonl"
    store = harvest(command, stories260k, stories, tmp_path / "s.zarr")
    assert len(store.hooks) == 5
    assert store.provenance["model"]["forward_path"] == "transformers"


def test_hooks_are_in_the_order_of_the_model_beyond_ten_layers(
    command: Command, token_file: Path, tmp_path: Path
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_layer=12, n_embd=16, n_head=2, n_positions=64, vocab_size=211)).save_pretrained(
        tmp_path / "deep"
    )
    store = harvest(command, tmp_path / "deep", token_file, tmp_path / "s.zarr")
    assert store.hooks == [f"blocks.{i}.hook_mlp_out" for i in range(12)]
