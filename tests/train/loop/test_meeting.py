"""The decisions of rank 0 on the reports of all ranks."""

from __future__ import annotations

from train.loop.meeting import Divergence, Report, decide


def test_run_diverges_at_its_first_step_and_there_in_its_first_layer() -> None:
    reports = [
        Report([], [Divergence(step=3, layer=0, run="a"), Divergence(step=2, layer=5, run="a")], stopping=False),
        Report([], [Divergence(step=2, layer=4, run="a"), Divergence(step=1, layer=0, run="dropped")], stopping=False),
    ]
    decision = decide(reports, {"dropped"}, save=False, next_meeting=4)
    assert decision.diverged == [Divergence(step=2, layer=4, run="a")]


def test_all_ranks_stop_if_one_is_asked_to() -> None:
    reports = [Report([], [], stopping=False), Report([], [], stopping=True)]
    assert decide(reports, set(), save=False, next_meeting=1).stop
    assert not decide(reports[:1], set(), save=False, next_meeting=1).stop
