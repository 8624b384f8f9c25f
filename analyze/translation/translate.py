"""Measure SAEs as other libraries do, on a store's held-out rows and in its language model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from analyze.measure.evaluate import measure_heldout
from analyze.measure.heldout import Heldout
from analyze.measure.patching.model import PatchableModel
from analyze.measure.patching.patch import patch
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import MeasureRow, measure_rows
from analyze.tables import markdown, with_interval
from analyze.translation.formulas import LIBRARIES
from data.store.reader import Store
from data.store.stats import Subset

WITHOUT_SPECIAL = "without special tokens"


def special_tokens(store: Store) -> tuple[int, ...]:
    """Return the ids of the separator and the prefix token, which the harvest put into the text."""
    tokens = store.provenance.get("tokens", {})
    known = (tokens.get(name) for name in ("separator_token", "prefix_token"))
    return tuple(sorted({token for token in known if token is not None}))


def translate_rows(
    heldout: Heldout, runs: Sequence[TrainedRun], libraries: Sequence[str], *, seed: int = 0,
    device: torch.device | str = "cpu",
) -> list[MeasureRow]:  # fmt: skip
    """Return the measures of the libraries that need no language model, over all positions.

    Each reads the rows once more, because the libraries differ in which tokens they leave out. Shares of features have
    no interval.
    """
    variants = {run.name: run.variant for run in runs}
    rows: list[MeasureRow] = []
    for library in (LIBRARIES[name] for name in libraries):
        special = () if library.counts_special else special_tokens(heldout.store)
        counted, subset = heldout.without_tokens(special), WITHOUT_SPECIAL if special else Subset.ALL
        estimates, activity = measure_heldout(counted, runs, measures=library.rows, seed=seed, device=device)
        rows += [replace(row, subset=subset) for row in measure_rows(estimates, runs) if row.subset == Subset.ALL]
        rows += [
            MeasureRow(
                fires.run.name, variants[fires.run.name], fires.hook, fires.noise, subset, measure.name,
                float(measure.compute(fires.all)), math.nan, math.nan, math.nan,
            )
            for fires in activity for measure in library.features if measure.compute is not None
        ]  # fmt: skip
    return rows


def translate_losses(
    model: PatchableModel, heldout: Heldout, runs: Sequence[TrainedRun], libraries: Sequence[str], *, seed: int = 0,
    contexts_at_once: int = 4, device: torch.device | str = "cpu",
) -> list[MeasureRow]:  # fmt: skip
    """Return the measures of the libraries that run the language model. Each library takes passes of its own."""
    rows: list[MeasureRow] = []
    for library in (LIBRARIES[name] for name in libraries):
        special = () if library.counts_special else special_tokens(heldout.store)
        estimates = patch(
            model, heldout, runs, measures=library.patched, uncounted=special, keep_uncounted=library.keeps_special,
            seed=seed, contexts_at_once=contexts_at_once, device=device,
        )  # fmt: skip
        subset = WITHOUT_SPECIAL if special else Subset.ALL
        rows += [replace(row, subset=subset) for row in measure_rows(estimates, runs)]
    return rows


def as_table(rows: Sequence[MeasureRow], libraries: Sequence[str]) -> str:
    """Return a Markdown table with a row per SAE, noise off and on, and the libraries' measures as columns."""
    measured = {row.measure for row in rows}
    columns = [
        measure
        for library in (LIBRARIES[name] for name in libraries)
        for measure in (*library.rows, *library.features, *library.patched) if measure.name in measured
    ]  # fmt: skip
    by_sae: dict[tuple[str, str, bool], dict[str, str]] = {}
    for row in rows:
        cells = by_sae.setdefault((row.hook, row.run, row.noise), {})
        cells[row.measure] = with_interval(row.value, row.low, row.high)
    lines = [
        [hook, run, "on" if noise else "off", *(cells[measure.name] for measure in columns)]
        for (hook, run, noise), cells in by_sae.items()
    ]
    return markdown(["hook", "run", "noise", *(measure.title for measure in columns)], lines)
