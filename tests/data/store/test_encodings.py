import numpy as np
import pytest
import torch

from data.store.encodings import as_float, channel_scales, decode_int8, encode, is_finite


def outlier_rows(n: int = 512, d: int = 64) -> torch.Tensor:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    x[:, 3] *= 50
    x[::17] *= 30
    return x


def test_int8_error_of_ordinary_channels_is_small_beside_an_outlier_channel() -> None:
    x = outlier_rows()
    scale = channel_scales(x)
    codes, row_scale = encode(x, "int8", scale)
    found = decode_int8(codes.numpy(), row_scale.numpy(), scale.numpy())
    ordinary = np.arange(64) != 3
    error = np.linalg.norm((found - x.numpy())[:, ordinary], axis=1) / np.linalg.norm(x.numpy()[:, ordinary], axis=1)
    assert np.median(error) < 0.012
    assert codes.abs().max() == 127


def test_int8_error_of_ordinary_rows_is_small_beside_massive_entries() -> None:
    """As at position 0 of real models: a root mean square as scale would lose channel 3 of all other rows."""
    x = torch.randn(2560, 64, generator=torch.Generator().manual_seed(0))
    x[::256, 3] = 20_000
    scale = channel_scales(x)
    codes, row_scale = encode(x, "int8", scale)
    found = decode_int8(codes.numpy(), row_scale.numpy(), scale.numpy())
    error = np.linalg.norm(found - x.numpy(), axis=1) / np.linalg.norm(x.numpy(), axis=1)
    assert error.max() < 0.02


def test_int8_of_a_zero_row_and_a_zero_channel_is_zero() -> None:
    x = outlier_rows(8)
    x[2] = 0
    x[:, 5] = 0
    scale = channel_scales(x)
    codes, row_scale = encode(x, "int8", scale)
    found = decode_int8(codes.numpy(), row_scale.numpy(), scale.numpy())
    assert not found[2].any()
    assert not found[:, 5].any()
    assert np.isfinite(found).all()


def test_bfloat16_encoding_equals_torch_bit_for_bit() -> None:
    x = outlier_rows()
    stored, _ = encode(x, "bfloat16")
    assert np.array_equal(as_float(stored.view(torch.uint16).numpy(), "bfloat16"), x.bfloat16().float().numpy())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e5, -65520.0])
def test_float16_overflow_and_nan_are_detected(bad: float) -> None:
    x = outlier_rows()
    x[7, 9] = bad
    assert not is_finite(encode(x, "float16")[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_float32_and_bfloat16_infinity_and_nan_are_detected(dtype: str, bad: float) -> None:
    x = outlier_rows()
    x[7, 9] = bad
    assert not is_finite(encode(x, dtype)[0])
    x[7, 9] = 1e5
    assert is_finite(encode(x, dtype)[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_int8_row_scale_shows_infinity_and_nan(bad: float) -> None:
    x = outlier_rows()
    scale = channel_scales(x)
    x[7, 9] = bad
    assert not is_finite(encode(x, "int8", scale)[1])
