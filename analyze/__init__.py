"""Stage three: measure trained SAEs, compare them, and report. See `analyze --help`.

from analyze import evaluate
"""

from typing import TYPE_CHECKING

from data.system.lazy import attributes

__all__ = ["Evaluation", "TokenFeatures", "evaluate", "features_on_text"]

if TYPE_CHECKING:
    from analyze.features.text import TokenFeatures, features_on_text
    from analyze.measure.evaluate import Evaluation, evaluate

__getattr__ = attributes(
    __name__,
    {
        "Evaluation": "analyze.measure.evaluate", "TokenFeatures": "analyze.features.text",
        "evaluate": "analyze.measure.evaluate", "features_on_text": "analyze.features.text",
    },
)  # fmt: skip
