"""The table of held-out measures that `train` prints."""

from __future__ import annotations

from typing import Any

from train.tables import heldout_table


def record(rows: int, **measures: float | None) -> dict[str, Any]:
    defaults = {"loss": 1.5, "l0": 12.0, "explained_variance": 0.5, "suppression": 0.25, "dead": None}
    defaults["dead_rows"] = None if measures.get("dead") is None else 2048
    return {"rows": rows, **defaults, **measures}


def test_table_has_the_rows_of_each_run_and_means_over_its_layers() -> None:
    records = {
        "baseline": [record(4096, dead=0.25), record(4096, loss=0.5, dead=0.75)],
        "diverged": [record(1024, dead=0.0), record(1024, explained_variance=None, dead=0.0)],
    }
    head, *lines = (line.split() for line in heldout_table(records).splitlines())
    assert head == [
        "held-out",
        "rows",
        "loss",
        "L0",
        "explained",
        "variance",
        "suppression",
        "dead",
        "in",
        "2,048",
        "rows",
    ]
    assert lines == [
        ["baseline", "4,096", "1", "12", "0.5", "0.25", "0.5"],
        ["diverged", "1,024", "1.5", "12", "0.5", "0.25", "0"],
    ]


def test_dead_share_has_no_column_until_it_is_known() -> None:
    head, line, missing = heldout_table({"nsae": [record(512, suppression=None)], "none": []}).splitlines()
    assert "dead" not in head
    assert line.split() == ["nsae", "512", "1.5", "12", "0.5", "–"]
    assert missing.split() == ["none", "–", "–", "–", "–", "–"]
