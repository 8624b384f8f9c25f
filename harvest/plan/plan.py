"""A plan: how large a store is, how long its harvest and training on it take, and what limits them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from data.errors import InputError
from data.store.encodings import ENCODINGS
from data.store.layout import choose_rows_per_shard
from data.store.schema import MOST_COMMIT_BYTES, SCALE, Schema
from harvest.model.base import ModelFacts, full_names
from harvest.model.precision import COMPILED_FROM
from harvest.plan import formulas
from harvest.plan.measured import (
    COMPILED_PASS,
    PIPELINE_BYTES_PER_SECOND,
    TRAINING_STEP,
    TRANSFORMER_LENS,
    UNCOMPILED_PASS,
)
from harvest.plan.model_size import ModelSize
from harvest.request import Request, expected_schema, make_schema, widths_are_known

HOUR = 3600.0


@dataclass(frozen=True)
class Hardware:
    """The machines that harvest and train. disk, network: bytes per second of all GPUs together; None: not a limit."""

    gpus: int
    tflops: float  # of a product of large matrices on one GPU
    disk: float | None = None
    network: float | None = None

    @property
    def links(self) -> dict[str, float]:
        """The limits of moving bytes, in bytes per second, by name."""
        return {name: speed for name in ("disk", "network") if (speed := getattr(self, name)) is not None}


@dataclass(frozen=True)
class TrainingPlan:
    """One epoch of one SAE per hook on one GPU. bytes_per_second: that the GPU reads when nothing else limits it."""

    d_sae: int
    n_saes: int
    rows_per_second: float
    bytes_per_second: float
    gpu_hours: float  # of steps alone
    hours: float  # with the slowest of GPU, disk and network
    limit: str
    memory_bytes: int


@dataclass(frozen=True)
class Plan:
    """The size and time of a harvest. Several stores are of equal size.

    rates: tokens per second of the forward passes, of the pipelines that copy and write rows, of disk and network.
    parameters: numbers on each GPU.
    """

    model: str
    rows: int
    hooks: int
    dtype: str
    stores: int
    bytes: int
    shards: int
    files: int
    parameters: int
    block_parameters: int
    flops_per_token: float
    fast: bool  # in harvest/model/fast.py rather than TransformerLens
    compiled: bool
    gpus: int
    gpu_tflops: float
    gpu_hours: float  # of forward passes
    rates: dict[str, float]
    limit: str
    tokens_per_second: float
    seconds: float
    widths_known: bool
    training: TrainingPlan

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def make_plan(request: Request, facts: ModelFacts, size: ModelSize, hardware: Hardware, expansion: float) -> Plan:
    """Return the plan of a request. Raises InputError if an SAE would have no feature."""
    stores, schema = split_into_stores(request, facts)
    n_tokens = stores * schema.layout.n_contexts * schema.context_size
    n_bytes = stores * schema.total_bytes()
    fast = size.known and widths_are_known(request)
    compiled = fast and _compiled(request)
    share = (COMPILED_PASS if compiled else UNCOMPILED_PASS) * (1.0 if fast else TRANSFORMER_LENS)
    flops = formulas.forward_flops(size.per_token, size.n_blocks, size.attention_width, request.context_size)
    one_gpu = formulas.rate(flops, hardware.tflops * 1e12, share)
    token_bytes = n_bytes / n_tokens
    rates = {
        "GPU": hardware.gpus * one_gpu,
        "pipeline": hardware.gpus * PIPELINE_BYTES_PER_SECOND / token_bytes,
        **{name: speed / token_bytes for name, speed in hardware.links.items()},
    }
    limit = formulas.slowest(rates)
    return Plan(
        model=facts.label, rows=stores * schema.layout.n_rows, hooks=len(schema.hooks), dtype=schema.dtype,
        stores=stores, bytes=n_bytes, shards=stores * schema.layout.n_shards, files=stores * schema.n_files(),
        parameters=size.parameters, block_parameters=size.block_parameters, flops_per_token=flops,
        fast=fast, compiled=compiled, gpus=hardware.gpus, gpu_tflops=hardware.tflops,
        gpu_hours=n_tokens / one_gpu / HOUR, rates=rates, limit=limit,
        tokens_per_second=rates[limit], seconds=n_tokens / rates[limit], widths_known=widths_are_known(request),
        training=plan_training(schema, stores, facts.d_model, hardware, expansion),
    )  # fmt: skip


def plan_training(schema: Schema, stores: int, d_model: int, hardware: Hardware, expansion: float) -> TrainingPlan:
    """Return the plan of training one SAE per hook on one GPU. Raises InputError if an SAE would have no feature."""
    d_sae = round(expansion * d_model)
    if d_sae < 1:
        raise InputError(f"--expansion {expansion:g}: leaves no feature at d_model {d_model}; give more")
    n_saes, row_bytes = len(schema.hooks), stored_row_bytes(schema)
    step = formulas.rate(n_saes * formulas.sae_flops(d_model, d_sae), hardware.tflops * 1e12, TRAINING_STEP)
    rates = {"GPU": step, **{name: speed / row_bytes for name, speed in hardware.links.items()}}
    limit, n_rows = formulas.slowest(rates), stores * schema.layout.split_rows("train")
    return TrainingPlan(
        d_sae=d_sae, n_saes=n_saes, rows_per_second=step, bytes_per_second=step * row_bytes,
        gpu_hours=n_rows / step / HOUR, hours=n_rows / rates[limit] / HOUR, limit=limit,
        memory_bytes=formulas.training_bytes(n_saes, d_model, d_sae),
    )  # fmt: skip


def stored_row_bytes(schema: Schema) -> int:
    """Return the bytes that training reads per row of all hooks: values and scales."""
    encoding = ENCODINGS[schema.dtype]
    scales = len(encoding.row_scales) * SCALE.itemsize
    return sum(encoding.row_bytes(d) + scales for d in schema.widths.values())


def split_into_stores(request: Request, facts: ModelFacts) -> tuple[int, Schema]:
    """Return the number of equal stores that hold the request's contexts, and the schema of one of them."""
    widths = dict.fromkeys(full_names(request.hooks, request.layers), facts.d_model)
    smallest = make_schema(request, widths, 1, 0)
    rows_per_context, row_bytes = smallest.layout.rows_per_context, ENCODINGS[request.dtype].row_bytes(facts.d_model)
    most = formulas.most_contexts(
        rows_per_context, choose_rows_per_shard(request.n_contexts * rows_per_context, row_bytes),
        len(smallest.commit_columns), MOST_COMMIT_BYTES,
    )  # fmt: skip
    stores = -(-request.n_contexts // most)
    return stores, expected_schema(
        replace(request, n_tokens=request.n_contexts // stores * request.context_size), facts
    )


def _compiled(request: Request) -> bool:
    """Return whether the fast forward pass is compiled on a GPU whose machine has a compiler."""
    compiling = request.compute.compiling
    return compiling == "yes" or (compiling == "auto" and request.n_tokens >= COMPILED_FROM)
