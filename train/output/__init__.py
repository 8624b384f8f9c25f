"""An experiment's files: run folders, checkpoints, metrics, and the SAEs loaded from them."""
