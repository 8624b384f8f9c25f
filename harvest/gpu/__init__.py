"""The statistics of the rows on a GPU, by Triton."""
