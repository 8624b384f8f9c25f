import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.permutation import mix, permutation, seed_of


@given(n=st.integers(1, 5000), key=st.lists(st.integers(-(2**70), 2**70), max_size=4))
def test_a_permutation_holds_every_index_once(n: int, key: list[int]) -> None:
    assert np.array_equal(np.sort(permutation(n, *key)), np.arange(n))


def test_the_hash_is_splitmix64() -> None:
    # First outputs of SplitMix64 seeded with 0 and with 1234567, as published with the algorithm.
    state = np.uint64(0x9E3779B97F4A7C15)
    assert int(mix(np.array([state], dtype=np.uint64))[0]) == 0xE220A8397B1DCDAF
    first = np.array([(1234567 + 0x9E3779B97F4A7C15) % 2**64], dtype=np.uint64)
    assert int(mix(first)[0]) == 6457827717110365317


def test_permutations_of_different_keys_differ() -> None:
    drawn = {tuple(permutation(50, *key)) for key in [(0,), (1,), (0, 0), (0, 1), (1, 0), (2, 0, 1)]}
    assert len(drawn) == 6


def test_seed_of_depends_on_the_order_of_the_key() -> None:
    assert seed_of(1, 2) != seed_of(2, 1)


def test_permutation_puts_each_index_at_each_position_equally_often() -> None:
    places = np.stack([permutation(8, seed) for seed in range(4000)])
    for column in range(8):
        counts = np.bincount(places[:, column], minlength=8)
        assert counts.min() > 400  # 500 expected, 5 standard deviations are 105
        assert counts.max() < 605
