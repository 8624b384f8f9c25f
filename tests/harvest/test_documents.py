"""Where text comes from, and that an interrupted reading goes on where it stopped."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import InputError
from harvest.documents import BATCH_DOCUMENTS, DatasetChoice, open_source
from harvest.tokens import PIECE_TOKENS, Pretokenized, tokenise

TEXTS = [f"document {i} " + "word " * (i % 7) for i in range(3 * BATCH_DOCUMENTS + 5)]


def write(folder: Path, kind: str) -> Path:
    path = folder / f"texts.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"text": t, "n": i}) + "\n" for i, t in enumerate(TEXTS)))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress("".join(json.dumps({"text": t}) + "\n" for t in TEXTS).encode()))
    elif kind == "parquet":
        pq.write_table(pa.table({"text": TEXTS}), path, row_group_size=100)
    elif kind == "folder":
        path.mkdir()
        for i, part in enumerate((TEXTS[:500], TEXTS[500:])):
            (path / f"part-{i}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in part))
    elif kind == "arrow":
        import datasets

        datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(str(path))
    return path


def read(source, state=None) -> list:
    return [document for batch, _ in source.batches(state) for document in batch]


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "folder", "arrow"])
def test_local_files_give_all_documents_in_order_and_continue_after_any_batch(tmp_path: Path, kind: str) -> None:
    choice = DatasetChoice(str(write(tmp_path, kind)))
    source = open_source(choice)
    assert source.kind == "text"
    states = [json.loads(json.dumps(state)) for _, state in source.batches(None)]
    assert read(open_source(choice)) == TEXTS
    for i, state in enumerate(states):
        assert read(open_source(choice), state) == TEXTS[(i + 1) * BATCH_DOCUMENTS :]


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("one\n\ntwo\nthree")
    assert read(open_source(DatasetChoice(str(tmp_path / "book.txt")))) == ["one\n\ntwo\nthree"]


def test_the_fingerprint_follows_the_content_not_the_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "jsonl")
    one, two = (open_source(DatasetChoice(str(tmp_path / n / "texts.jsonl"))).fingerprint for n in ("a", "b"))
    assert one == two
    with open(tmp_path / "b" / "texts.jsonl", "a", encoding="utf-8") as file:
        file.write('{"text": "more"}\n')
    assert open_source(DatasetChoice(str(tmp_path / "b" / "texts.jsonl"))).fingerprint != one


def test_the_demo_gives_the_same_text_twice_and_continues() -> None:
    source = open_source(DatasetChoice("demo"))
    documents = read(source)
    assert len(documents) > 1000
    assert documents == read(open_source(DatasetChoice("demo")))
    states = [state for _, state in source.batches(None)]
    assert read(source, states[1]) == documents[2 * BATCH_DOCUMENTS :]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", "", "--dataset"),
        ("other.jsonl", '{"body": "x", "n": 1}\n', r"it has body \(str\), n \(int\); name one with --text-column"),
        ("broken.parquet", "not parquet", "--dataset"),
        ("unknown.xyz", "x", "expected files of one format"),
    ],
)
def test_unusable_files_are_refused_with_a_sentence(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        open_source(DatasetChoice(str(tmp_path / name)))


def test_a_folder_of_mixed_formats_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "jsonl")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="found json, text"):
        open_source(DatasetChoice(str(tmp_path)))


def tokens_of(tmp_path: Path, documents: list[list[int]]) -> Path:
    path = tmp_path / "ids.jsonl"
    path.write_text("".join(json.dumps({"input_ids": ids}) + "\n" for ids in documents))
    return path


def stop_after(calls: int):
    seen = []

    def progress(n_tokens: int) -> None:
        seen.append(n_tokens)
        if len(seen) == calls:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_tokenisation_continues_to_the_same_stream(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("harvest.tokens.SYNC_SECONDS", 0.0)  # record after each batch
    rng = np.random.default_rng(0)
    path = tokens_of(tmp_path, [rng.integers(0, 50, rng.integers(1, 30)).tolist() for _ in range(1500)])
    settings = {"n_tokens": 15_000, "slack": 100, "vocab_size": 50}

    def run(folder: Path, progress) -> tuple:
        folder.mkdir(exist_ok=True)
        stream = tokenise(folder, open_source(DatasetChoice(str(path))), Pretokenized(), progress=progress, **settings)
        return stream.tokens.tobytes(), stream.lengths.tolist(), stream.hashes.tolist()

    whole = run(tmp_path / "whole", lambda n: None)
    for calls in (1, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", stop_after(calls))
        with open(tmp_path / "parts" / "tokens.bin", "ab") as file:
            file.write(b"torn")
    assert run(tmp_path / "parts", lambda n: None) == whole
    assert len(whole[0]) // 4 >= 15_100


def test_very_long_documents_are_numbered_in_pieces(tmp_path: Path) -> None:
    path = tokens_of(tmp_path, [[1] * 10, [2] * (2 * PIECE_TOKENS + 5)])
    source = open_source(DatasetChoice(str(path)))
    settings = {"n_tokens": 10**6, "slack": 0, "vocab_size": 50, "progress": lambda n: None}
    stream = tokenise(tmp_path, source, Pretokenized(), **settings)
    assert stream.lengths.tolist() == [10, PIECE_TOKENS, PIECE_TOKENS, 5]
    assert stream.exhausted


def test_token_ids_outside_the_vocabulary_are_refused(tmp_path: Path) -> None:
    source = open_source(DatasetChoice(str(tokens_of(tmp_path, [[1, 2, 50]]))))
    with pytest.raises(InputError, match="token id 50 is outside the model's vocabulary of 50"):
        tokenise(tmp_path, source, Pretokenized(), n_tokens=10, slack=0, vocab_size=50, progress=lambda n: None)
