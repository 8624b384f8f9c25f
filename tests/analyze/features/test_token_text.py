"""Tokens as text: of byte-level BPE and SentencePiece tokenizers, alone, together, and in a store's contexts."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from analyze.features.token_text import ContextText, text_of_token, token_texts
from data import open_store
from harvest.demo import MODEL as DEMO
from tests.helpers.fixture_types import Command

TEXT = "They liked to share.  你好 🎉 naïve\nNew line"


def sentence_piece() -> Any:
    """A tokenizer as Llama's: ▁ for spaces, one before each text, and bytes where a character has no token."""
    pieces = ["<s>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefghijklmnopqrstuvwxyzTN.你"]
    merges = [("▁", "l"), ("▁", "s"), ("s", "h"), ("▁", "T")]
    pieces += ["".join(pair) for pair in merges]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    strip = decoders.Strip(" ", 1, 0)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


TOKENIZERS = {"byte-level BPE": AutoTokenizer.from_pretrained(DEMO), "SentencePiece": sentence_piece()}


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
@given(texts=st.lists(st.text(alphabet="a b.\n你好é🎉👩‍🚀", max_size=20), min_size=1, max_size=3))
def test_token_texts_join_to_the_texts_and_their_separators(tokenizer: Any, texts: list[str]) -> None:
    separator = tokenizer.eos_token
    ids = [i for text in texts for i in [*ids_of(tokenizer, text), tokenizer.eos_token_id]]
    parts = token_texts(tokenizer, ids)
    assert len(parts) == len(ids)
    assert "".join(parts) == "".join(text + separator for text in texts)


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
def test_token_text_keeps_leading_spaces_and_gives_a_character_to_its_last_token(tokenizer: Any) -> None:
    ids = ids_of(tokenizer, "a bc 🎉 d")
    texts = token_texts(tokenizer, ids)
    assert "".join(texts) == "a bc 🎉 d"
    assert "\ufffd" not in "".join(texts)
    emoji = next(i for i, part in enumerate(texts) if "🎉" in part)
    assert texts[emoji - 1] == ""
    assert "".join(texts[emoji + 1 :]) == " d"


def test_incomplete_character_at_the_end_is_shown_as_replacement() -> None:
    tokenizer = TOKENIZERS["SentencePiece"]
    texts = token_texts(tokenizer, ids_of(tokenizer, "a🎉")[:-1])
    assert "".join(texts[:2]) == "a"
    assert set("".join(texts[2:])) == {"\ufffd"}


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_characters_after_a_cut_one_are_whole(cut: int) -> None:
    tokenizer = TOKENIZERS["SentencePiece"]
    texts = token_texts(tokenizer, ids_of(tokenizer, "🎉🎉🚀好 a")[1 + cut :])
    assert "".join(texts) == "\ufffd" * (4 - cut) + "🎉🚀好 a"


def test_single_token_text_keeps_its_space_and_shows_its_bytes() -> None:
    llama, gpt2 = TOKENIZERS["SentencePiece"], TOKENIZERS["byte-level BPE"]
    pieces = ("▁l", "s", "<0xF0>", "<0x0A>", "</s>")
    pieces = ("▁l", "s", "<0xF0>", "<0x0A>", "</s>")
    assert [text_of_token(llama, llama.convert_tokens_to_ids(piece)) for piece in pieces] == [
        " l", "s", "\\xf0", "\n", "</s>",
    ]  # fmt: skip
    assert [text_of_token(gpt2, i) for i in ids_of(gpt2, " the")] == [" the"]
    assert "".join(text_of_token(gpt2, i) for i in ids_of(gpt2, "🎉")) == "\\xf0\\x9f\\x8e\\x89"


@pytest.fixture(scope="module", params=["byte-level BPE", "SentencePiece"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with one of the tokenizers."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = TOKENIZERS[request.param]
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                    num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=64)
    ).save_pretrained(path)  # fmt: skip
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize("prefix", ["none", "eos"])
def test_context_texts_of_a_store_are_those_of_its_documents(
    prefix: str, model: Path, command: Command, tmp_path: Path
) -> None:
    words, rng = TEXT.split(" "), random.Random(0)
    texts = [" ".join(rng.choices(words, k=20)) for _ in range(60)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    done = command(
        "harvest", "--model", model, "--dataset", tmp_path / "texts.jsonl", "--tokens", "3k", "--context-size", "13",
        "--prefix-token", prefix, "--out", tmp_path / "store.zarr", "--device", "cpu", "--dtype", "float32",
        "--held-out", "50%",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    store, tokenizer = open_store(tmp_path / "store.zarr"), AutoTokenizer.from_pretrained(model)
    contexts = list(range(store.layout.n_heldout_contexts))
    first = int(prefix != "none")
    text = ContextText(tokenizer, store, np.array(contexts))
    whole = [text.texts(i, 0, 13) for i in contexts]
    assert all(len(context) == 13 for context in whole)
    if first:
        assert {context[0] for context in whole} == {tokenizer.eos_token}
    joined = "".join(part for context in whole for part in context[first:]).rstrip("\ufffd")
    documents = list(dict.fromkeys(store.documents(np.array(contexts)).ravel().tolist()))
    assert "".join(texts[i] + tokenizer.eos_token for i in documents).startswith(joined)
    assert len(joined) > 800
    # A window of a context has the same parts as the whole of it.
    assert [text.texts(i, begin, begin + 5) for i in contexts[:20] for begin in range(8)] == [
        whole[i][begin : begin + 5] for i in contexts[:20] for begin in range(8)
    ]


@pytest.mark.parametrize("name", ["models/stories15M", "models/gpt2-tokenizer", "models/stories260K"])
def test_token_texts_of_pretrained_tokenizers_join_to_the_text(name: str) -> None:
    path = Path(__file__).resolve().parents[4] / "shared" / name
    if not path.exists():
        pytest.skip(f"needs {name}, which is not on this machine")
    tokenizer = AutoTokenizer.from_pretrained(path)
    ids = ids_of(tokenizer, TEXT)
    assert "".join(token_texts(tokenizer, ids)) == TEXT
