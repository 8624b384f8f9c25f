from __future__ import annotations

import torch

from train.step.noise import NoiseSource, part_noise

CPU = torch.device("cpu")


def drawn(noise: NoiseSource, *key: int, rows: int = 1000, block: int = 64) -> torch.Tensor:
    epsilon = noise.batch(*key)
    return torch.cat([epsilon(slice(i, min(i + block, rows))).clone() for i in range(0, rows, block)])


def test_noise_depends_only_on_its_key_not_on_the_number_of_cached_blocks() -> None:
    lean, full = NoiseSource(64, 32, kept=1, device=CPU), NoiseSource(64, 32, kept=16, device=CPU)
    first = drawn(lean, 7, 3)
    assert torch.equal(first, drawn(full, 7, 3))
    assert torch.equal(first, drawn(full, 7, 3))
    assert not torch.equal(first, drawn(full, 7, 4))
    assert not torch.equal(first, drawn(full, 8, 3))
    assert torch.equal(first, drawn(lean, 7, 3))


def test_noise_is_standard_normal_and_independent_between_blocks() -> None:
    values = drawn(NoiseSource(64, 32, kept=1, device=CPU), 0, 0, rows=64 * 200)
    assert abs(float(values.mean())) < 0.01
    assert abs(float(values.std()) - 1) < 0.01
    blocks = values.reshape(200, -1)
    assert abs(float((blocks[:-1] * blocks[1:]).mean())) < 0.01


def test_cached_noise_is_not_drawn_again() -> None:
    noise = NoiseSource(64, 32, kept=16, device=CPU)
    drawn(noise, 1, 1)
    noise._generator = None  # type: ignore[assignment]
    drawn(noise, 1, 1)


def test_noise_of_a_row_does_not_depend_on_the_part_of_the_batch_that_the_row_is_in() -> None:
    source = NoiseSource(64, 32, kept=1, device=CPU)
    whole = drawn(source, 7, 3, rows=250)
    for begin in (40, 64, 100):
        noise = part_noise(source.batch(7, 3), begin, 64)
        parts = [noise(slice(i, min(i + 64, 250 - begin))).clone() for i in range(0, 250 - begin, 64)]
        assert torch.equal(torch.cat(parts), whole[begin:])
