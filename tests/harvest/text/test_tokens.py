"""Documents become one stream of tokens, the same however often the work is interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import InputError
from harvest.model.base import ModelFacts
from harvest.model.find import find_model
from harvest.text import long_text
from harvest.text.sources import Batch, DatasetChoice, open_source
from harvest.text.token_file import tokenise
from harvest.text.tokenizer import PIECE_TOKENS, HubTokenizer, Pretokenized, cut


def write_ids(tmp_path: Path, documents: list[list[int]]) -> Path:
    path = tmp_path / "ids.jsonl"
    path.write_text("".join(json.dumps({"input_ids": ids}) + "\n" for ids in documents))
    return path


def stop_after(calls: int) -> Callable[[int], None]:
    seen = []

    def progress(n_tokens: int) -> None:
        seen.append(n_tokens)
        if len(seen) == calls:
            raise KeyboardInterrupt

    return progress


def test_interrupted_tokenisation_continues_to_the_same_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvest.text.token_file.SYNC_SECONDS", 0.0)  # record after each batch
    rng = np.random.default_rng(0)
    path = write_ids(tmp_path, [rng.integers(0, 50, rng.integers(1, 30)).tolist() for _ in range(1500)])

    def run(folder: Path, progress: Callable[[int], None]) -> tuple[Any, ...]:
        folder.mkdir(exist_ok=True)
        source = open_source(DatasetChoice(str(path)))
        stream = tokenise(folder, source, Pretokenized("ids", 50), n_tokens=15_100, progress=progress)
        return stream.tokens.tobytes(), stream.lengths.tolist(), stream.hashes.tolist()

    whole = run(tmp_path / "whole", lambda n: None)
    for calls in (1, 300, 400):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", stop_after(calls))
        with open(tmp_path / "parts" / "tokens.bin", "ab") as file:
            file.write(b"torn")
    assert run(tmp_path / "parts", lambda n: None) == whole
    assert len(whole[0]) // 4 >= 15_100


@pytest.mark.parametrize("file", ["tokens.bin", "documents.bin", "cursor.json"])
def test_changed_token_files_of_a_stopped_harvest_are_tokenised_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    monkeypatch.setattr("harvest.text.token_file.SYNC_SECONDS", 0.0)  # record after each batch
    rng = np.random.default_rng(0)
    path = write_ids(tmp_path, [rng.integers(0, 50, rng.integers(1, 30)).tolist() for _ in range(1500)])

    def run(progress: Callable[[int], None]) -> tuple[Any, ...]:
        source = open_source(DatasetChoice(str(path)))
        stream = tokenise(tmp_path, source, Pretokenized("ids", 50), n_tokens=15_100, progress=progress)
        content = stream.tokens.tobytes(), stream.lengths.tolist(), stream.hashes.tolist()
        flip()
        return content

    def flip() -> None:
        data = bytearray((tmp_path / file).read_bytes())
        data[len(data) // 3] ^= 2
        (tmp_path / file).write_bytes(data)

    with pytest.raises(KeyboardInterrupt):
        run(stop_after(600))
    flip()
    assert run(lambda n: None) == run(lambda n: None)
    errors = capsys.readouterr().err
    assert errors.count(f"{tmp_path / file} is damaged") == errors.count("tokenised again") == 2


def test_very_long_documents_are_split_into_numbered_documents(tmp_path: Path) -> None:
    path = write_ids(tmp_path, [[1] * 10, [2] * (2 * PIECE_TOKENS + 5), [3] * PIECE_TOKENS])
    source = open_source(DatasetChoice(str(path)))
    stream = tokenise(tmp_path, source, Pretokenized("ids", 50), n_tokens=10**6, progress=lambda n: None)
    assert stream.lengths.tolist() == [10, PIECE_TOKENS, PIECE_TOKENS, 5, PIECE_TOKENS]
    assert stream.exhausted


def test_a_sequence_in_parts_is_cut_into_equal_pieces() -> None:
    parts = [np.arange(a, b) for a, b in ((0, 3), (3, 3), (3, 10), (10, 12))]
    assert [piece.tolist() for piece in cut(parts, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert [len(piece) for piece in cut(parts, 5)] == [5, 5, 2]


@pytest.mark.parametrize("bad", [50, -100])
def test_token_ids_outside_the_vocabulary_are_named_with_their_row(tmp_path: Path, bad: int) -> None:
    source = open_source(DatasetChoice(str(write_ids(tmp_path, [[1, 2, 49], [5, bad, 7]]))))
    with pytest.raises(InputError, match=rf"row 2 \(counting from 1\) has token id {bad}, outside .* of 50"):
        tokenise(tmp_path, source, Pretokenized("ids", 50), n_tokens=10, progress=lambda n: None)


def test_tokenisation_stops_at_the_wanted_number_of_tokens(tmp_path: Path) -> None:
    path = write_ids(tmp_path, [[1] * (50 * PIECE_TOKENS)])
    source = open_source(DatasetChoice(str(path)))
    stream = tokenise(tmp_path, source, Pretokenized("ids", 50), n_tokens=PIECE_TOKENS + 1, progress=lambda n: None)
    assert len(stream.tokens) == 2 * PIECE_TOKENS


def make_tokenizer(path: Path, **options: Any) -> HubTokenizer:
    facts = ModelFacts(str(path), path.name, None, 1, 1, None, 10**6)
    return HubTokenizer(facts, **({"separator": "none", "special_tokens": "text"} | options))


def encode(tokenizer: HubTokenizer, text: str) -> list[int]:
    return np.concatenate(list(tokenizer.encode(Batch([text], ["row 1"], 0, {})))).tolist()


def test_text_that_spells_a_special_token_is_plain_text_unless_parsing_is_set() -> None:
    demo = Path(find_model("demo", None).name)
    text, parsed = make_tokenizer(demo), make_tokenizer(demo, special_tokens="parse")
    eos = text.tokenizer.eos_token
    spelled = f"one{eos}two"
    assert text.tokenizer.eos_token_id not in encode(text, spelled)
    assert text.tokenizer.decode(encode(text, spelled)) == spelled
    assert text.tokenizer.eos_token_id in encode(parsed, spelled)
    assert encode(text, "one two") == encode(parsed, "one two")


TEXTS = {
    "words": " ".join(f"The {i}th word, it's {i * i}.\n" + "  " * (i % 5) for i in range(400)),
    "without spaces": "".join(chr(0x4E00 + i * i % 5000) for i in range(4000)) + "🎉" * 900,
    "one character": "a" * 5000,
    "spaces": "x" + " " * 4000 + "y\n" + "\n" * 3000,
}


@pytest.mark.parametrize("model", ["demo", "stories260K", "gpt2-tokenizer"])
@pytest.mark.parametrize("text", TEXTS)
def test_long_text_tokenised_in_parts_has_the_tokens_of_the_whole(
    model: str, text: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    stories = None if model == "demo" else request.getfixturevalue("stories260k")
    path = Path(find_model("demo", None).name) if stories is None else stories.parent / model
    tokenizer = make_tokenizer(path)
    whole = tokenizer.tokenizer(TEXTS[text], add_special_tokens=False)["input_ids"]
    monkeypatch.setattr(long_text, "PIECE", 700)
    monkeypatch.setattr(long_text, "OVERLAP", 200)
    assert encode(tokenizer, TEXTS[text]) == whole


def test_long_text_without_common_tokens_in_the_overlap_keeps_its_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_text, "PIECE", 100)
    monkeypatch.setattr(long_text, "OVERLAP", 10)
    text = "".join(chr(97 + i % 26) for i in range(1000))

    def threes(
        texts: Sequence[str],
    ) -> list[long_text.Tokens]:  # tokens of three characters, counted from where the text begins
        spans = [np.array([(i, min(i + 3, len(t))) for i in range(0, len(t), 3)]) for t in texts]
        return [long_text.Tokens(s[:, 0] % 7, s) for s in spans]

    ids = np.concatenate(list(long_text.tokenise_long(text, threes)))
    assert len(ids) == pytest.approx(len(text) / 3, abs=len(text) / 100)
