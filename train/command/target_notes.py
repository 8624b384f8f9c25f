"""Sentences about trainings that are too short for L0 to reach its target (sae/l0_controller.py)."""

from __future__ import annotations

from pathlib import Path

from train.experiment import Experiment
from train.output.run_folder import RunFolder, read_info

FEWEST_STEPS = 1000  # in which L0 comes near its target; many need twice as many
FAR = 0.2  # of the target


def short_training(experiment: Experiment) -> str | None:
    """Return a sentence if coefficients are adjusted to a target L0 in too few steps, else None."""
    if experiment.n_steps >= FEWEST_STEPS or not any(run.settings.adjusted_to for run in experiment.runs):
        return None
    n_steps = f"{experiment.n_steps} step{'s' if experiment.n_steps > 1 else ''}"
    return (
        f"{n_steps}: adjusting the coefficient to --target-l0 takes {FEWEST_STEPS} to {2 * FEWEST_STEPS} "
        "(docs/hyperparameters.md); give more --activations, or a smaller --batch-size"
    )


def missed_targets(out: Path, experiment: Experiment) -> str | None:
    """Return a sentence if the L0 of SAEs was far from its target before the last correction, else None.

    It counts these SAEs, and names the one with the largest distance relative to its target. Raises DamagedRunError.

    out: the folder of the experiment, whose training has ended.
    """
    misses: list[tuple[float, float, str]] = []  # |L0 / target − 1|, L0, and the rest of the sentence about it
    n_saes = 0
    for run in experiment.runs:
        target, final = run.settings.adjusted_to, RunFolder(out / run.name).final
        if not target or not final.is_dir():  # a run that diverged has no final weights
            continue
        for hook, correction in read_info(final).corrections.items():
            n_saes += 1
            miss = abs(correction.l0_before / target - 1)
            if miss > FAR:
                misses.append((miss, correction.l0_before, f"for a target of {target:g} in {run.name}, hook {hook}"))
    if not misses:
        return None
    _, l0, where = max(misses)
    return (
        f"L0 of {len(misses)} of {n_saes} SAE{'s' if n_saes > 1 else ''} was more than {100 * FAR:.0f} % from its "
        f"target before the last shift ({l0:.3g} {where}); train longer"
    )
