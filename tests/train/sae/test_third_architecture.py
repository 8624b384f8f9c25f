"""Another architecture is one file and one line: the example of docs/extending.md, trained by the command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.fixture_types import MakeStore, TrainSmall
from train import load_sae
from train.sae import ARCHITECTURES

DOCS = Path(__file__).resolve().parents[3] / "docs" / "extending.md"


def test_documented_topk_architecture_trains_and_loads(
    make_store: MakeStore, train_small: TrainSmall, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = re.search(r"```python\n(\"\"\"TopK.*?)```", DOCS.read_text(), re.DOTALL)
    assert example
    namespace: dict[str, Any] = {}
    exec(compile(example[1], "topk.py", "exec"), namespace)
    monkeypatch.setitem(ARCHITECTURES, "topk", namespace["TopKSAE"])
    store, _, _ = make_store(n_contexts=80, widths={"blocks.0.hook_mlp_out": 16})
    out = train_small(store, "--variant", "topk,baseline", "--validate-every", "4k", "--lr", "1e-3")
    sae = load_sae(out / "topk")
    c = sae.encode(torch.randn(9, 16))
    assert (c > 0).sum(dim=1).max() <= namespace["K"]
