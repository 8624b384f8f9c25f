"""A plan as text."""

from __future__ import annotations

from data.command.sizes import human_bytes
from harvest.plan.measured import GPU_MEMORY_BYTES
from harvest.plan.plan import Plan


def describe(plan: Plan) -> str:
    """Return a plan in a few lines: store, harvest, weights, training, and what the numbers leave out."""
    training, gpus = plan.training, "1 GPU" if plan.gpus == 1 else f"{plan.gpus} GPUs"
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in plan.rates.items())
    lines = [
        f"{plan.model}: {plan.rows:,} rows × {plan.hooks} hooks in {plan.dtype}, {human_bytes(plan.bytes)} in "
        f"{plan.shards:,} shards, about {plan.files:,} files",
        f"harvest: {duration(plan.gpu_hours)} of forward passes on one GPU; {duration(plan.seconds / 3600)} on {gpus} "
        f"at {plan.tokens_per_second:,.0f} tokens/s, limited by the {plan.limit} (tokens/s: {rates})",
        f"weights: {human_bytes(4 * plan.parameters)} in float32 on each GPU",
        f"train: one SAE of {training.d_sae:,} features per hook, {human_bytes(training.memory_bytes)} of memory; one "
        f"GPU steps at {training.rows_per_second:,.0f} rows/s and reads {human_bytes(training.bytes_per_second)}/s; "
        f"one epoch takes {duration(training.hours)} on one GPU, limited by the {training.limit} "
        f"({duration(training.gpu_hours)} of steps)",
        f"computed for GPUs that multiply large matrices at {plan.gpu_tflops:g} TFLOP/s, from shares of that speed "
        "measured on an H200 with GPT-2's shape; without tokenising, loading and compiling",
    ]
    if plan.stores > 1:
        lines.append(
            f"one store cannot have so many shards: these are {plan.stores} stores of {plan.rows // plan.stores:,} rows"
        )
    if 4 * plan.parameters > GPU_MEMORY_BYTES:
        lines.append(
            "the weights do not fit on one H200, and the plan is for GPUs that hold all of them; harvest --device-map "
            "auto spreads them over several"
        )
    if not plan.fast:
        lines.append("runs in TransformerLens, whose speed was measured on CPUs only")
    if not plan.widths_known:
        lines.append("hooks other than the standard ones are counted as d_model wide")
    return "\n".join(lines)


def duration(hours: float) -> str:
    """Return a time in seconds, minutes or hours."""
    if hours < 2:
        return f"{3600 * hours:.1f} seconds" if hours < 1 / 30 else f"{60 * hours:.1f} minutes"
    return f"{hours:.1f} hours" if hours < 100 else f"{hours:,.0f} hours"
