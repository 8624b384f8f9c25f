"""The tables of docs/scale.md are those that benchmarks/harvest/plan.py prints."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "harvest" / "plan.py"))


@pytest.fixture(scope="module")
def tables() -> list[str]:
    return list(SCRIPT["tables"]())


def test_tables_of_the_page_are_those_of_the_script(tables: list[str]) -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    missing = [line for table in tables for line in table.splitlines() if line not in page.splitlines()]
    assert not missing
    assert all(table in page for table in tables)
