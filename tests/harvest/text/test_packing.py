from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvest.text import packing
from harvest.text.packing import choose_heldout, heldout_target, pack

lengths_and_hashes = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 30)), min_size=1, max_size=60)


def packed(
    lengths: Sequence[int], wanted: np.ndarray, payload: int, prefix: int | None = None, n_contexts: int = 10**9
) -> Iterator[np.ndarray]:
    stream = np.arange(sum(lengths), dtype=np.int32)
    parts = list(pack(stream, np.array(lengths), wanted, payload=payload, prefix=prefix, n_contexts=n_contexts))
    width = payload + (prefix is not None)
    empty = np.empty((0, width), dtype=np.int32)
    return (np.concatenate([p[i] for p in parts] or [empty]) for i in (0, 1))


@given(documents=lengths_and_hashes, payload=st.integers(1, 40), block=st.integers(1, 200))
def test_documents_are_packed_in_order_without_loss_except_the_tail(
    documents: list[tuple[int, int]], payload: int, block: int
) -> None:
    lengths, hashes = zip(*documents, strict=True)
    wanted = np.array([h % 2 == 0 for h in hashes])
    old, packing.BLOCK_TOKENS = packing.BLOCK_TOKENS, block
    try:
        tokens, document = packed(lengths, wanted, payload)
    finally:
        packing.BLOCK_TOKENS = old
    owner = np.repeat(np.arange(len(lengths)), lengths)
    expected = np.arange(sum(lengths))[wanted[owner]]
    assert np.array_equal(tokens.ravel(), expected[: len(expected) // payload * payload])
    assert np.array_equal(document.ravel(), owner[tokens.ravel()])


@given(documents=lengths_and_hashes, target=st.integers(0, 2000))
def test_whole_documents_are_held_out_and_never_more_than_half(documents: list[tuple[int, int]], target: int) -> None:
    lengths, hashes = (np.array(x) for x in zip(*documents, strict=True))
    chosen = choose_heldout(lengths, hashes.astype(np.uint64), target, most=int(lengths.sum()) // 2)
    assert lengths[chosen].sum() <= lengths.sum() / 2
    for value in np.unique(hashes):
        assert len(set(chosen[hashes == value].tolist())) == 1  # the same text twice stays in one split


def test_documents_with_the_smallest_hashes_are_held_out() -> None:
    hashes = np.array([5, 1, 9, 3, 7], dtype=np.uint64)
    chosen = choose_heldout(np.full(5, 10), hashes, 15, most=25)
    assert chosen.tolist() == [False, True, False, True, False]


def test_prefix_token_starts_each_context_and_belongs_to_the_next_document() -> None:
    tokens, document = packed([5, 7], np.array([True, True]), payload=4, prefix=99)
    assert tokens.tolist() == [[99, 0, 1, 2, 3], [99, 4, 5, 6, 7], [99, 8, 9, 10, 11]]
    assert document.tolist() == [[0, 0, 0, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("n_contexts", "expected"), [(1, 0), (2, 1), (9, 1), (300, 30), (2000, 200), (10_000, 200), (390_625, 3906)]
)
def test_default_held_out_share_is_one_percent_at_least_200_contexts_at_most_a_tenth(
    n_contexts: int, expected: int
) -> None:
    assert heldout_target(n_contexts, None) == expected


@pytest.mark.parametrize(("asked", "expected"), [(0.01, 10), (0.25, 250), (37, 37), (0, 0), (800, 500)])
def test_held_out_share_or_number_is_as_given_at_most_half(asked: float | int, expected: int) -> None:
    assert heldout_target(1000, asked) == expected
