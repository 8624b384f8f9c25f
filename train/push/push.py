"""Publish finished runs on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.errors import InputError
from train.hub.address import REPOSITORY, HubAddress
from train.push.card import model_card
from train.push.content import files_of, finished_runs
from train.push.measures import measures_of
from train.push.upload import MAIN, Commit, upload

CARD = "README.md"


@dataclass(frozen=True)
class Push:
    """The content that is pushed to a repository.

    files: by path, the content or the file that has it; README.md first.
    addresses: of each run, for `load_sae`. diverged: names of the experiment's runs that are left out.
    """

    repo: str
    files: dict[str, bytes | Path]
    addresses: Sequence[str]
    diverged: Sequence[str]

    @property
    def card(self) -> str:
        """The text of the model card."""
        content = self.files[CARD]
        assert isinstance(content, bytes)
        return content.decode()

    def sizes(self) -> dict[str, int]:
        """Return the size of each file in bytes."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.files.items()
        }

    def upload(self, *, private: bool = False, branch: str = MAIN) -> Commit:
        """Write the files to the repository, in one commit. Raises InputError."""
        what = "a run" if len(self.addresses) == 1 else f"{len(self.addresses)} runs"
        return upload(self.files, self.repo, private=private, branch=branch, message=f"train push: {what}")


def prepare_push(
    path: Path, to: str, *, licence: str | None = None, report: Path | None = None, branch: str = MAIN
) -> Push:
    """Return what is pushed of a run, or of an experiment's finished runs, without using the network.

    path: the folder of the run or of the experiment. to: "user/repo". licence: an identifier such as "mit". report: the
    folder of a report, whose measures with intervals the card shows. Raises InputError.
    """
    if not REPOSITORY.fullmatch(to):
        raise InputError(f"--to {to[:80]}: is not a valid repository name; give user/repo")
    runs, diverged = finished_runs(path)
    if len({run.settings.experiment.store for run in runs}) > 1:
        raise InputError(f"{path}: its runs are of several stores; push each experiment to a repository of its own")
    top = HubAddress(to, revision=None if branch == MAIN else branch)
    addresses = [str(replace(top, folder=run.name)) for run in runs]
    card = model_card(runs, measures_of(runs, report), address=top, licence=licence)
    files: dict[str, bytes | Path] = {CARD: card.encode()}
    for run in runs:
        files |= files_of(run)
    return Push(to, files, addresses, diverged)
