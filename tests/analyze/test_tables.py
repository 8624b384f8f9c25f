"""CSV cells."""

from __future__ import annotations

from analyze.tables import as_csv


def test_unknown_and_not_finite_values_are_empty_cells_and_lists_have_spaces() -> None:
    rows = [
        {"a": None, "b": float("nan"), "c": float("inf"), "d": [1, None, float("nan"), "x"], "e": False},
        {"a": 0, "b": 0.5, "c": "x, y", "d": [], "e": True},
    ]
    assert as_csv(rows).splitlines() == ["a,b,c,d,e", ",,,1   x,False", '0,0.5,"x, y",,True']
    assert as_csv([]) == "\n"
