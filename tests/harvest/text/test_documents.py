"""Every format of text and tokens is read as it is, and an interrupted reading goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from data import InputError
from harvest.text.sources import BATCH_DOCUMENTS, DatasetChoice, open_source
from tests.helpers.text_files import COMPRESS, LINES, TEXTS, open_path, read, write

KINDS = ["jsonl", "json", "parquet", "folder", "saved", "saved dict"]
KINDS += [f"{name}.{compression}" for name in ("jsonl", "json", "parquet") for compression in COMPRESS]


@pytest.mark.parametrize("kind", KINDS)
def test_local_files_give_all_documents_in_order_and_continue_after_any_batch(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    source = open_path(path)
    assert source.kind == "text"
    states = [json.loads(json.dumps(batch.state)) for batch in source.batches(None)]
    assert len(states) == 4
    assert read(open_path(path)) == TEXTS
    for i, state in enumerate(states):
        assert read(open_path(path), state) == TEXTS[(i + 1) * BATCH_DOCUMENTS :]


@pytest.mark.parametrize("name", ["book.txt", "book.md", *(f"book.txt.{compression}" for compression in COMPRESS)])
def test_a_text_file_is_one_document_with_unix_line_ends_and_no_byte_order_mark(tmp_path: Path, name: str) -> None:
    content = "\ufeffone\r\n\r\nzwei: ä\rthree\n".encode()
    (tmp_path / name).write_bytes(COMPRESS.get(name.rsplit(".")[-1], bytes)(content))
    assert read(open_path(tmp_path / name)) == ["one\n\nzwei: ä\nthree\n"]


def test_document_batches_are_smaller_for_large_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvest.text.sources.BATCH_SIZE", 100)
    source = open_path(write(tmp_path, "jsonl"))
    assert max(len(batch.documents) for batch in source.batches(None)) <= 100 // len(TEXTS[0]) + 1
    assert read(source) == TEXTS


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("bom.jsonl", b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "b"}\r\n', ["a", "b"]),
        ("no end of line.jsonl", b'{"text": "a"}\n{"text": "b\\u2028c"}', ["a", "b\u2028c"]),
        ("separator in a line.jsonl", '{"text": "a\u2028b\u0085c"}\n'.encode(), ["a\u2028b\u0085c"]),
        ("lines.json", b'{"text": "a"}\n{"text": "b"}\n', ["a", "b"]),
        ("one object.json", b'{\n "text": "a"\n}\n', ["a"]),
        ("array.jsonl", b'[{"text": "a"}, {"text": "b"}]', ["a", "b"]),
        ("surrogate.jsonl", b'{"text": "a\\ud800b"}\n{"text": "\\ud83d\\ude00"}\n', ["a\ufffdb", "😀"]),
        ("date.jsonl", b'{"text": "2020-01-01"}\n', ["2020-01-01"]),
        ("empty first.jsonl", b'{"text": ""}\n{"text": "b"}\n', ["", "b"]),
        ("later column.jsonl", b'{"id": 1}\n{"text": "b"}\n', ["b"]),
    ],
)
def test_json_of_every_layout_is_read(tmp_path: Path, name: str, content: bytes, texts: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    assert read(open_path(tmp_path / name)) == texts


@pytest.mark.parametrize("folder", ["brackets [a]", "star*?", "ü 文", "a::b", "per%20cent#1", ".hidden"])
def test_any_name_of_a_folder_is_taken_literally(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder
    path.mkdir()
    (path / "texts [1].jsonl").write_bytes(LINES)
    assert read(open_path(path)) == read(open_path(path / "texts [1].jsonl")) == TEXTS


def test_links_to_files_and_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "blobs" / "below").mkdir(parents=True)
    (tmp_path / "blobs" / "1234").write_text('{"text": "a"}\n')
    (tmp_path / "blobs" / "below" / "b.jsonl").write_text('{"text": "b"}\n')
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jsonl").symlink_to(tmp_path / "blobs" / "1234")
    (tmp_path / "set" / "below").symlink_to(tmp_path / "blobs" / "below")
    (tmp_path / "blobs" / "below" / "again").symlink_to(tmp_path / "set")
    assert read(open_path(tmp_path / "set")) == ["a", "b"]


def test_a_clone_of_a_dataset_repository_gives_its_data_files(tmp_path: Path) -> None:
    for name in ("README.md", "LICENSE.txt", ".gitattributes", "dataset_infos.json", ".git/x.jsonl", ".cache/y.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("---\nlicense: mit\n---\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("# Two files\n")
    (tmp_path / "data" / "b.jsonl").write_text('{"text": "b"}\n')
    (tmp_path / "data" / "a.jsonl").write_text('{"text": "a"}\n')
    assert read(open_path(tmp_path)) == ["a", "b"]


def test_text_folder_gives_its_texts_without_the_readme(tmp_path: Path) -> None:
    for name in ("README.md", "one.txt", "two.md"):
        (tmp_path / name).write_text(name)
    assert read(open_path(tmp_path)) == ["one.txt", "two.md"]
    for name in ("one.txt", "two.md"):
        (tmp_path / name).unlink()
    assert read(open_path(tmp_path)) == ["README.md"]
    (tmp_path / "texts.csv").write_text("text\n")
    with pytest.raises(InputError, match="found none"):
        open_path(tmp_path)


def test_files_named_after_splits_are_read_by_split(tmp_path: Path) -> None:
    for name in ("train/00", "train/01", "val/00", "test/00"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jsonl.zst").write_bytes(zstandard.compress(json.dumps({"text": name}).encode()))
    assert read(open_path(tmp_path)) == ["train/00", "train/01"]
    assert open_path(tmp_path).split == "train"
    assert read(open_path(tmp_path, split="validation")) == read(open_path(tmp_path, split="val")) == ["val/00"]
    with pytest.raises(InputError, match=r"--dataset-split other: there are test, train, validation"):
        open_path(tmp_path, split="other")


def test_a_saved_dataset_dict_gives_the_split_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "saved dict")
    assert read(open_path(path, split="test")) == ["not these"]
    with pytest.raises(InputError, match=r"--dataset-split val: there are test, train"):
        open_path(path, split="val")


def test_a_saved_dataset_with_a_torch_format_is_read(tmp_path: Path) -> None:
    columns = {"input_ids": [[1, 2, 3], [4]], "attention_mask": [[1, 1, 0], [1]]}
    datasets.Dataset.from_dict(columns).with_format("torch").save_to_disk(str(tmp_path / "ids"))
    assert [ids.tolist() for ids in read(open_path(tmp_path / "ids"))] == [[1, 2], [4]]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "saved"])
def test_nulls_are_empty_documents_and_counted(tmp_path: Path, kind: str) -> None:
    texts = [None, "a", None, "b"]
    path = tmp_path / f"t.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    elif kind == "parquet":
        pq.write_table(pa.table({"text": texts}), path)
    else:
        datasets.Dataset.from_dict({"text": texts}).save_to_disk(str(path))
    (batch,) = open_path(path).batches(None)
    assert (batch.documents, batch.n_null) == (["a", "b"], 2)


@pytest.mark.parametrize("mask", [[1, 1, 0, 0], [0, 0, 1, 1], [True, False, True, False], [1.0, 0.0, 0.0, 1.0]])
def test_masked_tokens_are_left_out_and_labels_ignored(tmp_path: Path, mask: list[Any]) -> None:
    row = {"labels": [-100] * 4, "input_ids": [5, 6, 7, 8], "attention_mask": mask}
    (tmp_path / "ids.jsonl").write_text(json.dumps(row) + "\n")
    (ids,) = read(open_path(tmp_path / "ids.jsonl"))
    assert ids.tolist() == [i for i, real in zip([5, 6, 7, 8], mask, strict=True) if real]


def test_a_mask_applies_to_the_rows_that_have_one(tmp_path: Path) -> None:
    rows = [{"input_ids": [5, 6]}, {"input_ids": [0, 7], "attention_mask": [0, 1]}]
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "files").mkdir()
    for i, row in enumerate([*rows, rows[0]]):
        pq.write_table(pa.Table.from_pylist([row | {"labels": [-100]}]), tmp_path / "files" / f"{i}.parquet")
    assert [ids.tolist() for ids in read(open_path(tmp_path / "lines.jsonl"))] == [[5, 6], [7]]
    assert [ids.tolist() for ids in read(open_path(tmp_path / "files"))] == [[5, 6], [7], [5, 6]]


def test_dataset_fingerprint_depends_on_content_not_on_path(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "jsonl")
    one, two = (open_path(tmp_path / n / "texts.jsonl").fingerprint for n in ("a", "b"))
    assert one == two


@pytest.mark.parametrize("kind", ["jsonl", "saved"])
def test_dataset_fingerprint_changes_with_one_byte_in_the_middle(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    before = open_path(path).fingerprint
    file = next(path.glob("*.arrow")) if path.is_dir() else path
    with open(file, "r+b") as opened:
        opened.seek(file.read_bytes().index(b"document 150"))
        opened.write(b"D")
    assert open_path(path).fingerprint != before


def test_demo_dataset_is_deterministic_and_resumable() -> None:
    source = open_source(DatasetChoice("demo"))
    documents = read(source)
    assert len(documents) > 1000
    assert documents == read(open_source(DatasetChoice("demo")))
    states = [batch.state for batch in source.batches(None)]
    assert read(source, states[1]) == documents[2 * BATCH_DOCUMENTS :]


def test_token_ids_keep_their_values_in_every_format(tmp_path: Path) -> None:
    documents = [[1, 2, 3], [], None, [np.iinfo(np.int32).max]]
    pq.write_table(pa.table({"input_ids": pa.array(documents, pa.list_(pa.int32()))}), tmp_path / "ids.parquet")
    (batch,) = open_path(tmp_path / "ids.parquet").batches(None)
    assert ([ids.tolist() for ids in batch.documents], batch.n_null) == ([[1, 2, 3], [], [2147483647]], 1)
