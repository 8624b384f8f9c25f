"""The card of a pushed run: its README.md on the hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from data import Store
from tests.helpers.servers.hub import Hub
from tests.train.interchange.push.published import Command, metadata, pushed
from train import export_sae, import_run, load_sae
from train.output.metrics_file import read_records
from train.output.run_folder import RunFolder
from train.output.settings import read_run_settings, write_run_settings
from train.push.push import prepare_push


def test_the_card_has_metadata_settings_data_and_measures(push: Command, run: Path) -> None:
    done = push(run, "--to", "me/saes", "--licence", "cc-by-4.0", "--dry-run", HF_TOKEN=None, HF_ENDPOINT="http://[::")
    assert (done.code, done.stderr) == (0, "")
    about = metadata(done.stdout)
    assert about["library_name"] == "nsae-pipeline"
    assert about["license"] == "cc-by-4.0"
    assert about["tags"] == ["sparse-autoencoder", "baseline"]
    assert "base_model" not in about  # a local model
    last = [r for r in read_records(RunFolder(run)) if r["split"] == "heldout" and "layers.1" not in r["hook"]][-1]
    assert f"| `{last['hook']}` | {last['l0']:.4g} | {last['explained_variance']:.4g} |" in done.stdout
    for part in ("| `l1` | `0.001` |", "| `activations` | `2000` |", "| model | `tiny` |", "| text | `texts` |"):
        assert part in done.stdout
    assert 'load_sae("hf://me/saes", hook="blocks.0.hook_mlp_out")' in done.stdout
    assert f"final/sae.safetensors: {(run / 'final' / 'sae.safetensors').stat().st_size:,} bytes" in done.stdout


def test_the_card_names_a_model_and_a_text_of_the_hub(push: Command, run: Path, tmp_path: Path) -> None:
    copy = RunFolder(shutil.copytree(run, tmp_path / "copy"))
    settings = read_run_settings(copy)
    provenance = {
        "model": {"name": "someone/model", "revision": "abc"},
        "tokens": {"dataset": "someone/text | <b>"}, "settings": {"dataset": "/home/me/text"},
    }  # fmt: skip
    write_run_settings(copy, settings.experiment, settings.run, provenance)
    done = push(copy.path, "--to", "me/saes", "--dry-run")
    assert done.code == 0, done.stderr
    assert metadata(done.stdout)["base_model"] == "someone/model"
    assert "| text | `someone/text / <b>` |" in done.stdout
    settings_file = prepare_push(copy.path, "me/saes").files["run.json"]
    assert isinstance(settings_file, bytes)
    assert json.loads(settings_file)["provenance"] == {**provenance, "settings": {"dataset": "text"}}


def imported(run: Path, store: Store, tmp_path: Path, metadata: dict[str, Any], provenance: dict[str, Any]) -> Path:
    """Return an imported run whose files have SAELens's metadata, on a store with this provenance."""
    folder = export_sae(load_sae(run, layer=0), to="saelens", out=tmp_path / "out")
    config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    (folder / "cfg.json").write_text(json.dumps({**config, "metadata": metadata}), encoding="utf-8")
    theirs = RunFolder(import_run(folder, store=store, out=tmp_path / "theirs", hook="blocks.0.hook_mlp_out").folder)
    settings = read_run_settings(theirs)
    write_run_settings(theirs, settings.experiment, settings.run, {**settings.provenance, **provenance})
    return theirs.path


def test_the_card_of_an_imported_sae_has_what_its_files_say_and_no_settings_of_a_training(
    push: Command, run: Path, store: Store, tmp_path: Path
) -> None:
    said = {"model_name": "their/model", "dataset_path": "their/text", "context_size": 9}
    theirs = imported(run, store, tmp_path, said, {"model": {"name": "store/model", "revision": "abc"}})
    done = push(theirs, "--to", "me/saes", "--dry-run")
    assert done.code == 0, done.stderr
    about = metadata(done.stdout)
    assert (about["base_model"], about["datasets"]) == ("their/model", ["their/text"])
    assert "of the activations of `their/model`, imported with" in done.stdout
    for part in ("| model | `their/model` |", "| text | `their/text` |", "| context size | `9` |",
                 "| format | `saelens` |", "| model | `store/model` |", "| text | `texts` |"):  # fmt: skip
        assert part in done.stdout
    for setting in ("lr", "seed", "batch_size", "activations", "l1", "init"):
        assert f"`{setting}`" not in done.stdout
    assert "| activations |" not in done.stdout
    assert "| `subtract_bias` | `True` |" in done.stdout


def test_the_card_of_an_imported_sae_whose_files_say_nothing_names_the_stores_model_but_not_its_text(
    push: Command, run: Path, store: Store, tmp_path: Path
) -> None:
    provenance = {"model": {"name": "store/model", "revision": "abc"}, "tokens": {"dataset": "store/text"}}
    done = push(imported(run, store, tmp_path, {}, provenance), "--to", "me/saes", "--dry-run")
    assert done.code == 0, done.stderr
    about = metadata(done.stdout)
    assert about["base_model"] == "store/model"
    assert "datasets" not in about
    assert "| text | `store/text` |" in done.stdout


def test_the_card_takes_intervals_from_a_report(push: Command, run: Path, tmp_path: Path) -> None:
    settings = read_run_settings(RunFolder(run))
    row = {"run": settings.run.name, "hook": "blocks.0.hook_mlp_out", "noise": False, "measure": "l0"}
    rows = [
        {**row, "subset": "all", "value": 3.25, "low": 3.125, "high": 3.5},
        {**row, "subset": "without 0", "value": 9.0, "low": 8.0, "high": 9.5},
        {**row, "subset": "all", "noise": True, "value": 7.0, "low": 6.0, "high": 7.5},
    ]
    tables = {"store": {"fingerprint": settings.experiment.store}, "measures": rows, "patching": []}
    (tmp_path / "metrics.json").write_text(json.dumps(tables))
    done = push(run, "--to", "me/saes", "--dry-run", "--report", tmp_path)
    assert "| `blocks.0.hook_mlp_out` | 3.25 (3.125 to 3.5) |\n" in done.stdout
    for changed, message in (
        ({"store": {"fingerprint": "other"}}, "is of another store"),
        ({"measures": [{**rows[0], "run": "another"}]}, f"has no run {settings.run.name}"),
        ({"measures": [{"run": settings.run.name}]}, "is not the metrics.json of a report"),
    ):
        (tmp_path / "metrics.json").write_text(json.dumps({**tables, **changed}))
        done = push(run, "--to", "me/saes", "--dry-run", "--report", tmp_path)
        assert (done.code, len(done.stderr.splitlines())) == (2, 1)
        assert message in done.stderr


def test_a_card_that_the_hub_made_is_replaced(push: Command, hub: Hub, run: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "README.md").write_text("---\nlicense: mit\n---\n")
    hub.add("models", "me/made", tmp_path / "made")
    assert push(run, "--to", "me/made").code == 0
    assert "## Load" in (pushed(hub, "me/made") / "README.md").read_text()
