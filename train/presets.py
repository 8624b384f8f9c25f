"""Presets: named runs with the values that a reference trains with, from presets.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from data.command.option_types import suggestion
from data.errors import InputError

# Options that count rows of a training, and so scale with its length.
IN_ROWS = ("lr_warmup", "l1_warmup", "lr_decay", "threshold_after", "anneal_after", "dead_after")


@dataclass(frozen=True)
class Preset:
    """A named run; a run per value where an option has several.

    suite: name of the suite, which stands for all of its presets.
    variant: its architecture.
    values: by option; counts of rows are those for `activations` rows.
    activations, batch_size: rows of the suite's training, and per step.
    """

    name: str
    suite: str
    variant: str
    values: Mapping[str, tuple[Any, ...]]
    activations: int
    batch_size: int

    def scaled(self, activations: int | None) -> dict[str, tuple[Any, ...]]:
        """Return the values for a training on some rows, with counts of rows in proportion; None: unchanged."""
        if activations is None:
            return dict(self.values)
        counts = {
            name: tuple(max(count * activations // self.activations, 1) for count in self.values[name])
            for name in self.values.keys() & {*IN_ROWS}
        }
        return {**self.values, **counts}


def presets() -> dict[str, Preset]:
    """Return all presets by name."""
    return {
        name: Preset(
            name, suite, values["variant"],
            {
                option: tuple(value) if isinstance(value, list) else (value,)
                for option, value in {**tables.get("runs", {}), **values}.items()
                if option != "variant"
            },
            tables["experiment"]["activations"], tables["experiment"]["batch_size"],
        )
        for suite, tables in _tables().items()
        for name, values in tables["presets"].items()
    }  # fmt: skip


def table_a2() -> dict[str, Any]:
    """Return Table A2 of the post by option, whose values are also the defaults of runs without a preset."""
    table: dict[str, Any] = _tables()["post"]["experiment"]
    return table


def suites() -> dict[str, list[str]]:
    """Return the names of each suite's presets."""
    return {suite: list(tables["presets"]) for suite, tables in _tables().items()}


def chosen_presets(names: Sequence[str]) -> list[Preset]:
    """Return the presets that some names of presets and suites stand for. Raises InputError."""
    known = presets()
    chosen: dict[str, Preset] = {}
    for name in names:
        members = [preset for preset in known.values() if name in (preset.name, preset.suite)]
        if not members:
            all_names = [*suites(), *known]
            hint = suggestion(name, all_names, f"give {', '.join(all_names)}")
            raise InputError(f"--preset {name[:80]}: there is no such preset; {hint}")
        for preset in members:
            if preset.name in chosen:
                raise InputError(f"--preset {','.join(names)}: names {preset.name} twice; name each once")
            chosen[preset.name] = preset
    return list(chosen.values())


def suite_value(names: Sequence[str], option: Literal["activations", "batch_size"]) -> int:
    """Return an option of the whole training as the named presets have it; the post's without a preset.

    Raises InputError if the presets do not agree.
    """
    values = dict.fromkeys(getattr(preset, option) for preset in chosen_presets(names))
    if len(values) > 1:
        flag = f"--{option.replace('_', '-')}"
        raise InputError(
            f"--preset {','.join(names)}: their references train with different {flag} "
            f"({', '.join(map(str, values))}); give one"
        )
    return next(iter(values), table_a2()[option])


def _tables() -> dict[str, Any]:
    """Return the tables of presets.toml by suite."""
    return tomllib.loads(files("train").joinpath("presets.toml").read_text(encoding="utf-8"))
