"""An architecture of the user's own: the example of docs/extending.md, trained by the command from its file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from tests.helpers.fixture_types import MakeStore, TrainSmall
from train import load_sae

DOCS = Path(__file__).resolve().parents[3] / "docs" / "extending.md"


def test_documented_architecture_trains_from_its_file_and_loads(
    make_store: MakeStore, train_small: TrainSmall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = DOCS.read_text(encoding="utf-8")
    example = re.search(r"```python\n(\"\"\"A ReLU SAE with a learned slope.*?)```", page, re.DOTALL)
    assert example
    (tmp_path / "slope.py").write_text(example[1], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    store, _, _ = make_store(n_contexts=80, widths={"blocks.0.hook_mlp_out": 16})
    out = train_small(
        store, "--variant", "slope.py:SlopeSAE,baseline", "--slope-decay", "0,50", "--validate-every", "4k",
        "--lr", "1e-2", "--l1", "slope.py:SlopeSAE=0.1",
    )  # fmt: skip
    slopes = []
    for name in ("SlopeSAE_slope_decay=0", "SlopeSAE_slope_decay=50"):
        sae = load_sae(out / name)
        slopes.append(float((sae.get_parameter("slope") - 1).abs().mean()))
        run = json.loads((out / name / "run.json").read_text(encoding="utf-8"))["run"]
        assert (run["l1"], run["slope_decay"]) == (0.1, sae.settings.slope_decay)
        f = sae.encode(torch.randn(9, 16))
        assert f.shape == (9, sae.d_sae)
    assert slopes[0] > 2 * slopes[1] > 0
