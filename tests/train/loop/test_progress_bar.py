"""The text of the progress bar beside the speed."""

from __future__ import annotations

from train.tables import batch_summary


def test_progress_bar_names_the_batch_and_saes_of_its_loss_and_l0() -> None:
    records = [{"loss": 1.0, "l0": 2.0}, {"loss": 3.0, "l0": 4.0}]
    assert batch_summary(records, 1) == "last logged batch, mean over 1 × 2 SAEs (runs × layers): loss 2, L0 3.0"
    assert batch_summary(records, 2) == "last logged batch, mean over 2 × 1 SAEs (runs × layers): loss 2, L0 3.0"
    assert batch_summary(records[:1], 1) == "last logged batch: loss 1, L0 2.0"
    assert batch_summary([], 0) == ""
