"""`--target-l0`: the coefficient is adjusted in training, and the biases after it, until the mean L0 is the target."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from data.errors import InputError
from data.store.reader import open_store
from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.processes.zygote import Zygote
from tests.helpers.trainings import records, results, train_runs
from train import load_sae
from train.command.grid import make_runs
from train.output.run_folder import read_info
from train.variants import Sizes

pytestmark = pytest.mark.long

TARGETS = [
    "--target-l0", "5", "--expansion", "4", "--batch-size", "64", "--lr", "1e-3", "--device", "cpu", "--snapshots", "0",
]  # fmt: skip
OF_JUMPRELU = ["--bandwidth", "0.1", "--threshold", "1", "--input-scale", "jumprelu=sqrt-d"]
LONG = [*TARGETS, "--activations", "25k", "--lr-decay", "5k", "--validate-every", "15k"]
LAYERS = {"baseline": (0, 1), "nsae": (1,), "relu": (1,), "gated": (1,), "jumprelu": (1,)}


@pytest.fixture(scope="module")
def trained(store: LocalStore, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train all architectures with a coefficient to one L0, in the layers LAYERS; returns the folder of the runs."""
    root = tmp_path_factory.mktemp("runs")
    one_layer = ",".join(variant for variant in LAYERS if variant != "baseline")
    train_runs(command, store, root / "two", [*LONG, "--layers", "0,1", "--variant", "baseline"])
    train_runs(command, store, root / "one", [*LONG, *OF_JUMPRELU, "--layers", "1", "--variant", one_layer])
    (root / "two" / "baseline").rename(root / "one" / "baseline")
    return root / "one"


@pytest.mark.parametrize("variant", LAYERS)
def test_mean_l0_is_the_target_in_each_layer(trained: Path, store: LocalStore, variant: str) -> None:
    for layer in LAYERS[variant]:
        hook = store.hooks[layer]
        rows = torch.cat(list(open_store(store.path).batches("train", [hook], batch_size=500)), dim=1)[0]
        l0 = (load_sae(trained / variant, layer=layer).encode(rows.float()) != 0).sum(dim=1).double().mean()
        assert float(l0) == pytest.approx(5, rel=0.02), hook


def test_metrics_have_the_coefficient_of_each_layer(trained: Path) -> None:
    lines = [line for line in records(trained / "baseline" / "metrics.jsonl") if line["split"] == "train"]
    by_hook = {
        hook: [line["coefficient"] for line in lines if line["hook"] == hook] for hook in {li["hook"] for li in lines}
    }
    assert all(path[-1] > 3 * path[0] > 0 for path in by_hook.values())
    assert len({path[-1] for path in by_hook.values()}) == len(by_hook) == 2


@pytest.mark.parametrize("variant", LAYERS)
def test_last_correction_is_recorded_with_the_weights(trained: Path, store: LocalStore, variant: str) -> None:
    """Undone on all training rows, of which it was fitted on a part, it gives about the recorded L0."""
    corrections = read_info(trained / variant / "final").corrections
    assert list(corrections) == [store.hooks[layer] for layer in LAYERS[variant]]
    for layer, (hook, correction) in zip(LAYERS[variant], corrections.items(), strict=True):
        assert correction.rows == 24_960
        assert correction.l0 == pytest.approx(5, rel=1e-3)  # rows of a second epoch are ties
        sae = load_sae(trained / variant, layer=layer)
        x = torch.cat(list(open_store(store.path).batches("train", [hook], batch_size=500)), dim=1)[0]
        compared = sae.compared(sae.normalise(x.float()))
        was = correction.threshold_before
        was = was / correction.threshold if variant == "jumprelu" else was - correction.threshold
        before = (compared > was).sum(dim=1).double().mean()
        assert float(before) == pytest.approx(correction.l0_before, rel=0.02)


def test_metrics_have_the_mean_l0_that_the_l0_controller_follows(trained: Path) -> None:
    lines = [line for line in records(trained / "baseline" / "metrics.jsonl") if line["split"] == "train"]
    recent = [line["l0"] for line in lines if line["hook"] == lines[-1]["hook"]][-20:]
    assert lines[-1]["mean_l0"] == pytest.approx(sum(recent) / len(recent), rel=0.1)


def test_killed_training_ends_with_the_same_files(
    store: LocalStore, command: Command, zygote: Zygote, tmp_path: Path
) -> None:
    short = [
        *TARGETS, *OF_JUMPRELU, "--layers", "0,1", "--variant", "baseline,jumprelu", "--activations", "4k",
    ]  # fmt: skip
    whole, killed = train_runs(command, store, tmp_path / "whole", short), tmp_path / "killed"
    again = ["--store", store.path, "--out", killed, *short, "--checkpoint-minutes", "0.002"]
    process = zygote.start("train", *again, folder=tmp_path)
    while process.poll() is None and not list(killed.glob("checkpoints/*.json")):
        time.sleep(0.005)
    process.kill()
    assert process.wait().code != 0
    ended = zygote.start("train", *again, folder=tmp_path).wait()
    assert ended.code == 0, ended.stderr
    assert results(killed) == results(whole)


def test_target_is_k_where_there_is_a_k() -> None:
    runs = make_runs((), {"variant": ("topk", "gated"), "target_l0": (10.0, 20.0)})
    assert [(run.name, run.settings.adjusted_to, getattr(run.settings, "k", None)) for run in runs] == [
        ("topk_k=10", 0, 10), ("topk_k=20", 0, 20), ("gated_target_l0=10", 10, None), ("gated_target_l0=20", 20, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"variant": ("topk",), "target_l0": (10.0,), "k": (8,)}, "--target-l0 and --k"),
        ({"variant": ("topk",), "target_l0": (10.5,)}, "--target-l0 10.5: topk needs a whole number"),
        ({"variant": ("relu",), "target_l0": (64.0,)}, "--target-l0 64: is not less than the 64 features"),
    ],
)
def test_impossible_target_l0_is_refused(options: dict[str, tuple[object, ...]], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_runs((), options, Sizes(d_sae=64))


def test_target_replaces_the_coefficients_of_a_preset() -> None:
    runs = make_runs(("saebench_relu", "saebench_topk"), {"target_l0": (10.0, 20.0)})
    assert [run.name for run in runs] == [
        "saebench_relu_target_l0=10", "saebench_relu_target_l0=20", "saebench_topk_k=10", "saebench_topk_k=20",
    ]  # fmt: skip


def test_target_is_recorded_with_the_run(trained: Path) -> None:
    run = json.loads((trained / "relu" / "run.json").read_text(encoding="utf-8"))["run"]
    assert run["target_l0"] == 5
