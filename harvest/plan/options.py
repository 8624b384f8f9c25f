"""The options of `harvest --plan`."""

from __future__ import annotations

import re
from typing import Any

import click

from data.command.base import GroupedOption
from data.command.option_types import Count, Number, excludes, shown
from harvest.plan.measured import GPU_TFLOPS

GROUP = "Plan"
EXPANSION = 16.0  # default of `train`
BYTES = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


class Bandwidth(click.ParamType[float]):
    """Bytes per second: a number with a unit, such as `5GB/s` or `25Gbit/s`."""

    name = "bandwidth"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([KMGT])(B|bit)/s", str(value), re.IGNORECASE)
        if match is None or float(match[1]) == 0:
            self.fail(f"{shown(value)} is not a bandwidth; give one such as 5GB/s, 800MB/s or 25Gbit/s", param, ctx)
        unit = BYTES[match[2].upper()] / (1 if match[3].upper() == "B" else 8)
        return float(match[1]) * unit


PLAN_OPTIONS: list[click.Parameter] = [
    GroupedOption(
        ["--plan"], is_flag=True, group=GROUP, callback=excludes("dry_run"),
        help="Print the size of the store, GPU hours, and what limits the harvest and training on it, by arithmetic "
        "from the model's configuration and speeds measured on an H200.",
    ),
    GroupedOption(
        ["--gpus"], type=Count(), default=1, show_default=True, group=GROUP,
        help="Number of GPUs that harvest in the plan.",
    ),
    GroupedOption(
        ["--gpu-tflops"], type=Number(0, above=True), default=GPU_TFLOPS, show_default=True, group=GROUP,
        help="Measured speed of large matrix products on one GPU of the plan, in TFLOP/s; the default is an H200's in "
        "bfloat16.",
    ),
    GroupedOption(
        ["--disk"], type=Bandwidth(), group=GROUP,
        help="Speed of the disk that all GPUs of the plan share, such as 5GB/s.  [default: no limit]",
    ),
    GroupedOption(
        ["--network"], type=Bandwidth(), group=GROUP,
        help="Speed of the plan's network to an object store, for all machines together, such as 25Gbit/s.  [default: "
        "no limit]",
    ),
    GroupedOption(
        ["--expansion"], type=Number(0, above=True), default=EXPANSION, show_default=True, group=GROUP,
        help="Features of each SAE in the plan, divided by d_model.",
    ),
]  # fmt: skip
PLAN_NAMES = [str(option.name) for option in PLAN_OPTIONS if option.name != "plan"]
