"""The embedded default: a small GPT-2 trained by train.py, and text that Python carries (text.py)."""

from pathlib import Path

MODEL = Path(__file__).parent / "model"  # a directory in hub format
