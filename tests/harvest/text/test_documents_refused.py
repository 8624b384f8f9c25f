"""Datasets that cannot be read are refused with one sentence that names the file and the row."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from data import InputError
from harvest.text.sources import DatasetChoice, open_source
from tests.helpers.text_files import LINES, open_path, read, write


def test_an_empty_dataset_that_was_saved_has_no_documents(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": []}).save_to_disk(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="it has no documents"):
        open_path(tmp_path / "empty")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": 7}, r"has a number \(7\) in its column text"),
        ({"text": ["a"]}, "has a list in its column text"),
        ({"text": {"a": 1}}, "has an object in its column text"),
        ({"text": True}, r"has a truth value \(True\) in its column text"),
    ],
)
def test_row_whose_text_is_not_a_string_is_named(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    rows = [{"text": "a"}, {"text": None}, row, {"text": "b"}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(InputError, match=rf"t\.jsonl: row 3 \(counting from 1\) {problem}"):
        read(open_path(tmp_path / "t.jsonl"))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"input_ids": [1, None]}, "has a null in its column input_ids"),
        ({"input_ids": [1, 2.0]}, r"has a number \(2.0\) in its column input_ids"),
        ({"input_ids": [[1, 2], [3, 4]]}, "has a list in its column input_ids"),
        ({"input_ids": [[1, 2], [3]]}, "has a list in its column input_ids"),
        ({"input_ids": [True, False]}, "has a truth value"),
        ({"input_ids": ["1"]}, "has text in its column input_ids"),
        ({"input_ids": [1, 1 << 63]}, r"has a number \(9223372036854775808\)"),
        ({"input_ids": [1, 1 << 70]}, r"has a number \(1180591620717411303424\)"),
        ({"input_ids": "1 2"}, "has text in its column input_ids"),
        ({"input_ids": 3}, r"has a number \(3\) in its column input_ids"),
        ({"input_ids": [1, 2], "attention_mask": [1]}, "has 2 token ids and 1 entries in its attention_mask"),
        ({"input_ids": [1, 2], "attention_mask": [1, -1]}, "has an attention_mask that is not a list of 0 and 1"),
        ({"input_ids": [1, 2], "attention_mask": [[1], [1]]}, "has an attention_mask that is not a list of 0 and 1"),
        ({"input_ids": [1, 2], "attention_mask": None}, "has an attention_mask that is not a list of 0 and 1"),
    ],
)
def test_a_row_of_bad_token_ids_is_named(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    rows = [{"input_ids": [1], "attention_mask": [1]}, {"attention_mask": [1] * 2} | row]
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(InputError, match=rf"row 2 \(counting from 1\) {problem}"):
        read(open_path(tmp_path / "ids.jsonl"))


def test_a_bad_row_in_a_folder_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\n\n{"text": 1}\n')
    with pytest.raises(InputError, match=r"b\.jsonl, row 2 \(counting from 1\) has a number"):
        read(open_path(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "it has no documents"),
        ("empty.json", b"[]", "it has no documents"),
        ("empty.txt", b"", "it has no documents"),
        ("blank.jsonl", b"\n \n", "it has no documents"),
        ("other.jsonl", b'{"body": "x", "n": 1}\n', r"it has body \(str\), n \(int\); name one with --text-column"),
        ("broken.parquet", b"not parquet", "is it damaged"),
        ("broken.jsonl.gz", gzip.compress(LINES)[:-300], "is it damaged"),
        ("broken.jsonl.zst", zstandard.compress(LINES)[:-300], "is it damaged"),
        ("broken.jsonl.xz", lzma.compress(LINES)[:-300], "is it damaged"),
        ("unknown.xyz", b"x", "expected a file of one format"),
        ("latin1.txt", "café".encode("latin-1"), r"row 1 \(counting from 1\) is not UTF-8 \(byte 0xe9 at 3\)"),
        ("utf16.txt", "text".encode("utf-16"), "is not UTF-8"),
        ("latin1.jsonl", b'{"text": "a"}\n{"text": "\xe9"}\n', r"row 2 \(counting from 1\) is not UTF-8"),
        ("torn.jsonl", b'{"text": "a"}\n{"text": "b', r"row 2 \(counting from 1\) is not JSON"),
        ("lines.jsonl", b'"a"\n"b"\n', r"row 1 \(counting from 1\) is not a JSON object"),
        ("deep.jsonl", b'{"text": "a"}\n' + b"[" * 99_999 + b"\n", r"row 2 \(counting from 1\) is not JSON"),
        ("pointer.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a Git LFS pointer"),
    ],
)
def test_unusable_files_are_refused_with_a_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"^--dataset .*{message}"):
        read(open_path(tmp_path / name))


def test_a_folder_of_mixed_formats_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "jsonl")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"found json \(texts.jsonl\), text \(notes.txt\)"):
        open_path(tmp_path)


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("demo", {"split": "train"}, "--dataset-split train does not apply to demo"),
        ("demo", {"column": "text"}, "--text-column text does not apply to demo"),
        ("jsonl", {"config": "en"}, "--dataset-config en does not apply to local files"),
        ("jsonl", {"split": "train"}, "--dataset-split train does not apply"),
        ("saved", {"split": "train"}, "--dataset-split train does not apply"),
        ("jsonl", {"column": "body"}, "no column body"),
    ],
)
def test_dataset_options_that_do_not_apply_are_refused(
    tmp_path: Path, dataset: str, options: dict[str, Any], message: str
) -> None:
    name = "demo" if dataset == "demo" else str(write(tmp_path, dataset))
    with pytest.raises(InputError, match=message):
        open_source(DatasetChoice(name, **options))


def test_parquet_files_of_other_columns_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"body": ["b"]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet, row 1 .* has no column text"):
        read(open_path(tmp_path))
