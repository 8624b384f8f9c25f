"""Trained SAEs whose true difference is known, from the training to the verdict: copies of one architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

from analyze.compare.equal_l0.comparison import Comparison, compare
from analyze.compare.equal_l0.sides import Side
from analyze.measure.evaluate import measure_heldout
from analyze.measure.heldout import Heldout
from analyze.runs.configurations import configurations
from analyze.runs.trained_run import TrainedRun, find_runs
from tests.analyze.compare.equal_l0.made_up import matching_of
from tests.helpers.fixture_types import MakeStore
from train import train
from train.sae import SAE

HOOK, K, SEEDS = "blocks.0.hook_mlp_out", 12, 5
COPY = "from train.architectures.topk import TopKSAE\n\n\nclass Copy(TopKSAE):\n    pass\n"


@dataclass(frozen=True)
class ShrunkRun(TrainedRun):
    """A run whose SAEs have decoders that are shorter by a share."""

    share: float = 0.0

    def sae(self, hook: str, device: torch.device | str = "cpu") -> SAE:
        sae = super().sae(hook, device)
        sae.W_dec.detach().mul_(1 - self.share)
        return sae


@pytest.fixture(scope="module")
def copies(
    make_store_in: MakeStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Heldout, list[TrainedRun], list[TrainedRun]]:
    """(held-out rows, replicas of topk, replicas of a plug-in copy of it with other seeds)."""
    work = tmp_path_factory.mktemp("copies")
    store = make_store_in(root=work, n_contexts=120, n_heldout=40, widths={HOOK: 16})[0]
    (work / "copy.py").write_text(COPY, encoding="utf-8")
    copy = f"{work / 'copy.py'}:Copy"
    train(
        store, variant=["topk", copy], k=K, seed={"topk": range(SEEDS), copy: range(SEEDS, 2 * SEEDS)}, expansion=4,
        batch_size=64, activations="6k", lr=1e-2, lr_decay="2k", validate_every="6k", log_every="6k", snapshots=0,
        device="cpu", no_decoder_bias=True, out=work / "runs", quiet=True,
    )  # fmt: skip
    runs = sorted(find_runs([work / "runs"]), key=lambda run: run.settings.run.seed)
    return Heldout(store), runs[:SEEDS], runs[SEEDS:]


def compared(heldout: Heldout, first: Sequence[TrainedRun], second: Sequence[TrainedRun], measure: str) -> Comparison:
    estimates, _ = measure_heldout(heldout, [*first, *second])
    sides = [Side(name, configurations(runs)) for name, runs in (("topk", first), ("copy", second))]
    (comparison,) = compare(matching_of(sides, estimates, measure, [HOOK]), [measure], [K], [], heldout.unit)
    return comparison


@pytest.mark.parametrize("measure", ["explained_variance", "gamma"])
def test_copies_of_one_architecture_with_other_seeds_do_not_differ(
    copies: tuple[Heldout, list[TrainedRun], list[TrainedRun]], measure: str
) -> None:
    comparison = compared(*copies, measure)
    assert comparison.n_seeds == SEEDS
    assert not comparison.not_compared
    assert comparison.verdicts == {HOOK: "undecided"}
    assert comparison.differences[HOOK].value != 0  # two copies, not one


@pytest.mark.parametrize(("share", "verdict"), [(0.03, "undecided"), (0.25, "lower")])
def test_shorter_decoders_are_found_at_their_size_if_it_is_beyond_the_smallest_detectable_difference(
    copies: tuple[Heldout, list[TrainedRun], list[TrainedRun]], share: float, verdict: str
) -> None:
    heldout, first, second = copies
    before = compared(heldout, first, second, "gamma").differences[HOOK]
    comparison = compared(heldout, first, [ShrunkRun(**vars(run), share=share) for run in second], "gamma")
    after = comparison.differences[HOOK]
    assert after.value - before.value == pytest.approx(-share * before.at_second)
    assert (share * before.at_second > after.detectable) == (verdict == "lower")
    assert comparison.verdicts == {HOOK: verdict}
    assert abs(after.value + share * before.at_second) <= after.half_width()
