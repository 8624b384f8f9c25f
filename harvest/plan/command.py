"""Make the plan of a command line: check the options that decide it, and count the model's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from data.command.option_types import is_given
from data.errors import InputError
from harvest.model.base import ModelFacts
from harvest.model.find import find_model
from harvest.plan.model_size import model_size
from harvest.plan.plan import Hardware, Plan, make_plan
from harvest.prepare import make_request
from harvest.request import Request, check_request


def plan_harvest(ctx: click.Context, options: Mapping[str, Any]) -> Plan:
    """Return the plan of a harvest's options. Raises InputError for options that cannot be harvested or planned."""
    request, facts = planned_request(ctx, options)
    hardware = Hardware(options["gpus"], options["gpu_tflops"], options["disk"], options["network"])
    return make_plan(request, facts, model_size(facts, max(request.layers)), hardware, options["expansion"])


def planned_request(ctx: click.Context, options: Mapping[str, Any]) -> tuple[Request, ModelFacts]:
    """Return the harvest that is planned, and its model's facts. Raises InputError as `plan_harvest` does."""
    precision = options["precision"]
    if is_given(ctx, "precision") and precision != "bfloat16" and not is_given(ctx, "gpu_tflops"):
        raise InputError(
            f"--precision {precision}: the plan's GPU was measured in bfloat16; give --gpu-tflops for {precision}, or "
            "--precision bfloat16"
        )
    if options["device"] == "cpu":
        raise InputError("--device cpu: --plan is about GPUs; leave --device out, or give --dry-run instead of --plan")
    if options["device_map"] is not None or options["max_memory"] is not None:
        raise InputError(
            "--device-map: --plan is about GPUs that hold the whole model each; leave --device-map and --max-memory out"
        )
    facts = find_model(options["model"], options["revision"])
    request = make_request(options, facts)
    check_request(request, facts)
    return request, facts
