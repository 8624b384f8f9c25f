"""Architectures that cannot be used are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data.errors import InputError
from train.architectures.topk import geometric_median
from train.plugins import load_plugin

COMPLETE = "from train.architectures.topk import TopKSAE\n\n\nclass Mine(TopKSAE):\n    pass\n"
BARE = COMPLETE.replace("pass", "trained = {n: s for n, s in TopKSAE.trained.items() if n != 'b_dec'}")


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("boom.py:Mine", "raise RuntimeError('no')", "fails as it is imported (RuntimeError: no); correct it"),
        ("exit.py:Mine", "raise SystemExit(3)", "fails as it is imported (SystemExit: 3)"),
        ("syntax.py:Mine", "def", "fails as it is imported (SyntaxError"),
        ("none.py:Other", COMPLETE, "has no SAE Other; name a subclass of train.SAE"),
        ("abstract.py:SAE", "from train.sae import SAE", "SAE is not complete; it needs Settings"),
        ("bare.py:Mine", BARE, "Mine lacks b_dec; every architecture has W_enc, W_dec, b_dec, and trains b_dec"),
        ("absent.py:Mine", None, "cannot be imported"),
        (":Mine", None, "is not MODULE:CLASS"),
        ("mine", None, "is not MODULE:CLASS"),
        ("", None, "is not MODULE:CLASS"),
    ],
)
def test_plugin_that_cannot_be_used_is_refused_in_a_sentence(
    name: str, code: str | None, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if code is not None:
        (tmp_path / name.partition(":")[0]).write_text(code, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        load_plugin(name)
    assert sentence in str(refused.value)


def test_plugin_in_a_file_called_as_a_library_leaves_the_library_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torch.py").write_text(COMPLETE, encoding="utf-8")
    assert load_plugin("torch.py:Mine").__name__ == "Mine"
    import torch as again

    assert again is torch


@pytest.mark.parametrize("rows", [torch.ones(20, 4), torch.randn(1, 4), torch.tensor([[1.0, 0], [-1, 0], [0, 0]])])
def test_geometric_median_is_finite_where_a_row_is_the_mean(rows: torch.Tensor) -> None:
    median = geometric_median(rows)
    assert median.isfinite().all()
    assert float((rows - median).norm(dim=1).sum()) <= float((rows - rows.mean(0)).norm(dim=1).sum()) + 1e-4
