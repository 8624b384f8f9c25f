"""The tables of docs/scale.md: plans of three models' shapes, and what a plan predicts beside what was measured.

    python benchmarks/harvest/plan.py

Nothing is measured: the plans are those of `harvest --plan`, and the measured figures are those of benchmarks/results.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harvest.cli import main as harvest
from harvest.plan import formulas
from harvest.plan.command import planned_request
from harvest.plan.measured import (
    COMPILED_PASS,
    GPU_TFLOPS,
    PIPELINE_BYTES_PER_SECOND,
    TRAINING_STEP,
    UNCOMPILED_PASS,
)
from harvest.plan.model_size import ModelSize, model_size
from harvest.plan.options import EXPANSION
from harvest.plan.plan import Hardware, Plan, make_plan

RESULTS = Path(__file__).resolve().parents[1] / "results"
CONTEXT = 256
TOKENS = ("100M", "10B")
ONE = Hardware(1, GPU_TFLOPS, disk=5e9)
MANY = Hardware(64, GPU_TFLOPS, disk=5e9)
NETWORK = 25e9 / 8  # bytes per second of 25 Gbit/s

# config.json of each model, as far as it decides the shape.
CONFIGS: dict[str, dict[str, Any]] = {
    "GPT-2 small": {"model_type": "gpt2"},
    "Gemma 2 2B": {"model_type": "gemma2"},
    "Llama 3 70B": {
        "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
    },
}  # fmt: skip
SMOLLM2 = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 50257, "tie_word_embeddings": True,
}  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """A harvest and its plans with one GPU and with 64, and the same behind a network."""

    model: str
    tokens: str
    one: Plan
    many: Plan
    remote_one: Plan
    remote_many: Plan


def write_config(folder: Path, config: dict[str, Any]) -> Path:
    """Write a model's config.json and return its folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def plans(folder: Path) -> Iterator[Planned]:
    """Yield a row per model, number of tokens and type; parameters are counted once per model."""
    for number, (name, config) in enumerate(CONFIGS.items()):
        model, size = str(write_config(folder / str(number), config)), None
        for tokens in TOKENS:
            for dtype in ("float16", "int8"):
                arguments = ["--model", model, "--tokens", tokens, "--dtype", dtype, "--plan"]
                context = harvest.make_context("harvest", arguments)
                request, facts = planned_request(context, context.params)
                size = size or model_size(facts, max(request.layers))
                machines = [ONE, MANY, *(replace(hardware, network=NETWORK) for hardware in (ONE, MANY))]
                made = [make_plan(request, facts, size, hardware, EXPANSION) for hardware in machines]
                yield Planned(name, tokens, *made)


def size_table(rows: list[Planned]) -> str:
    """Return the table of sizes, times and limits as Markdown."""
    head = [
        "model", "tokens", "type", "store", "shards", "files", "GPU hours", "one GPU, disk of 5 GB/s: hours",
        "limit", "64 GPUs, the same disk: hours", "limit",
    ]  # fmt: skip
    return markdown(
        head,
        [
            [
                row.model, row.tokens, row.one.dtype, terabytes(row.one), number(row.one.shards),
                number(row.one.files), number(row.one.gpu_hours), number(row.one.seconds / 3600), row.one.limit,
                number(row.many.seconds / 3600), row.many.limit,
            ]
            for row in rows
        ],
    )  # fmt: skip


def training_table(rows: list[Planned]) -> str:
    """Return the table of training, one epoch of 100M and of 10B tokens, as Markdown."""
    head = [
        "model", "type", "SAEs", "features each", "memory, GB", "thousand rows/s of all layers", "read per GPU, GB/s",
        "GPU hours per epoch of 100M", "of 10B", "hours from a disk of 5 GB/s, 100M", "10B", "limit",
    ]  # fmt: skip
    return markdown(
        head,
        [
            [
                row.model, row.one.dtype, str(train.n_saes), f"{train.d_sae:,}", number(train.memory_bytes / 1e9),
                number(train.rows_per_second / 1e3), number(train.bytes_per_second / 1e9), number(train.gpu_hours),
                number(large.gpu_hours), number(train.hours), number(large.hours), train.limit,
            ]
            for row, more in by_tokens(rows)
            for train, large in [(row.one.training, more.one.training)]
        ],
    )  # fmt: skip


def network_table(rows: list[Planned]) -> str:
    """Return the table of harvests into an object store, and of training from it, as Markdown."""
    head = [
        "model", "type", "harvest, one GPU: hours of 100M", "of 10B", "limit", "harvest, 64 GPUs: hours of 100M",
        "of 10B", "limit", "one epoch, one GPU: hours of 100M", "of 10B", "limit",
    ]  # fmt: skip
    return markdown(
        head,
        [
            [
                row.model, row.one.dtype,
                number(row.remote_one.seconds / 3600), number(more.remote_one.seconds / 3600), row.remote_one.limit,
                number(row.remote_many.seconds / 3600), number(more.remote_many.seconds / 3600), row.remote_many.limit,
                number(train.hours), number(more.remote_one.training.hours), train.limit,
            ]
            for row, more in by_tokens(rows)
            for train in [row.remote_one.training]
        ],
    )  # fmt: skip


def by_tokens(rows: list[Planned]) -> list[tuple[Planned, Planned]]:
    """Pair the row of 100M tokens with that of 10B, for each model and type."""
    small, large = ([row for row in rows if row.tokens == tokens] for tokens in TOKENS)
    return list(zip(small, large, strict=True))


def check_table(folder: Path) -> str:
    """Return the table of predicted and measured rates as Markdown."""
    sizes = {
        name: planned_size(write_config(folder / name, config))
        for name, config in (("gpt2", CONFIGS["GPT-2 small"]), ("llama", SMOLLM2))
    }
    lines = [*cpu_checks(sizes), *gpu_checks(sizes["gpt2"])]
    head = ["what", "machine", "predicted", "measured", "predicted / measured"]
    return markdown(
        head, [[what, place, number(p), number(m), f"{p / m:.2f}"] for what, place, p, m in lines]
    )  # fmt: skip


def cpu_checks(sizes: dict[str, ModelSize]) -> Iterator[tuple[str, str, float, float]]:
    """Yield whole harvests on two CPU cores, predicted as a pass at the speed of a large product."""
    ours = "harvest, tokens/s"
    for what, name, model in (
        ("GPT-2 small, 12 layers", "harvest", "gpt2"), ("SmolLM2-135M, 30 layers", "harvest_llama", "llama"),
        ("GPT-2 small, 12 layers, again", "end_to_end", "gpt2"),
    ):  # fmt: skip
        result = results(name)
        flops = result["machine"]["limits"]["matmul, GFLOP/s"] * 1e9
        if name == "end_to_end":
            seconds = sorted(result["parts"]["harvest, s a token"])
            measured = 2 / (seconds[0] + seconds[1])
        else:
            measured = row_of(result, "what", "harvest")["tokens/s (median)"]
        place = f"2 cores, {flops / 1e9:.0f} GFLOP/s"
        yield f"{ours}: {what}", place, formulas.rate(pass_flops(sizes[model]), flops, 1.0), measured


def gpu_checks(gpt2: ModelSize) -> Iterator[tuple[str, str, float, float]]:
    """Yield passes, a harvest and training steps on an H200."""
    result = results("harvest_gpu")
    limits, place = result["machine"]["limits"], "H200"
    flops = limits["GPU, bfloat16 matmul, TFLOP/s"] * 1e12
    compiled = formulas.rate(pass_flops(gpt2), flops, COMPILED_PASS)
    bare = {row["products in"]: row["tokens/s"] for row in result["rows"] if row["what"] == "bare"}
    yield "bare pass, compiled, tokens/s (a constant)", place, compiled, bare["bfloat16, compiled"]
    uncompiled = formulas.rate(pass_flops(gpt2), flops, UNCOMPILED_PASS)
    yield "bare pass, tokens/s (a constant)", place, uncompiled, bare["bfloat16"]
    harvests = [row for row in result["rows"] if row["what"] == "harvest"]
    token_bytes = 12 * 768 * 2 + 16
    disk = limits["disk, write and fsync, GB/s"] * 1e9
    predicted = min(compiled, PIPELINE_BYTES_PER_SECOND / token_bytes, disk / token_bytes)
    yield "harvest of an earlier version, tokens/s", place, predicted, harvests[-1]["tokens/s"]
    runs = results("whole_runs_gpu")
    step = formulas.rate(
        formulas.sae_flops(768, 12288), runs["machine"]["limits"]["GPU, bfloat16 matmul, TFLOP/s"] * 1e12, TRAINING_STEP
    )
    milliseconds = runs["rows"][-1]["ms a step"]
    yield "train, 48 SAEs of which 24 NSAEs, steps/s", place, step / (48 * 4096), 1000 / milliseconds


def planned_size(folder: Path) -> ModelSize:
    context = harvest.make_context("harvest", ["--model", str(folder), "--plan"])
    request, facts = planned_request(context, context.params)
    return model_size(facts, max(request.layers))


def pass_flops(size: ModelSize) -> float:
    return formulas.forward_flops(size.per_token, size.n_blocks, size.attention_width, CONTEXT)


def results(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def row_of(result: dict[str, Any], key: str, value: str) -> dict[str, Any]:
    return next(row for row in result["rows"] if row[key] == value)


def terabytes(plan: Plan) -> str:
    stores = f" in {plan.stores} stores" if plan.stores > 1 else ""
    return f"{number(plan.bytes / 1e12)} TB{stores}"


def number(value: float) -> str:
    """Return a number with three significant digits, and commas."""
    if value >= 100:
        digits = len(str(int(value))) - 3
        return f"{round(value / 10**digits) * 10**digits:,}"
    return f"{value:#.3g}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables() -> list[str]:
    """Return the four tables of docs/scale.md."""
    with tempfile.TemporaryDirectory() as name:
        rows = list(plans(Path(name) / "plans"))
        return [size_table(rows), training_table(rows), network_table(rows), check_table(Path(name) / "check")]


if __name__ == "__main__":
    print("\n\n".join(tables()))
