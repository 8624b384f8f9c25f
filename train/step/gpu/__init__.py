"""The backend of a step on NVIDIA GPUs: Triton kernels, and the step as a CUDA graph."""
