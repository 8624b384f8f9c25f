"""The step's kernels for GPUs, in Triton, and its CUDA graph."""
