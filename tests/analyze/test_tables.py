"""CSV cells, and what hooks are called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analyze.tables import as_csv, as_json, layers


@dataclass(frozen=True)
class Cells:
    a: int | None
    b: float
    c: float | str
    d: list[Any]
    e: bool


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True)
class Nested:
    share_09: float = field(metadata={"column": "share_0.9"})
    interval: Interval
    settings: Mapping[str, Any]
    names: list[str]


def test_csv_cells_of_nan_are_empty_and_lists_are_separated_by_spaces() -> None:
    rows = [
        Cells(None, float("nan"), float("inf"), [1, None, float("nan"), "x"], e=False),
        Cells(0, 0.5, "x, y", [], e=True)
    ]  # fmt: skip
    assert as_csv(rows).splitlines() == ["a,b,c,d,e", ",,,1   x,False", '0,0.5,"x, y",,True']
    assert as_csv([]) == "\n"


def test_columns_of_json_and_csv_are_those_of_nested_rows_and_mappings() -> None:
    row = Nested(0.5, Interval(0.25, float("nan")), {"lr": 1, "betas": [0.5, 1]}, ["x", "y"])
    columns = {"share_0.9": 0.5, "low": 0.25, "high": None, "lr": 1, "betas": [0.5, 1], "names": ["x", "y"]}
    assert list(json.loads(as_json({"rows": [row]}))["rows"][0].items()) == list(columns.items())
    assert as_csv([row]).splitlines() == ["share_0.9,low,high,lr,betas,names", "0.5,0.25,,1,0.5 1,x y"]


def test_hooks_of_one_block_are_labelled_by_their_full_names() -> None:
    one_kind = ["blocks.0.hook_mlp_out", "blocks.11.hook_mlp_out", "ln_final.hook_normalized"]
    assert layers(one_kind) == ["0", "11", "ln_final.hook_normalized"]
    two_kinds = ["blocks.0.hook_mlp_out", "blocks.0.hook_resid_post", "blocks.1.hook_mlp_out"]
    assert layers(two_kinds) == two_kinds
