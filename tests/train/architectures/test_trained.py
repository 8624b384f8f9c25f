"""All architectures trained by the command, on the same batches: continued after kills, and measured at inference."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from data.store.reader import open_store
from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.processes.zygote import Zygote
from tests.helpers.trainings import records, results, train_runs
from train import load_sae
from train.architectures import ARCHITECTURES
from train.variants import BaselineSettings

pytestmark = pytest.mark.long

OPTIONS = [
    "--variant", ",".join(ARCHITECTURES), "--k", "6", "--k", "batchtopk=5", "--l1", "relu=0.05", "--l1", "gated=0.05",
    "--dead-after", "700", "--anneal-after", "640", "--threshold", "0.05", "--bandwidth", "0.1", "--lr", "2e-3",
    "--layers", "0", "--expansion", "4", "--batch-size", "64", "--activations", "4k", "--validate-every", "1k",
    "--window", "500", "--resample-interval", "1500", "--resample-threshold", "0.02", "--resample-rows", "256",
    "--snapshots", "2", "--device", "cpu",
]  # fmt: skip
OFTEN = [*OPTIONS, "--checkpoint-minutes", "0.002"]


@pytest.fixture(scope="module")
def trained(store: LocalStore, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train all architectures without a disturbance; returns the experiment's folder."""
    return train_runs(command, store, tmp_path_factory.mktemp("runs") / "all", OPTIONS)


def test_killed_training_of_all_architectures_ends_with_the_same_files(
    trained: Path, store: LocalStore, zygote: Zygote, tmp_path: Path
) -> None:
    out, kills = tmp_path / "killed", 0
    for checkpoint in (10, 35, 55):
        process = zygote.start("train", "--store", store.path, "--out", out, *OFTEN, folder=tmp_path)
        while process.poll() is None and _newest(out) < checkpoint:
            time.sleep(0.005)
        process.kill()
        kills += process.wait().code != 0
    assert kills
    ended = zygote.start("train", "--store", store.path, "--out", out, *OFTEN, folder=tmp_path).wait()
    assert ended.code == 0, ended.stderr
    assert results(out) == results(trained)


def _newest(out: Path) -> int:
    return max((int(path.stem.partition("-")[0]) for path in out.glob("checkpoints/*.json")), default=0)


@pytest.mark.parametrize(("variant", "k"), [("batchtopk", 5), ("matryoshka", 6), ("topk", 6), ("frozen", 6)])
def test_mean_l0_at_inference_is_the_target_l0(trained: Path, store: LocalStore, variant: str, k: int) -> None:
    sae = load_sae(trained / variant, layer=0)
    rows = torch.cat(list(open_store(store.path).batches("train", [store.hooks[0]], batch_size=500)), dim=1)[0]
    l0 = (sae.encode(rows.float()) != 0).sum(dim=1).double().mean()
    assert float(l0) == pytest.approx(k, rel=0.02)


def test_a_loaded_sae_has_its_settings_and_every_run_has_them_in_its_files(trained: Path) -> None:
    assert load_sae(trained / "batchtopk", layer=0).settings.k == 5
    for variant in ARCHITECTURES:
        run = json.loads((trained / variant / "run.json").read_text(encoding="utf-8"))["run"]
        sae = load_sae(trained / variant, layer=0)
        assert {name: run[name] for name in vars(sae.settings)} == vars(sae.settings)


TERMS = {
    "baseline": {"l2", "l1"}, "nsae": {"l2", "l1"}, "relu": {"l2", "l1"}, "gated": {"l2", "l1", "aux"},
    "topk": {"l2", "aux"}, "batchtopk": {"l2", "aux"}, "matryoshka": {"l2", "aux"}, "frozen": {"l2", "aux"},
    "jumprelu": {"l2", "sparsity"}, "p-anneal": {"l2", "lp"},
}  # fmt: skip


@pytest.mark.parametrize("variant", ARCHITECTURES)
def test_metrics_have_the_terms_of_the_loss_by_name_and_their_sum_is_the_loss(trained: Path, variant: str) -> None:
    lines = records(trained / variant / "metrics.jsonl")
    assert {line["split"] for line in lines} == {"train", "heldout"}
    for line in lines:
        terms = {name: line[f"loss_{name}"] for name in TERMS[variant]}
        assert sum(terms.values()) == pytest.approx(line["loss"], rel=1e-6)
        assert {name for name in line if name.startswith("loss_")} == {f"loss_{name}" for name in terms}
        if variant == "baseline":
            assert terms["l2"] == pytest.approx(line["l2"], rel=1e-6)
            assert terms["l1"] == pytest.approx(BaselineSettings().l1 * line["l1"], rel=1e-6)
        if variant in ("topk", "relu"):
            assert terms["l2"] == pytest.approx(line["l2"] * 16, rel=1e-5)  # a sum over d_model


def test_frozen_decoder_stays_at_its_random_start(trained: Path) -> None:
    frozen, topk = (load_sae(trained / variant, layer=0) for variant in ("frozen", "topk"))
    start = ARCHITECTURES["frozen"](d_model=frozen.d_model, d_sae=frozen.d_sae)
    assert frozen.W_dec.norm(dim=1).numpy() == pytest.approx(1, abs=1e-6)
    assert not torch.equal(frozen.W_dec, topk.W_dec)
    snapshots = sorted((trained / "frozen" / "snapshots").iterdir())
    assert torch.equal(load_sae(snapshots[0], layer=0).W_dec, frozen.W_dec)
    assert not torch.equal(load_sae(snapshots[0], layer=0).W_enc, frozen.W_enc)
    assert "W_dec" not in start.trained
