"""The last sections of the report: every setting, how the store was made, and the commands that repeat the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from analyze.report import html
from analyze.report.data import RunRow
from analyze.report.html import Columns
from analyze.report.pages.content import Content
from analyze.runs.repeat import commands
from data.command.json_text import json_text

TITLES = {"l1": "α", "sigma": "σ", "l1_power": "power of the norm in α", "trained": "rows trained",
          "planned": "rows planned", "dtype": "stored type", "l1_warmup": "α warm-up",
          "lr_warmup": "lr warm-up"}  # fmt: skip
NOT_SHOWN = ("precision", "finished", "settled")  # they are in the report's files
IF_DIFFERENT = ("dtype", "clip", "adam_beta1", "adam_beta2", "adam_epsilon")  # shown only if runs differ in them


def section(content: Content) -> dict[str, Any]:
    """Return what templates/settings.html shows of the report."""
    store, runs, rows = content.scope.store, content.measurements.runs, content.tables.runs
    columns: Columns[RunRow] = [(title, _setting(name)) for name, title in setting_columns(rows).items()]
    return {
        "table": html.table(rows, [("run", lambda row: row.run), *columns]),
        "provenance": json_text(store.provenance),
        "runs": [(run.name, json_text(run.settings.to_json())) for run in runs],
        "commands": "\n".join(filter(None, [*commands(store, runs), content.command])),
    }


def _setting(name: str) -> Callable[[RunRow], html.Content]:
    return lambda row: row.settings[name]


def setting_columns(rows: Sequence[RunRow]) -> dict[str, str]:
    """Return the settings that the table shows, with their titles."""
    names = [name for name in (rows[0].settings if rows else {}) if name not in NOT_SHOWN]
    shown = [name for name in names if name not in IF_DIFFERENT or len({row.settings[name] for row in rows}) > 1]
    titles = TITLES | ({"l1": "α, at first"} if any(row.settings.get("target_l0") for row in rows) else {})
    return {name: titles.get(name, name.replace("_", " ")) for name in shown}
