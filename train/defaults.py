"""Defaults that follow `--activations`: the post's values (Table A2) at its 100M rows, in proportion at other lengths.

--validate-every      a twentieth: 5M of 100M
--log-every           a thousandth: 100k of 100M
--window              a fifth, at most 1M
--resample-interval   twice as much: no restart within the run
--resample-window     half of --resample-interval
--batch-size          4096, or all rows of the store or of --activations where these are fewer
--resample-rows       100k, or all rows of the store where these are fewer
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from train.presets import presets

VALIDATE_ROWS = (5_000, 50_000)  # fewest, most
LONGEST_WINDOW = 1_000_000  # rows in which a live feature fires at least once
FOLLOWING = (
    "validate_every", "validate_rows", "log_every", "window", "resample_interval", "resample_window", "resample_rows",
    "batch_size",
)  # fmt: skip


def with_defaults(options: Mapping[str, Any], n_rows: int | None = None) -> dict[str, Any]:
    """The options (name → value, None where left open), with values for those of `FOLLOWING` that are left open.

    `n_rows` is the number of the store's training rows; None where no store is named.
    """
    post, total = presets()["shared"], options["activations"]
    interval = options["resample_interval"] or post["resample_interval"] * total // post["activations"]
    defaults = {
        "validate_every": post["validate_every"] * total // post["activations"],
        "validate_rows": min(max(total // 50, VALIDATE_ROWS[0]), VALIDATE_ROWS[1]),
        "log_every": total // 1000,
        "window": min(total // 5, LONGEST_WINDOW),
        "resample_interval": interval,
        "resample_window": interval * post["resample_window"] // post["resample_interval"],
        "resample_rows": post["resample_rows"] if n_rows is None else min(post["resample_rows"], n_rows),
        "batch_size": min(post["batch_size"], total, total if n_rows is None else n_rows),
    }
    return {**options, **{name: max(defaults[name], 1) for name in FOLLOWING if options[name] is None}}
