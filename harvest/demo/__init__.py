"""The model and text of `--model demo`: a small GPT-2 trained by train.py, and Python's own text (text.py)."""

from pathlib import Path

MODEL = Path(__file__).parent / "model"  # a directory in hub format
