"""The settings of each architecture, which become options of `train`, entries of run.json and columns of the report.

They are apart from the architectures because `train --help` reads them without importing PyTorch. base.py has what all
share, penalised.py, selecting.py and jumprelu.py the settings of each, and earlier.py reads those of earlier versions.
"""

from __future__ import annotations

from data.command.option_types import suggestion
from data.errors import InputError
from train.plugins import declared, known_plugin
from train.variants.base import UNKNOWN, AdjustedSettings, ArchitectureSettings, Sizes
from train.variants.earlier import IN_STEPS, in_rows
from train.variants.jumprelu import JumpReLUSettings
from train.variants.penalised import BaselineSettings, GatedSettings, NSAESettings, PAnnealSettings, ReLUSettings
from train.variants.selecting import BatchTopKSettings, FrozenSettings, MatryoshkaSettings, TopKSettings

__all__ = [
    "IN_STEPS", "SETTINGS", "UNKNOWN", "AdjustedSettings", "ArchitectureSettings", "BaselineSettings",
    "BatchTopKSettings", "FrozenSettings", "GatedSettings", "JumpReLUSettings", "MatryoshkaSettings", "NSAESettings",
    "PAnnealSettings", "ReLUSettings", "Sizes", "TopKSettings", "in_rows", "known_variants", "settings_of",
]  # fmt: skip

SETTINGS: dict[str, type[ArchitectureSettings]] = {
    "baseline": BaselineSettings,
    "nsae": NSAESettings,
    "relu": ReLUSettings,
    "gated": GatedSettings,
    "topk": TopKSettings,
    "batchtopk": BatchTopKSettings,
    "jumprelu": JumpReLUSettings,
    "matryoshka": MatryoshkaSettings,
    "p-anneal": PAnnealSettings,
    "frozen": FrozenSettings,
}


def known_variants() -> list[str]:
    """Return the names of all variants except the classes that a user names as MODULE:CLASS."""
    return [*SETTINGS, *declared()]


def settings_of(variant: str) -> type[ArchitectureSettings]:
    """Return the settings' class of a variant. Raises InputError if there is no such variant."""
    if variant in SETTINGS:
        return SETTINGS[variant]
    plugin = known_plugin(variant)
    if plugin is None:
        raise InputError(
            f"--variant {variant[:80]}: there is no such variant; "
            + suggestion(variant, known_variants(), f"give {', '.join(SETTINGS)}, or MODULE:CLASS")
        )
    settings: type[ArchitectureSettings] = plugin.Settings
    if not issubclass(settings, ArchitectureSettings):
        raise InputError(f"--variant {variant}: its Settings is not a subclass of train.variants.ArchitectureSettings")
    return settings
