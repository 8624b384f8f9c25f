"""Statistics summed on a GPU, by Triton's interpreter where there is none, against those summed on the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from data.choices import DTYPES, DType
from data.errors import InputError
from data.store.encodings import ENCODINGS, EncodedRows, as_stored, channel_scales
from data.store.layout import Layout
from data.store.reader import open_store
from data.store.schema import STATS_FIELDS, Schema
from data.store.stats import RunningSums, empty
from data.store.writing.create import create
from data.store.writing.lifecycle import finish, staging_path
from data.store.writing.window_writer import WindowWriter
from harvest.model.base import OnActivation
from harvest.pipeline import Pipeline

pytest.importorskip("triton", reason="Triton is not installed; PyTorch's builds for CUDA bring it along")

from harvest.gpu.window_sums import WindowSums

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
HOOK, D = "blocks.0.hook_mlp_out", 130  # more channels than a program has
COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from harvest.gpu import sum_kernels

KINDS = {"x": "*fp16", "first": "*i8", "histogram": "*i64", "begins": "*i64", "slots": "*i64", "row_slots": "*i64"}
KINDS |= {"d": "i32", "n_bins": "i32"}
for kernel, constants in (
    (sum_kernels._add_moments, {"COLUMNS": sum_kernels.COLUMNS}),
    (sum_kernels._measure_rows, {"BINS": 512, "COLUMNS": sum_kernels.ROW_COLUMNS}),
    (sum_kernels._add_norms, {}),
):
    names = {name: "constexpr" if name in constants else KINDS.get(name, "*fp64") for name in kernel.arg_names}
    found = triton.compile(ASTSource(kernel, names, constexprs=constants), target=GPUTarget("cuda", 90, 32))
    assert ".entry" in found.asm["ptx"] and len(found.asm["cubin"]) > 1000
"""


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_on_the_gpu_are_those_of_the_host(dtype: DType) -> None:
    layout = Layout(12, 2, 8, 16, 4, seed=0)
    schema = Schema(layout, {HOOK: D}, dtype, "none", 8, 0)
    x = torch.randn(layout.window_rows(0), D, generator=torch.Generator().manual_seed(0))
    x[::8] *= 30
    encoding, scale = schema.encoding, channel_scales(x)
    scales = (scale.numpy(),) if encoding.channel_scales else ()
    n_shards = 4
    none = {field: np.stack([getattr(empty(D), field)] * n_shards) for field in STATS_FIELDS}
    on_device = WindowSums(schema, 0, {HOOK: none}, {HOOK: scale.to(DEVICE)} if scales else {}, DEVICE)
    host = [RunningSums(**{field: values[shard].copy() for field, values in none.items()}) for shard in range(n_shards)]
    for begin, end in ((0, 23), (23, layout.window_rows(0))):
        rows, ranges = layout.writing_order(0, begin, end)
        encoded = encoding.encode(x[rows], scale)
        assert on_device.add({HOOK + suffix: part.to(DEVICE) for suffix, part in encoded.items()}, rows, ranges)
        stored = EncodedRows(
            as_stored(encoded[""], encoding.stored),
            tuple(encoded[suffix][:, 0].numpy() for suffix in encoding.row_scales), scales,
        )  # fmt: skip
        done = 0
        for row_range in ranges:
            part = slice(done, done + row_range.count)
            host[row_range.shard].add(encoding.decode(stored[part]), rows[part] % 8 == 0)
            done += row_range.count
    on_host = on_device.arrays()[HOOK]
    for shard, sums in enumerate(host):
        assert np.array_equal(on_host["moments"][shard], sums.moments)
        assert np.array_equal(on_host["histogram"][shard], sums.histogram)
        assert on_host["norms"][shard] == pytest.approx(sums.norms, rel=1e-12)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_tell_rows_with_a_value_that_is_not_finite(dtype: DType, value: float) -> None:
    schema = Schema(Layout(2, 0, 4, 8, 1, seed=0), {HOOK: 5}, dtype, "none", 4, 0)
    x, scale = torch.ones(8, 5), torch.ones(5)
    x[6, 3] = value
    none = {field: getattr(empty(5), field)[None] for field in STATS_FIELDS}
    scales = {HOOK: scale.to(DEVICE)} if schema.encoding.channel_scales else {}
    sums = WindowSums(schema, 0, {HOOK: none}, scales, DEVICE)
    for begin, end in ((0, 4), (4, 8)):
        rows, ranges = schema.layout.writing_order(0, begin, end)
        encoded = schema.encoding.encode(x[rows], scale)
        finite = sums.add({HOOK + suffix: part.to(DEVICE) for suffix, part in encoded.items()}, rows, ranges)
        assert bool(finite) == (begin == 0)


def test_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    script = tmp_path / "compiled.py"
    script.write_text(COMPILED, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_encoded_tensors_decode_to_the_values_of_the_reader() -> None:
    x = torch.randn(20, 7, generator=torch.Generator().manual_seed(1))
    scale = channel_scales(x)
    for name in ("int8", "int4"):
        encoding = ENCODINGS[name]
        encoded = encoding.encode(x, scale)
        stored = EncodedRows(encoded[""].numpy(), (encoded[".row_scale"][:, 0].numpy(),), (scale.numpy(),))
        assert np.array_equal(encoding.decode_tensor(encoded, scale).numpy(), encoding.decode(stored))


class MadeUpModel:
    """A model with made-up activations."""

    path: Literal["transformers", "transformer_lens"] = "transformers"
    compiled, compile_seconds, widths = False, None, {HOOK: 5}

    def capture(self, tokens: torch.Tensor, on_activation: OnActivation) -> None:
        values = torch.sin(torch.arange(tokens.numel() * 5, device=tokens.device) + tokens[0, 0]).view(*tokens.shape, 5)
        on_activation(HOOK, values)


def test_pipeline_that_sums_on_the_gpu_writes_the_statistics_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = Schema(Layout(12, 2, 8, 16, 4, seed=0), {HOOK: 5}, "float16", "none", 8, 0)
    layout, ids = schema.layout, np.arange(96, dtype=np.int32).reshape(12, 8)
    statistics = []
    for on_gpu in (False, True):
        path = tmp_path / f"{on_gpu}.zarr"
        create(path, schema, [(ids, ids)], {"settings": {}, "model": {}, "tokens": {}}, {})
        pipeline = Pipeline(
            MadeUpModel(), schema, batch_size=3, device=DEVICE, channel_scales={}, wrote=lambda *_: None
        )
        monkeypatch.setattr(pipeline, "_sums_on_gpu", on_gpu)
        with pipeline:
            for window in range(layout.n_windows):
                writer, end = WindowWriter(path, staging_path(path), schema, window), layout.window_contexts(window)[1]
                for first, last in layout.window_batches(window, 3, 0):
                    rows, ranges = layout.writing_order(window, 8 * first, 8 * last)
                    pipeline.submit(
                        ids[first:last], 8 * first, rows, ranges, writer, contexts_done=min(last, end), last=last >= end
                    )
        finish(path)
        store = open_store(path)
        statistics.append([*store.shard_statistics(HOOK, range(layout.n_shards))])
    for host, gpu in zip(*statistics, strict=True):
        assert np.array_equal(gpu.moments, host.moments)
        assert np.array_equal(gpu.histogram, host.histogram)
        assert gpu.norms == pytest.approx(host.norms, rel=1e-12)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_row_that_is_not_finite_is_refused_wherever_it_is_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_gpu: bool
) -> None:
    schema = Schema(Layout(2, 0, 8, 16, 1, seed=0), {HOOK: 5}, "float16", "none", 8, 0)
    path, ids = tmp_path / "store.zarr", np.zeros((2, 8), dtype=np.int32)
    create(path, schema, [(ids, ids)], {"settings": {}, "model": {}, "tokens": {}}, {})
    model = MadeUpModel()
    monkeypatch.setattr(
        model, "capture", lambda tokens, on_activation: on_activation(HOOK, torch.full((2, 8, 5), 1e5, device=DEVICE))
    )
    pipeline = Pipeline(model, schema, batch_size=2, device=DEVICE, channel_scales={}, wrote=lambda *_: None)
    monkeypatch.setattr(pipeline, "_sums_on_gpu", on_gpu)
    rows, ranges = schema.layout.writing_order(0, 0, 16)
    writer = WindowWriter(path, staging_path(path), schema, 0)
    with pytest.raises(InputError, match=r"token 0 \(context 0, position 0\) is beyond"), pipeline:
        pipeline.submit(ids, 0, rows, ranges, writer, contexts_done=2, last=True)
    assert open_store(path).commit.committed == []
