"""Defaults that follow `--activations`: the post's values (Table A2) at its 100M rows, in proportion at other lengths.

--activations         100M, or the preset's
--validate-every      a twentieth: 5M of 100M
--validate-rows       a two-hundredth, from 2k to 50k
--log-every           a thousandth: 100k of 100M
--window              a fifth, at most 1M
--resample-interval   twice --activations, so a run is never resampled
--resample-window     half of --resample-interval
--batch-size          4096, or the preset's; all rows of the store or of --activations if these are fewer
--resample-rows       100k, or all rows of the store if these are fewer
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from train.command.options import Options
from train.presets import suite_value, table_a2

# Fewest, most. Twenty validations of a two-hundredth each measure a tenth as many rows as are trained on.
VALIDATE_ROWS = (2_000, 50_000)
LONGEST_WINDOW = 1_000_000  # rows in which a feature that is not dead fires at least once


@dataclass(frozen=True)
class RowCounts:
    """`--activations`, and the options that follow it, in rows: as given, or else their defaults."""

    activations: int
    validate_every: int
    validate_rows: int
    log_every: int
    window: int
    resample_interval: int
    resample_window: int
    resample_rows: int
    batch_size: int


FOLLOWING = tuple(field.name for field in fields(RowCounts))


def row_counts(options: Options, n_rows: int | None = None) -> RowCounts:
    """Complete the options that follow `--activations`; `n_rows`: the store's training rows, None if unknown."""
    post, named = table_a2(), options.preset or ()
    total = options.activations or suite_value(named, "activations")
    batch_size = options.batch_size or suite_value(named, "batch_size")
    interval = options.resample_interval or post["resample_interval"] * total // post["activations"]
    defaults = RowCounts(
        activations=total,
        validate_every=post["validate_every"] * total // post["activations"],
        validate_rows=min(max(total // 200, VALIDATE_ROWS[0]), VALIDATE_ROWS[1]),
        log_every=total // 1000,
        window=min(total // 5, LONGEST_WINDOW),
        resample_interval=interval,
        resample_window=interval * post["resample_window"] // post["resample_interval"],
        resample_rows=post["resample_rows"] if n_rows is None else min(post["resample_rows"], n_rows),
        batch_size=min(batch_size, total, total if n_rows is None else n_rows),
    )
    chosen = {name: getattr(options, name) for name in FOLLOWING}
    return RowCounts(
        **{name: max(getattr(defaults, name), 1) if chosen[name] is None else chosen[name] for name in FOLLOWING}
    )
