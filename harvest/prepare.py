"""Prepare a harvest: complete the options, check all of them, and open the inputs, before any weights are loaded."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.command.base import choose_device
from data.errors import InputError
from data.store.writing.lifecycle import staging_path
from harvest.inputs import open_inputs
from harvest.memory import check_batch
from harvest.model.base import ModelFacts
from harvest.model.device_map import DeviceMap
from harvest.model.find import find_model
from harvest.model.precision import Compute
from harvest.output.array_job import choose_worker
from harvest.output.disk_space import check_free_space
from harvest.output.keep import check_keep
from harvest.output.provenance import settings_of
from harvest.output.resume import check_existing, check_out
from harvest.request import Request, check_request, expected_schema
from harvest.run import Harvest
from harvest.text.sources import THE_PILE, DatasetChoice

CONTEXT_SIZE = 256  # that of the post


def prepare(options: Mapping[str, Any], *, stop: threading.Event | None = None, quiet: bool = False) -> Harvest:
    """Return the harvest that some options describe: values by name, converted by `options.TYPES`.

    Raises InputError if an option cannot be used, the disk or memory is too small, or `out` holds something else.
    """
    facts = find_model(options["model"], options["revision"])
    out, overwrite = options["out"] or Path("data") / f"{facts.label.split('/')[-1]}.zarr", options["overwrite"]
    check_out(out, overwrite=overwrite)
    request = make_request(options, facts)
    device = choose_device(options["device"])
    check_request(request, facts)
    request.compute.check(device)
    device_map = choose_device_map(options)
    if device_map is not None:
        device_map.check(facts, request.hooks, request.compute.compiling, device)
    check_batch(request, facts, device)
    schema = expected_schema(request, facts)
    if options["keep"] is not None:
        check_keep(out, options["keep"], schema)
    check_free_space(out, schema, options["keep"])
    inputs = open_inputs(request, facts)
    settings = settings_of(request, inputs)
    finished = check_existing(out, settings, overwrite=overwrite)
    worker = choose_worker(options["worker"], os.environ)
    if overwrite and worker.world_size > 1:
        raise InputError(f"--overwrite: several processes would race; remove {out} and {staging_path(out)} first")
    return Harvest(
        request, inputs, settings, out, device, worker=worker, overwrite=overwrite, keep=options["keep"],
        finished=finished, quiet=quiet, stop=stop or threading.Event(), device_map=device_map,
    )  # fmt: skip


def choose_device_map(options: Mapping[str, Any]) -> DeviceMap | None:
    """Return the device map of the options; None without one. Raises InputError for --max-memory alone."""
    if options["device_map"] is not None:
        return DeviceMap(options["device_map"], options["max_memory"])
    if options["max_memory"] is not None:
        raise InputError("--max-memory: has no effect without --device-map; leave it out, or give --device-map auto")
    return None


def make_request(options: Mapping[str, Any], facts: ModelFacts) -> Request:
    """Return the options as a request, with the defaults that depend on the model. Raises InputError for the layers."""
    dataset = options["dataset"] or ("demo" if options["model"] == "demo" else THE_PILE)
    return Request(
        model=options["model"],
        revision=options["revision"],
        n_tokens=options["tokens"],
        dataset=DatasetChoice(dataset, options["dataset_config"], options["dataset_split"], options["text_column"]),
        layers=options["layers"].choose(range(facts.n_layers), facts.label),
        hooks=tuple(dict.fromkeys(name.removeprefix("hook_") for name in options["hook"])),
        dtype=options["dtype"],
        compression=options["compress"],
        context_size=options["context_size"] or min(CONTEXT_SIZE, facts.max_context or CONTEXT_SIZE),
        batch_size=options["batch_size"],
        skip_positions=options["skip_positions"],
        prefix=options["prefix_token"],
        separator=options["separator_token"],
        special_tokens=options["special_tokens"],
        heldout=options["held_out"],
        processing=options["processing"],
        seed=options["seed"],
        compute=Compute(options["precision"], options["compile"]),
    )
