"""Made-up architectures at target L0, measured on documents, whose true means are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from analyze.compare.equal_l0.matched import key_of
from analyze.compare.equal_l0.matching import Matching, samples_of
from analyze.compare.equal_l0.sides import Side, targets
from analyze.compare.summary.summarize import summarize
from analyze.compare.summary.summary import Summary
from analyze.measure.firing import FeatureActivity
from analyze.runs.configurations import configurations
from analyze.runs.settled import Drift
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimates
from tests.analyze.compare.equal_l0.made_up import mean_over_documents
from tests.analyze.experiments import experiment
from train.experiment import Run
from train.normalisation.scales import InputScale
from train.output.run_folder import RunFolder
from train.output.settings import RunSettings
from train.variants import BaselineSettings, FrozenSettings, NSAESettings, ReLUSettings, TopKSettings
from train.variants.base import ArchitectureSettings

HOOKS = [f"blocks.{i}.hook_mlp_out" for i in range(4)]
DOCUMENTS = 40
LONGEST_SENTENCE = 60  # words
SETTINGS: dict[str, Callable[[float], ArchitectureSettings]] = {
    "baseline": lambda l0: BaselineSettings(1.0, target_l0=l0),
    "nsae": lambda l0: NSAESettings(1.0, target_l0=l0),
    "relu": lambda l0: ReLUSettings(1.0, target_l0=l0),
    "topk": lambda l0: TopKSettings(int(l0)),
    "frozen": lambda l0: FrozenSettings(int(l0)),
}
Values = Callable[[str, float, int], float]  # of family, L0 and layer


@dataclass(frozen=True)
class MadeUp:
    """Architectures and their measurements.

    sides: a side per architecture. held_out, patched: their estimates.
    """

    sides: list[Side]
    held_out: Estimates
    patched: Estimates
    hooks: Sequence[str] = tuple(HOOKS)
    fires: Sequence[FeatureActivity] = field(default_factory=list)

    def summary(self, drifts: Sequence[Drift] = (), l0_values: Sequence[float] | None = None) -> Summary:
        """Return the summary at the shared targets, after checking what every summary promises."""
        chosen = targets(self.sides) if l0_values is None else l0_values
        matching = Matching(samples_of(self.held_out, self.patched, self.fires), self.sides, self.hooks)
        summary = summarize(matching, self.fires, chosen, drifts, "document")
        assert summary.sentences
        for sentence in summary.sentences:
            assert len(sentence.split()) <= LONGEST_SENTENCE, sentence
            assert sentence.endswith(".")
            assert "nan" not in sentence
        return summary


def trained_run(
    variant: str, l0: float, seed: int, *, hooks: Sequence[str] = HOOKS, trained: int = 96,
    input_scale: InputScale = "none",
) -> TrainedRun:  # fmt: skip
    """Return a run, finished with 96 rows, that has settings but no files."""
    name = f"{variant} {l0:g} {seed}"
    run_settings = Run(name, variant, 1e-3, seed, input_scale, SETTINGS[variant](l0))
    settings = RunSettings(replace(experiment(hooks), runs=(run_settings,)), provenance={})
    return TrainedRun(name, RunFolder(Path(name)), settings, trained=trained)


def made_up(
    names: Sequence[str], values: Mapping[str, Values], *, l0_values: Sequence[float] = (40.0,), n_seeds: int = 3,
    seed_spread: float = 0.001, measured_l0: Values = lambda name, l0, layer: l0, seed: int = 0,
    hooks_of: Mapping[str, Sequence[str]] | None = None, unfinished: Sequence[str] = (), documents: int = DOCUMENTS,
    input_scale: InputScale = "none", l0_values_of: Mapping[str, Sequence[float]] | None = None,
) -> MadeUp:  # fmt: skip
    """Return architectures with true values by measure; `nats_lost` and `kl` are measures with the language model.

    hooks_of, l0_values_of: by architecture, its hooks and targets if they are not all. unfinished: architectures whose
    training is.
    """
    rng = np.random.default_rng(seed)
    tokens = np.minimum(np.round(rng.lognormal(5.5, 0.8, documents)), 512)
    shares, sides, held_out, patched = tokens / tokens.sum(), list[Side](), Estimates(), Estimates()
    of_documents = 0.02 * rng.normal(size=(len(HOOKS), documents))
    for name in names:
        own_hooks = (hooks_of or {}).get(name, HOOKS)
        trained = 48 if name in unfinished else 96
        runs = [
            trained_run(name, l0, s, hooks=own_hooks, trained=trained, input_scale=input_scale)
            for l0 in (l0_values_of or {}).get(name, l0_values)
            for s in range(n_seeds)
        ]
        sides.append(Side(name, configurations(runs)))
        for run in runs:
            l0 = run.target_l0
            for layer, hook in enumerate(HOOKS):
                if hook not in own_hooks:
                    continue
                at = mean_over_documents(np.full(documents, measured_l0(name, l0, layer)), shares)
                held_out[key_of(run, hook, "l0")] = at
                for measure, value in values.items():
                    noise = seed_spread * rng.normal() + 0.002 * rng.normal(size=documents)
                    estimates = patched if measure in ("nats_lost", "kl") else held_out
                    estimate = mean_over_documents(value(name, l0, layer) + of_documents[layer] + noise, shares)
                    estimates[key_of(run, hook, measure)] = estimate
                    estimates[key_of(run, hook, "l0")] = at
    return MadeUp(sides, held_out, patched)
