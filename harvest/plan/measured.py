"""The measured constants of a plan, each with its benchmark and machine. Tests compare them with the results' files.

The H200's machine has 16 cores of an Intel Xeon.
"""

from __future__ import annotations

# Product of two bfloat16 matrices of 8192² on an H200 (benchmarks/results/harvest_gpu.json).
GPU_TFLOPS = 726.0

# Forward pass of GPT-2's shape over such a product, in FLOP/s, on an H200: contexts of 256 tokens, 64 per batch,
# bfloat16, without hooks and without writing (benchmarks/results/harvest_gpu.json, "bare").
COMPILED_PASS, UNCOMPILED_PASS = 0.57, 0.34

# Forward pass of TransformerLens over that of `transformers`, GPT-2's shape, 2 CPU cores (benchmarks/results/
# harvest.json). It was not measured on a GPU.
TRANSFORMER_LENS = 0.56

# Bytes per second that one process copied from an H200 and wrote to memory: 233,000 tokens/s of 12 × 768 float16
# values, the slowest run (docs/performance.md, "On a GPU").
PIPELINE_BYTES_PER_SECOND = 4.3e9

# Dense training step of twelve SAEs of 768 → 12,288 over such a product, in FLOP/s, on an H200: bfloat16, batches of
# 4096 rows (benchmarks/results/train_step_gpu.json, "ours, twelve, dense").
TRAINING_STEP = 0.63

# Memory of an H200, by its data sheet.
GPU_MEMORY_BYTES = 141e9
