"""The value of `--layers`: all layers, or numbers and ranges of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from data.command.option_types import shown
from data.errors import InputError
from data.hooks import layer_of


@dataclass(frozen=True)
class Layers:
    """The value of `--layers`: `all`, or ranges [low, high]. In an open range, such as `3-`, high is None."""

    text: str
    ranges: tuple[tuple[int, int | None], ...]  # empty for `all`

    def __str__(self) -> str:
        return self.text

    def choose(self, available: Iterable[int], owner: str) -> tuple[int, ...]:
        """Return the layers, sorted. Raises InputError if `owner` (a model, a store …) has not all of them."""
        known = sorted(set(available))
        if not self.ranges:
            return tuple(known)
        layers: set[int] = set()
        for low, high in self.ranges:
            end = max(known, default=-1) if high is None else high
            wanted = [layer for layer in known if low <= layer <= end]
            missing = next((layer for layer in range(low, max(low, end) + 1) if layer not in known), None)
            if missing is not None and not (high is None and wanted):
                raise InputError(
                    f"--layers {self.text}: {owner} has no layer {missing}; it has {', '.join(map(str, known))}"
                )
            layers |= set(wanted)
        return tuple(sorted(layers))

    def choose_hooks(self, hooks: Sequence[str], owner: str) -> list[str]:
        """Return the hooks in the layers; all hooks, also those outside the blocks, for `all`.

        Raises InputError if `owner` (a store, a run …) has no hook in one of the layers.
        """
        if not self.ranges:
            return list(hooks)
        layers = self.choose({layer for hook in hooks if (layer := layer_of(hook)) is not None}, owner)
        return [hook for hook in hooks if layer_of(hook) in layers]


class LayerChoice(click.ParamType[Layers]):
    """`all`, or numbers and ranges such as `0,5,8-11` and `3-` (to the end); in a TOML file also a list of numbers."""

    name = "layers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Layers:
        if isinstance(value, Layers):
            return value
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value).strip()
        if text == "all":
            return Layers(text, ())
        ranges: list[tuple[int, int | None]] = []
        for part in text.split(","):
            match = re.fullmatch(r"([0-9]{1,18})(?:(-)([0-9]{0,18}))?", part.strip())
            if match is None:
                self.fail(f"{shown(value)}: give `all`, or numbers and ranges such as 0,5,8-11 or 3-", param, ctx)
            low = int(match[1])
            high = low if match[2] is None else int(match[3]) if match[3] else None
            if high is not None and high < low:
                self.fail(f"{shown(value)}: {part.strip()} is an empty range; write {high}-{low}", param, ctx)
            ranges.append((low, high))
        return Layers(text, tuple(ranges))
