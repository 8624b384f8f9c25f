"""Stage three: measure trained SAEs, compare them, and report. See `analyze --help`.

from analyze import evaluate
"""

from typing import TYPE_CHECKING

from data.system.lazy import attributes

__all__ = ["Evaluation", "evaluate"]

if TYPE_CHECKING:
    from analyze.measure.evaluate import Evaluation, evaluate

__getattr__ = attributes(__name__, {"Evaluation": "analyze.measure.evaluate", "evaluate": "analyze.measure.evaluate"})
