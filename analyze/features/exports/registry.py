"""The formats by name, and how they are written. A new one is a file beside this one, and an entry in FORMATS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from analyze.features.exports.delphi import write_delphi
from analyze.features.exports.neuronpedia import write_neuronpedia
from analyze.features.exports.sae_features import SAEFeatures
from analyze.features.exports.saedashboard import write_saedashboard
from analyze.features.unembedding import Unembedding
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from data.command.progress import Bar
from data.errors import InputError
from data.hooks import in_residual_stream
from data.store.reader import Store
from data.system.new_folder import check_new, new_folder


@dataclass(frozen=True)
class Format:
    """A format of features.

    write: writes the features of an SAE below a folder, and returns their own folder, relative to it.
    has_logits: whether it has the logits and the text of tokens, which need the language model.
    """

    write: Callable[[SAEFeatures, Path], Path]
    has_logits: bool


FORMATS = {
    "saedashboard": Format(write_saedashboard, has_logits=True),
    "neuronpedia": Format(write_neuronpedia, has_logits=True),
    "delphi": Format(write_delphi, has_logits=False),
}


@dataclass(frozen=True)
class FeatureExport:
    """An export of features in the format `to`, a key of FORMATS, into the new folder `out`."""

    to: str
    out: Path

    @property
    def format(self) -> Format:
        return FORMATS[self.to]

    def check(self, store: Store, hooks: Sequence[str], *, with_model: bool = True) -> None:
        """Raise InputError if features of a store's hooks cannot be written in the format, or `out` exists."""
        check_new(self.out)
        if "token_ids" in store.unknown:
            raise InputError(
                f"--to {self.to}: {store.path} has no token ids, so its contexts have no text; give another --store"
            )
        if not self.format.has_logits:
            return
        if not with_model:
            raise InputError(f"--to {self.to}: needs the model's tokenizer and unembedding; leave out --without-model")
        if not store.harvested:
            raise InputError(
                f"--to {self.to}: needs the language model's tokenizer and unembedding, but {store.path} was not "
                "harvested from a model; give another --store"
            )
        for hook in hooks:
            if not in_residual_stream(hook):
                raise InputError(
                    f"--to {self.to}: {hook} is not in the residual stream's space, so its features have no logits; "
                    "leave it out with --layers, or give --to delphi"
                )

    def write(
        self, heldout: Heldout, saes: Sequence[FeatureActivity], numbers: Sequence[Sequence[int]],
        unembedding: Unembedding | None, *, seed: int = 0, device: torch.device | str = "cpu",
    ) -> list[Path]:  # fmt: skip
        """Write features of SAEs; return the folders, each once. `check` comes before.

        saes: with the rows of `heldout` in which each feature fires, noise off.
        numbers: the features of each SAE to write.
        """
        folders = []
        with new_folder(self.out) as partial:
            for fires, chosen in zip(Bar(saes, desc="features", unit="SAE"), numbers, strict=True):
                features = SAEFeatures(heldout, fires, sorted(set(chosen)), unembedding, seed, device)
                folders.append(self.format.write(features, partial))
        return [self.out / folder for folder in dict.fromkeys(folders)]
