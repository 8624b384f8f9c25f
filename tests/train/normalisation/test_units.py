"""The normalisation of rows and the way back, in every architecture, against float64 by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.architectures import ARCHITECTURES
from train.normalisation.scales import SCALED_ONLY, InputForm
from train.sae import SAE

D, M, ROWS = 7, 20, 9
FORMS = [InputForm(centred, rows) for centred in (False, True) for rows in ("none", "norm", "deviation")]
IDS = [f"{form.rows}{'-centred' * form.centred}" for form in FORMS]
by_form = pytest.mark.parametrize("form", FORMS, ids=IDS)


def by_hand(form: InputForm, scale: float, mean: Tensor, x: Tensor) -> tuple[NDArray[np.float64], ...]:
    """Return the rows as an SAE sees them, and each row's scale [rows, 1] and offset [rows, d]."""
    rows, offset = x.numpy(), np.zeros((len(x), D))
    if form.centred:
        offset = offset + mean.numpy()
    divisor = np.ones((len(x), 1))
    if form.rows == "norm":
        divisor = np.sqrt(np.square(rows - offset).sum(axis=1, keepdims=True))
    if form.rows == "deviation":
        offset = offset + (rows - offset).mean(axis=1, keepdims=True)
        divisor = np.sqrt(np.square(rows - offset).sum(axis=1, keepdims=True) / (D - 1)) + 1e-5
    return (rows - offset) / (divisor * scale), divisor * scale, offset


def make(variant: str, form: InputForm, *stack: int, **settings: Any) -> SAE:
    filled_settings = replace(ARCHITECTURES[variant].Settings(), **settings)
    sae = ARCHITECTURES[variant](
        *stack, d_model=D, d_sae=M, settings=filled_settings, dtype=torch.float64, input_form=form
    )
    generator = torch.Generator().manual_seed(0)
    for tensor in sae.tensors().values():
        tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - 0.4)
    sae.input_scale.fill_(2.5)
    return sae


def rows() -> Tensor:
    return torch.randn(ROWS, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3 + 1


@by_form
@pytest.mark.parametrize("variant", ARCHITECTURES)
def test_sae_encodes_normalised_rows_and_reconstructs_raw_rows(variant: str, form: InputForm) -> None:
    sae, x = make(variant, form), rows()
    mean = sae.get_buffer("input_mean") if form.centred else torch.zeros(D)
    seen, scale, offset = by_hand(form, 2.5, mean, x)
    c = sae.encode(x)
    torch.testing.assert_close(c, sae.activations(torch.from_numpy(seen)), rtol=1e-12, atol=1e-12)
    expected = (c @ sae.W_dec + sae.b_dec).numpy() * scale + offset
    np.testing.assert_allclose(sae(x).numpy(), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sae.decode(c, x).numpy(), expected, rtol=1e-12, atol=1e-12)
    x_hat = torch.from_numpy(expected)
    np.testing.assert_allclose(
        sae.input_units(x).norms(x_hat)[:, None].numpy(),
        np.linalg.norm((expected - offset) / scale, axis=1, keepdims=True), rtol=1e-12,
    )  # fmt: skip


@by_form
def test_stack_normalises_as_its_saes_do(form: InputForm) -> None:
    stack, x = make("baseline", form, 3), torch.stack([rows() * k for k in (1.0, 2.0, 5.0)])
    stack.input_scale.copy_(torch.tensor([0.5, 1.0, 2.0]))
    one_by_one = torch.stack([stack.single(i).normalise(x[i]) for i in range(3)])
    assert torch.equal(stack.normalise(x), one_by_one)
    norms = torch.linalg.vector_norm(x, dim=-1)
    units = stack.input_units(x, norms)
    torch.testing.assert_close(units.norms(x, norms), torch.linalg.vector_norm(one_by_one, dim=-1), rtol=1e-12, atol=0)
    torch.testing.assert_close(units.normalise_(x.clone()), one_by_one, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(units.denormalise(one_by_one), x, rtol=1e-12, atol=1e-12)


@by_form
def test_decoding_needs_the_rows_only_where_each_has_a_scale_of_its_own(form: InputForm) -> None:
    sae, x = make("baseline", form), rows()
    c = sae.encode(x)
    if form.rows == "none":
        assert torch.equal(sae.decode(c), sae.decode(c, x))
    else:
        with pytest.raises(ValueError, match=r"give decode the rows that were encoded: decode\(c, x\)"):
            sae.decode(c)


@by_form
def test_rows_of_zeros_stay_finite(form: InputForm) -> None:
    sae, x = make("baseline", form), torch.zeros(2, D, dtype=torch.float64)
    assert sae(x).isfinite().all()
    if form == InputForm(rows="norm"):
        assert torch.equal(sae.normalise(x), x)


def test_normalisation_broadcasts_over_contexts() -> None:
    """As in patching, which encodes rows [contexts, positions, d_model]."""
    sae, x = make("baseline", InputForm(True, "norm")), rows().view(3, 3, D)
    torch.testing.assert_close(sae(x).view(ROWS, D), sae(x.view(ROWS, D)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("unit_decoder", [True, False])
@pytest.mark.parametrize("variant", ARCHITECTURES)
def test_scale_folds_into_the_parameters_as_documented(variant: str, unit_decoder: bool) -> None:
    """docs/architectures.md, "Normalisations of inputs"."""
    has_it = hasattr(ARCHITECTURES[variant].Settings(), "unit_decoder")
    settings = {"unit_decoder": unit_decoder} if has_it else {}
    sae, folded, x = make(variant, SCALED_ONLY, **settings), make(variant, SCALED_ONLY, **settings), rows()
    for changed in (sae, folded):
        if "threshold" in changed.tensors():
            changed.tensors()["threshold"].fill_(0.7)
    folded.input_scale.fill_(1)
    folded.W_enc.div_(2.5)
    folded.W_dec.mul_(2.5)
    folded.b_dec.mul_(2.5)
    if variant in ("batchtopk", "matryoshka") and not unit_decoder:
        folded.tensors()["threshold"].mul_(2.5)
    assert (sae.encode(x) > 0).any()
    torch.testing.assert_close(folded(x), sae(x), rtol=1e-12, atol=1e-12)
