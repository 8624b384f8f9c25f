"""What a harvest computes on a GPU beside the model: the statistics of the rows, by Triton."""
