"""The counterpart of the experiment's folder on ranks other than 0: they send their layers to rank 0, which writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from train.output.experiment_writer import same_checkpoint
from train.output.manifests import Manifest
from train.output.metrics_file import Record
from train.output.run_folder import RunFolder, read_checkpoint
from train.output.run_state import RunState
from train.ranks.protocol import Ranks


class RankWriter:
    """Does what ExperimentWriter asks of the other ranks; see Writer.

    start, diverged: those of rank 0's writer.
    """

    def __init__(self, path: Path, runs: Sequence[RunState], ranks: Ranks) -> None:
        """Restore this rank's layers of the runs from the checkpoint that rank 0 has chosen in the folder `path`."""
        shared: tuple[Manifest, set[str]] = ranks.share()
        self.start, self.diverged = shared
        self._newest = self.start
        for state in runs:
            if self.start.runs and state.run.name not in self.diverged:
                where = RunFolder(path / state.run.name).checkpoint_or_final(self.start.name)
                state.restore(read_checkpoint(where), where=where)

    def record(self, records: Sequence[tuple[str, Record]]) -> None:
        """Do nothing: records reach rank 0 when the ranks meet."""

    def add_timing(self, *, rows: int, waited: float) -> None:
        """Do nothing: timing.jsonl is rank 0's."""

    def write_timing(self, step: int, rows: int) -> None:
        """Do nothing: timing.jsonl is rank 0's."""

    def note(self, sentence: str) -> None:
        """Do nothing: rank 0 prints it."""

    def mark_diverged(self, run: str, hook: str, step: int) -> None:
        """Drop a run."""
        self.diverged.add(run)

    def snapshot(self, step: int, runs: Sequence[RunState]) -> None:
        """Send this rank's weights of all runs."""
        for state in runs:
            state.gather_sae()

    def checkpoint_is_due(self, step: int) -> bool:
        raise AssertionError("rank 0 decides")

    def checkpoint(self, step: int, pending: Sequence[str], runs: Sequence[RunState]) -> None:
        """Send this rank's layers of all runs."""
        manifest = Manifest(step, tuple(pending), tuple(state.run.name for state in runs))
        if not runs or same_checkpoint(manifest, self._newest):
            return
        for state in runs:
            state.gather()
        self._newest = manifest

    def finish(self, runs: Sequence[RunState]) -> None:
        """Do nothing: rank 0 renames the folders."""

    def close(self) -> None:
        """Do nothing: no file is open."""
