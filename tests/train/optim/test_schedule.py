from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from train.experiment import Experiment, Reports
from train.optim.schedule import Resampling, Schedule


def test_schedule_factors_without_warmup_or_decay_are_one() -> None:
    schedule = Schedule(1000)
    assert schedule.lr(0, 10) == schedule.lr(990, 10) == schedule.l1(0, 10) == 1


def test_schedule_warmups_rise_linearly_and_decay_ends_at_the_last_step() -> None:
    schedule = Schedule(1000, lr_warmup=100, l1_warmup=200, lr_decay=500)
    assert [schedule.lr(seen, 10) for seen in (0, 40, 90, 200, 500, 750, 990)] == [0.1, 0.5, 1, 1, 1, 0.5, 0.02]
    assert [schedule.l1(seen, 10) for seen in (0, 90, 190, 990)] == [0.05, 0.5, 1, 1]


@given(
    interval=st.integers(1, 500), window=st.integers(1, 700), at_most=st.integers(0, 5), batch=st.integers(1, 90),
    steps=st.integers(1, 60),
)  # fmt: skip
def test_resampling_happens_once_per_interval_and_counts_the_window_before_it(
    interval: int, window: int, at_most: int, batch: int, steps: int
) -> None:
    plan = Resampling(interval, window, 0.0, at_most, 10)
    counted, done = 0, []
    for step in range(steps):
        seen, now = step * batch, (step + 1) * batch
        counted += batch
        if plan.due(seen, now):
            done.append(now)
            if interval >= batch:  # the window's first and last step may hold a single row of it each
                assert min(window, interval - batch + 1) <= counted <= min(window, interval) + 2 * (batch - 1)
        if plan.window_begins(seen, now):
            counted = 0
    crossed = [k for k in range(1, at_most + 1) if k * interval <= steps * batch]
    assert len(done) == len({-(-k * interval // batch) for k in crossed})


def experiment(total: int, batch: int, every: int, snapshots: int) -> Experiment:
    reports = Reports(log_every=1, validate_every=every, validate_rows=1, window=1, snapshots=snapshots)
    return Experiment(
        "", (), (), 1, batch, True, "scaled", None, "float32", 0, None, Schedule(total), None, reports  # type: ignore[arg-type]
    )  # fmt: skip


@given(
    total=st.integers(1, 10**6), batch=st.integers(1, 5000), every=st.integers(1, 10**6), snapshots=st.integers(0, 30)
)
def test_validations_are_spaced_as_set_and_snapshots_are_a_subset_of_them(
    total: int, batch: int, every: int, snapshots: int
) -> None:
    total, every = max(total, batch), max(every, total // 200 + 1)
    made = experiment(total, batch, every, snapshots)
    steps = made.validation_steps()
    assert steps == sorted(set(steps))
    assert steps[-1] == made.n_steps
    assert all((step * batch) // every > ((step - 1) * batch) // every for step in steps[:-1])
    kept = made.snapshot_steps()
    assert kept <= set(steps)
    assert len(kept) <= max(snapshots + 1, 0)
    assert bool(kept) == bool(snapshots)
