"""Up to which share of active features a step on pairs is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train import crossing
from train.crossing import step_seconds
from train.sae import Gradients
from train.step import Blocks, gradients

SHARES = (0.01, 0.02, 0.04)


@given(st.lists(st.tuples(st.floats(1, 9), st.floats(1, 9)), min_size=3, max_size=3))
def test_pairs_are_taken_up_to_the_last_share_at_which_they_always_were_faster(times) -> None:
    of = dict(zip(SHARES, times, strict=True))
    found = crossing.crossing(lambda share, below: of[share][0 if below else 1], SHARES)
    assert all(of[share][0] < of[share][1] for share in SHARES if share <= found)
    after = [share for share in SHARES if share > found]
    assert not after or of[after[0]][0] >= of[after[0]][1]


def test_what_is_timed_has_the_share_active_and_goes_the_way_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    blocks = Blocks.allocate(
        2, 256, 400, piece_features=400, noise_rows=256, sparse_below=0.0, compute=torch.float32, device=cpu
    )
    seen = []

    def watched(*arguments, blocks: Blocks, **options):
        found = gradients(*arguments, blocks=blocks, **options)
        seen.append((float(found.fires.sum()) / (2 * 256 * 400), blocks.sparse_below))
        return found

    monkeypatch.setattr(crossing, "gradients", watched)
    seconds = step_seconds(replace(blocks), Gradients.allocate(2, d_model=64, d_sae=400, device=cpu))
    for share, below in ((0.01, 1.0), (0.05, 0.0)):
        seen.clear()
        assert seconds(share, below) > 0
        assert all(active == pytest.approx(share, rel=0.2) for active, _ in seen)
        assert {way for _, way in seen} == {below}
