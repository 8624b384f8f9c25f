"""The JSON files in which an experiment records its settings, and a run that it diverged.

OUT/experiment.json    ExperimentRecord: the settings, and the options for --resume
OUT/RUN/run.json       RunSettings: the settings of one run, and the store's provenance
OUT/RUN/failed.json    Failure: the step and hook at which a run diverged
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from data.errors import InputError
from train.experiment import Experiment, Run
from train.normalisation.scales import SCALED_ONLY
from train.output.files.checked import DamagedRunError, read_checked, write_checked
from train.output.files.typed import typed
from train.output.run_folder import METADATA, RunFolder
from train.plugins import identity
from train.variants import in_rows, settings_of

EXPERIMENT = "experiment.json"
PLAIN = re.compile(r"\w[\w.,=+-]*", re.ASCII)  # a name that leads to no other folder


@dataclass(frozen=True)
class ExperimentRecord:
    """experiment.json.

    settings: the Experiment as JSON.
    command: the options that began it, by name, which --resume repeats.
    measured: figures measured when the experiment began, which a resumed training reuses.
    overwrites: the experiment was begun with --overwrite, so the same command continues it instead of replacing it.
    """

    settings: dict[str, Any]
    command: dict[str, Any]
    measured: dict[str, float] = field(default_factory=dict)
    overwrites: bool = False

    def write(self, out: Path) -> None:
        write_checked(out / EXPERIMENT, asdict(self))


@dataclass(frozen=True)
class RunSettings:
    """run.json: all that determines one run.

    experiment: its experiment's settings, with this run alone in `runs`.
    provenance: the store's provenance: the model, the tokens and the harvest's settings.
    """

    experiment: Experiment
    provenance: dict[str, Any]

    @property
    def run(self) -> Run:
        return self.experiment.runs[0]

    @property
    def model(self) -> str | None:
        """Name of the language model; None if the store's activations come from none."""
        model = self.provenance.get("model")
        name = model.get("name") if isinstance(model, dict) else None
        return name if isinstance(name, str) else None

    @property
    def imported(self) -> dict[str, Any] | None:
        """What `train import` recorded of the files; None if the SAE was trained here."""
        imported = self.provenance.get("imported")
        return imported if isinstance(imported, dict) else None

    @property
    def imported_from(self) -> str | None:
        """The format of the files that `train import` read; None if the SAE was trained here."""
        return None if self.imported is None else str(self.imported.get("format"))

    @property
    def rows_known(self) -> bool:
        """False for an imported SAE whose files do not say how many rows it was trained on."""
        if self.imported is None:
            return True
        origins = self.imported.get("origins")
        return isinstance(origins, list) and all(origin.get("trained_rows") is not None for origin in origins)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as run.json holds them: the experiment's, with `run` instead of `runs`."""
        shared = self.experiment.to_json()
        (run,) = shared.pop("runs")
        return {**shared, "run": run, "provenance": self.provenance}


@dataclass(frozen=True)
class Failure:
    """failed.json: the step and hook at which a run diverged, and why."""

    step: int
    hook: str
    why: str


def read_experiment(out: Path) -> ExperimentRecord | None:
    """Read OUT/experiment.json; None if there is none. Raises DamagedRunError."""
    return read_checked(ExperimentRecord, out / EXPERIMENT) if (out / EXPERIMENT).exists() else None


def read_failure(folder: RunFolder) -> Failure | None:
    """Read a run's failed.json; None if the run did not diverge. Raises DamagedRunError."""
    return read_checked(Failure, folder.failure) if folder.failure.exists() else None


def sae_metadata(experiment: Experiment, run: Run) -> dict[str, str]:
    """Return the metadata of a run's sae.safetensors: one entry, because the library writes several in any order."""
    about: dict[str, Any] = {
        "run": run.name, "variant": run.variant, "hooks": experiment.hooks, "store": experiment.store,
        "settings": asdict(run.settings),
    }  # fmt: skip
    if run.input_form != SCALED_ONLY:
        about["input_form"] = asdict(run.input_form)
    return {METADATA: json.dumps(about)}


def write_run_settings(folder: RunFolder, experiment: Experiment, run: Run, provenance: Mapping[str, Any]) -> None:
    """Write the run.json of one run of an experiment."""
    settings = RunSettings(replace(experiment, runs=(run,)), dict(provenance))
    write_checked(folder.settings, settings.to_json())


def read_run_settings(folder: RunFolder) -> RunSettings:
    """Read and check a run's run.json. Raises DamagedRunError."""
    content = read_checked(dict[str, Any], folder.settings)
    shared = {name: value for name, value in content.items() if name not in ("run", "provenance")}
    try:
        provenance = typed(dict[str, Any], content.get("provenance"), "provenance")
        experiment = experiment_of({**shared, "runs": [content.get("run")]})
        _check_values(experiment)
    except ValueError as error:
        raise DamagedRunError(f"{folder.settings} is damaged: {error}") from error
    except InputError as error:
        raise InputError(f"{folder.settings}: {error}") from error
    return RunSettings(experiment, provenance)


def experiment_of(value: Mapping[str, Any]) -> Experiment:
    """Return the experiment of `Experiment.to_json`. Raises ValueError."""
    runs = value.get("runs")
    if not isinstance(runs, (list, tuple)):
        raise ValueError("it lacks runs")
    experiment = typed(Experiment, {**value, "runs": []})
    return replace(experiment, runs=tuple(_run_of(run, experiment.batch_size) for run in runs))


def as_written_now(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the recorded settings of an experiment as this version writes them. Raises ValueError."""
    return experiment_of(settings).to_json()


def _run_of(value: Any, batch_size: int) -> Run:
    """Return the run of `Run.to_json`, of an experiment with this batch size. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError("run is not an object")
    hints = {name: hint for name, hint in get_type_hints(Run).items() if name != "settings"}
    needed = [field.name for field in fields(Run) if field.default is MISSING and field.name in hints]
    missing = next((name for name in needed if name not in value), None)
    if missing:
        raise ValueError(f"it lacks runs[0].{missing}")
    of_run = {name: typed(hint, value[name], f"runs[0].{name}") for name, hint in hints.items() if name in value}
    of_run["variant"] = identity(of_run["variant"])  # earlier versions recorded a file's folder too
    try:
        kind = settings_of(of_run["variant"])
    except InputError as error:
        if ":" in of_run["variant"]:
            raise  # another package's, which the user can name
        raise ValueError(f"the variant {of_run['variant'][:80]!r} is unknown to this version") from error
    settings = {name: entry for name, entry in value.items() if name not in hints}
    if not any(setting.name == "sigma" for setting in fields(kind)):
        settings.pop("sigma", None)  # earlier versions recorded one for architectures without noise
    return Run(**of_run, settings=typed(kind, in_rows(settings, batch_size), "runs[0]"))


def _check_values(experiment: Experiment) -> None:
    """Raise ValueError if a value is one that `train` never writes."""
    for name in (*experiment.hooks, *(run.name for run in experiment.runs)):
        if not PLAIN.fullmatch(name):
            raise ValueError(f"{name[:80]!r} is not a valid name of a hook or a run")
    if not experiment.hooks or len(set(experiment.hooks)) < len(experiment.hooks):
        raise ValueError("its hooks are not a list of different names")
    if not 0 < experiment.batch_size <= experiment.schedule.total:
        raise ValueError("its batch size is not between 1 and its number of rows")
