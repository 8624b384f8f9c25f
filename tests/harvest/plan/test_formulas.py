"""Formulas and constants of a plan, against PyTorch's count of FLOPs, `train`'s own memory, and measured results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaModel

from harvest.plan import formulas, measured
from train.command.grid import make_runs
from train.experiment import Experiment, Reports
from train.loop.memory_needs import memory_needs
from train.loop.memory_plan import make_plan
from train.loss import Objective
from train.optim.schedule import Resampling, Schedule

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
GPT2_FLOPS = 2 * 85_054_464 + 12 * 4 * 768 * 257 / 2


def result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_forward_flops_are_those_that_pytorch_counts() -> None:
    config = LlamaConfig(
        hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        head_dim=32, vocab_size=50, attn_implementation="eager",
    )  # fmt: skip
    model, n_tokens = LlamaModel(config), 9
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.zeros((1, n_tokens), dtype=torch.int64), use_cache=False)
    weights = sum(p.numel() for p in model.layers.parameters() if p.dim() == 2)
    # Eager attention compares all tokens; causal attention over 2 T − 1 tokens compares as many on average.
    flops = formulas.forward_flops(weights, 3, 4 * 32, 2 * n_tokens - 1)
    assert counter.get_total_flops() == n_tokens * flops


def test_training_flops_and_parameters_are_those_of_one_sae() -> None:
    encode, decode = 2 * 768 * 12_288, 2 * 12_288 * 768
    gradients = 2 * 768 * 12_288 + 2 * 768 * 12_288 + 2 * 768 * 12_288
    assert formulas.sae_flops(768, 12_288) == encode + decode + gradients
    assert formulas.sae_parameters(768, 12_288) == 18_887_424


@pytest.mark.parametrize(("layers", "d_model"), [(1, 768), (12, 768), (26, 2304), (80, 8192)])
def test_training_memory_is_near_what_train_counts(layers: int, d_model: int) -> None:
    hooks, never = tuple(f"blocks.{i}.hook_mlp_out" for i in range(layers)), Resampling(10**9, 10**8, 0.0, 0, 64)
    experiment = Experiment(
        store="s", hooks=hooks, runs=tuple(make_runs((), {"variant": ("baseline",)})), expansion=16, batch_size=4096,
        decoder_bias=True, init="scaled", clip=None, precision="bfloat16", data_seed=0, objective=Objective(),
        schedule=Schedule(10**6), resampling=never,
        reports=Reports(log_every=10**6, validate_every=10**6, validate_rows=64, window=10**6, snapshots=0),
    )  # fmt: skip
    gpu = torch.device("cuda")
    plan = replace(make_plan(experiment, d_model, gpu), fused=False)  # whether this machine has Triton or not
    counted = memory_needs(plan, experiment, gpu).device_bytes
    assert formulas.training_bytes(layers, d_model, 16 * d_model) == pytest.approx(counted, rel=0.05)


def test_pass_constants_are_those_of_the_gpus_benchmark() -> None:
    harvest = result("harvest_gpu")
    tflops = harvest["machine"]["limits"]["GPU, bfloat16 matmul, TFLOP/s"]
    bare = {row["products in"]: row["tokens/s"] for row in harvest["rows"] if row["what"] == "bare"}
    assert tflops == pytest.approx(measured.GPU_TFLOPS, rel=1e-3)
    share = {kind: speed * GPT2_FLOPS / (tflops * 1e12) for kind, speed in bare.items()}
    assert share["bfloat16, compiled"] == pytest.approx(measured.COMPILED_PASS, abs=0.005)
    assert share["bfloat16"] == pytest.approx(measured.UNCOMPILED_PASS, abs=0.005)


def test_training_constant_is_that_of_twelve_stacked_saes() -> None:
    step = result("train_step_gpu")
    row = next(row for row in step["rows"] if row["step"] == "ours, twelve, dense")
    share = row["dense TFLOP/s"] / step["machine"]["limits"]["GPU, bfloat16 matmul, TFLOP/s"]
    assert share == pytest.approx(measured.TRAINING_STEP, abs=0.005)


def test_other_constants_are_those_of_their_sources() -> None:
    speed = {row["what"]: row["tokens/s (median)"] for row in result("harvest")["rows"]}
    assert speed["transformer_lens"] / speed["transformers"] == pytest.approx(measured.TRANSFORMER_LENS, abs=0.005)
    performance = (RESULTS.parents[1] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "Rows arrived at 233 000 to 269 000 tokens/s" in performance
    assert pytest.approx(233_000 * 12 * 768 * 2, rel=0.005) == measured.PIPELINE_BYTES_PER_SECOND
