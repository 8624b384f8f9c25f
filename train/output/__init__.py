"""The files of an experiment: settings, records, checkpoints, results, and the SAEs loaded from them."""
