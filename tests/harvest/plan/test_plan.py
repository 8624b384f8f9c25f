"""`harvest --plan`: parameters against real modules, bytes against a real store, and which limit is the smallest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from transformers import AutoModel, LlamaConfig, MixtralConfig, PretrainedConfig

from data.errors import InputError
from harvest.cli import main
from harvest.model.base import ModelFacts
from harvest.model.find import find_model
from harvest.plan.command import planned_request
from harvest.plan.model_size import ModelSize, model_size
from harvest.plan.options import Bandwidth
from harvest.plan.plan import Hardware, Plan, make_plan
from harvest.request import Request, expected_schema
from tests.helpers.fixture_types import Command

H200 = Hardware(1, 726.0)
GPT2 = ModelSize(124_439_808, 85_054_464, 85_054_464, n_blocks=12, attention_width=768, known=True)
SMALL = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2 small's config.json: neither weights nor a tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "gpt2"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    return folder


def run(model: Path | str, *options: str) -> Any:
    done = CliRunner().invoke(main, ["--model", str(model), "--plan", "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def request_of(model: Path | str, *options: str) -> tuple[Request, ModelFacts]:
    context = main.make_context("harvest", ["--model", str(model), "--plan", *options])
    return planned_request(context, context.params)


def plan_of(model: Path, *options: str, hardware: Hardware = H200, size: ModelSize = GPT2) -> Plan:
    request, facts = request_of(model, *options)
    return make_plan(request, facts, size, hardware, 16.0)


def test_gpt2_small_has_its_published_number_of_parameters(gpt2: Path) -> None:
    facts = find_model(str(gpt2), None)
    assert model_size(facts, last_layer=11) == GPT2
    half = model_size(facts, last_layer=5)
    assert (half.block_parameters, half.n_blocks) == (42_527_232, 6)
    assert half.parameters == 124_439_808 - 42_527_232


@pytest.mark.parametrize(
    ("config", "unused"),
    [
        (LlamaConfig(intermediate_size=80, head_dim=16, **SMALL), 0.0),
        (MixtralConfig(intermediate_size=24, num_local_experts=8, num_experts_per_tok=2, **SMALL), 0.75),
    ],
    ids=["llama", "mixture of experts"],
)
def test_parameters_are_those_of_the_modules(config: PretrainedConfig, unused: float, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    size, model = model_size(find_model(str(tmp_path), None), last_layer=1), AutoModel.from_config(config)
    blocks = sum(p.numel() for layer in (0, 1) for p in model.layers[layer].parameters())
    experts = 2 * 8 * 3 * 24 * 32 if unused else 0
    assert size.block_parameters == blocks
    assert size.per_token == blocks - unused * experts
    assert size.parameters == blocks + 50 * 32 + 32  # embeddings and the last norm
    assert size.attention_width == (32 if unused else 64)
    assert size.known is not bool(unused)


def test_bytes_and_shards_are_those_of_a_real_store(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path
) -> None:
    options = ("--tokens", "2k", "--context-size", "32", "--dtype", "int8", "--held-out", "5")
    out = tmp_path / "s.zarr"
    done = command("harvest", "--model", random_gpt2, "--dataset", token_file, "--out", out, *options, "--json")
    assert done.returncode == 0, done.stderr
    planned = run(random_gpt2, *options)
    whole = ("tokens", "document", "commit")
    per_shard = [path for path in out.glob("*/c.*") if path.parent.name not in whole and "channel" not in str(path)]
    contexts = planned["rows"] // 32
    assert sum(path.stat().st_size for path in per_shard) + 2 * 4 * contexts * 32 == planned["bytes"]
    assert len(per_shard) == planned["shards"] * (2 * 3 + 2)
    assert len([path for path in out.rglob("*") if path.is_file()]) == pytest.approx(planned["files"], rel=0.1)


def test_plan_of_the_posts_harvest_by_hand(gpt2: Path) -> None:
    plan = run(gpt2, "--tokens", "100M")
    flops = 2 * 85_054_464 + 12 * 2 * 768 * 257  # 4 w (T + 1) / 2 with T = 256
    assert plan["flops_per_token"] == flops
    assert plan["rows"] == 390_625 * 256
    assert plan["shards"] == 6104 + 1  # of 16,384 rows: 99 % training, 1 % held out, one more at the border
    assert plan["bytes"] == plan["shards"] * (12 * 16_384 * 1536 + 2 * 16_384 * 4 + 14 * 4) + 8 * 100_000_000
    assert plan["gpu_hours"] == pytest.approx(1e8 * flops / (0.57 * 726e12) / 3600)
    assert plan["limit"] == "pipeline"
    assert plan["seconds"] == pytest.approx(plan["bytes"] / 4.3e9)
    training = plan["training"]
    assert training["rows_per_second"] == pytest.approx(0.63 * 726e12 / (12 * 10 * 768 * 12_288))
    assert training["bytes_per_second"] == pytest.approx(training["rows_per_second"] * 12 * 1536)
    assert training["gpu_hours"] == pytest.approx(99e6 / training["rows_per_second"] / 3600, rel=1e-3)


def test_slowest_of_gpu_pipeline_disk_and_network_limits(gpt2: Path) -> None:
    slow_gpu = Hardware(1, 10.0)
    gpu = plan_of(gpt2, hardware=slow_gpu)
    token_bytes = gpu.bytes / gpu.rows
    enough, too_little = (gpu.rates["GPU"] * token_bytes * factor for factor in (1.01, 0.99))
    assert gpu.limit == "GPU"
    assert plan_of(gpt2, hardware=replace(slow_gpu, disk=enough)).limit == "GPU"
    assert plan_of(gpt2, hardware=replace(slow_gpu, disk=too_little)).limit == "disk"
    assert plan_of(gpt2, hardware=replace(slow_gpu, disk=enough, network=too_little)).limit == "network"
    assert plan_of(gpt2, hardware=replace(slow_gpu, gpus=2, disk=enough)).limit == "disk"
    assert plan_of(gpt2).limit == "pipeline"
    assert plan_of(gpt2, hardware=replace(H200, gpus=3)).seconds == pytest.approx(plan_of(gpt2).seconds / 3)


def test_training_is_limited_by_a_disk_that_is_slower_than_its_reading(gpt2: Path) -> None:
    reads = plan_of(gpt2).training
    slower = plan_of(gpt2, hardware=replace(H200, disk=reads.bytes_per_second / 2)).training
    faster = plan_of(gpt2, hardware=replace(H200, network=reads.bytes_per_second * 2)).training
    assert (reads.limit, reads.hours) == ("GPU", reads.gpu_hours)
    assert slower.limit == "disk"
    assert slower.hours == pytest.approx(2 * reads.gpu_hours)
    assert (faster.limit, faster.hours) == ("GPU", reads.gpu_hours)
    assert plan_of(gpt2, "--dtype", "int8").training.bytes_per_second == pytest.approx(
        reads.bytes_per_second * (768 + 4) / 1536
    )


def test_several_stores_are_planned_where_one_would_have_too_many_shards(gpt2: Path) -> None:
    request, facts = request_of(gpt2, "--tokens", "100B")
    plan = make_plan(request, facts, GPT2, H200, 16.0)
    assert plan.stores == 3
    expected_schema(replace(request, n_tokens=plan.rows // plan.stores), facts)
    with pytest.raises(InputError, match="more than a store can have"):
        expected_schema(replace(request, n_tokens=plan.rows // (plan.stores - 1)), facts)
    assert plan.rows == pytest.approx(10**11, rel=1e-6)


def test_compiling_and_transformer_lens_change_the_speed_of_the_gpu(gpt2: Path) -> None:
    compiled = plan_of(gpt2).rates["GPU"]
    assert plan_of(gpt2, "--compile", "no").rates["GPU"] == pytest.approx(compiled * 0.34 / 0.57)
    assert plan_of(gpt2, "--tokens", "1M").rates["GPU"] == pytest.approx(compiled * 0.34 / 0.57)
    assert plan_of(gpt2, "--hook", "mlp.hook_post").rates["GPU"] == pytest.approx(compiled * 0.34 / 0.57 * 0.56)
    assert plan_of(gpt2, size=replace(GPT2, known=False)).rates["GPU"] == pytest.approx(compiled * 0.34 / 0.57 * 0.56)


def test_plan_as_text_names_the_limit_and_what_it_rests_on(gpt2: Path) -> None:
    done = CliRunner().invoke(main, ["--model", str(gpt2), "--plan", "--gpus", "64", "--disk", "5GB/s"])
    assert done.exit_code == 0, done.output
    assert "gpt2: 100,000,000 rows × 12 hooks in float16, 1.85 TB in 6,105 shards" in done.output
    assert "harvest: 42.3 seconds of forward passes on one GPU; 6.2 minutes on 64 GPUs at 270,9" in done.output
    assert "limited by the disk (tokens/s: GPU 151," in done.output
    assert "measured on an H200 with GPT-2's shape" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus", "4"], "--gpus: has no effect without --plan; leave it out"),
        (["--disk", "5GB/s"], "--disk: has no effect without --plan; leave it out"),
        (["--plan", "--dry-run"], "--plan and --dry-run exclude each other; give one of them"),
        (["--plan", "--activations", "a.npy"], "--plan: has no effect with --activations; leave it out"),
        (["--plan", "--device", "cpu"], "--device cpu: --plan is about GPUs"),
        (["--plan", "--precision", "float32"], "--precision float32: the plan's GPU was measured in bfloat16"),
        (["--plan", "--expansion", "0.0001"], "--expansion 0.0001: leaves no feature at d_model 128; give more"),
        (["--plan", "--disk", "5GB"], "'5GB' is not a bandwidth; give one such as 5GB/s, 800MB/s or 25Gbit/s"),
        (["--plan", "--tokens", "100"], "--tokens 100: not one context of 256 tokens"),
    ],
)
def test_bad_plan_is_refused_with_one_sentence(options: list[str], message: str) -> None:
    done = CliRunner().invoke(main, ["--model", "demo", *options])
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("text", "bytes_per_second"), [("5GB/s", 5e9), ("800MB/s", 8e8), ("1.5tb/s", 1.5e12), ("25Gbit/s", 3.125e9)]
)
def test_bandwidths_are_read_in_bytes_per_second(text: str, bytes_per_second: float) -> None:
    assert Bandwidth().convert(text, None, None) == pytest.approx(bytes_per_second)
