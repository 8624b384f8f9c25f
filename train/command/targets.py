"""The meaning of `--target-l0` for each variant: its k, or the L0 to which its coefficient is adjusted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from data.errors import InputError
from train.command.options import options_of_variant
from train.command.per_variant import EVERY, Values, values_for
from train.variants import AdjustedSettings, settings_of

TARGET = "target_l0"


def by_variant(options: Mapping[str, Values], variants: Sequence[str]) -> dict[str, Values]:
    """Return the options, in which variants with a k and no target have `--target-l0` as `--k`.

    options: the values of each option by variant. Raises InputError if both are given for such a variant, or a target
    that is not a whole number.
    """
    targets, k = options.get(TARGET, {}), options.get("k", {})
    known = {variant: options_of_variant(variant) for variant in variants}
    counted = {
        variant: wanted
        for variant, names in known.items()
        if "k" in names and TARGET not in names and (wanted := values_for(targets, variant)) is not None
    }
    if not counted:
        return dict(options)
    for variant, wanted in counted.items():
        if values_for(k, variant) is not None:
            raise InputError(f"--target-l0 and --k: both give {variant} its number of active features; leave out one")
        fraction = next((value for value in wanted if value < 1 or value != int(value)), None)
        if fraction is not None:
            raise InputError(f"--target-l0 {fraction:g}: {variant} needs a whole number of active features, at least 1")
    others = {variant: wanted for variant, wanted in targets.items() if variant not in counted}
    if all(variant in counted for variant in variants):
        others.pop(EVERY, None)
    rest = {name: values for name, values in options.items() if name not in (TARGET, "k")}
    counts = {
        **k,
        **{variant: tuple(int(value) for value in wanted) for variant, wanted in counted.items()},
    }
    return {**rest, "k": counts, **({TARGET: others} if others else {})}


def settled(
    options: Mapping[str, tuple[Any, ...]], preset: Collection[str], variant: str
) -> dict[str, tuple[Any, ...]]:
    """Return the values of a variant's options, settled where a target is among them.

    Of several sparsity terms, it has the one that brings L0 to the target, unless another is chosen. It has no
    coefficient of a preset. preset: the options whose values come from a preset.
    """
    if not any(options.get(TARGET, ())):
        return dict(options)
    chosen = {"sparsity": ("target",)} if "sparsity" in options_of_variant(variant) else {}
    values = {**chosen, **options}
    adjusted = issubclass(settings_of(variant), AdjustedSettings) or values.get("sparsity") == ("target",)
    return {name: of_option for name, of_option in values.items() if not (adjusted and name == "l1" and name in preset)}
