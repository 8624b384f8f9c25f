"""The overlapping stages of a harvest: forward pass, copy to the host, checks and statistics, disk, sealing."""

from harvest.pipeline.pipeline import N_BUFFERS, Pipeline

__all__ = ["N_BUFFERS", "Pipeline"]
