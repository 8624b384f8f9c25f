"""The choice of held-out contexts, and of their rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.measure.heldout import Heldout
from data import Store
from tests.helpers.fixture_types import MakeStore

HOOK = "blocks.0.hook_mlp_out"


@pytest.fixture(scope="module")
def store(make_store_in: MakeStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, np.ndarray]:
    made, values, _ = make_store_in(
        root=Path(tmp_path_factory.mktemp("heldout")), n_contexts=80, n_heldout=23, widths={HOOK: 8}, dtype="float32"
    )
    return made, values[HOOK].reshape(80, 32, 8)


@given(n=st.integers(1, 40))
def test_held_out_contexts_are_evenly_spaced_and_have_all_their_rows(store: tuple[Store, np.ndarray], n: int) -> None:
    made, values = store
    heldout = Heldout(made, n)
    steps = np.diff(heldout.contexts, append=23)
    assert heldout.n_contexts == len(heldout.contexts) == min(n, 23)
    assert heldout.contexts[0] == 0
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1
    assert np.array_equal(heldout.tokens(), made.tokens()[heldout.contexts])
    seen = np.zeros((heldout.n_contexts, 32), dtype=int)
    for rows in heldout.rows(HOOK, batch_size=50):
        assert np.array_equal(rows.x.numpy(), values[heldout.contexts[rows.context], rows.position])
        assert np.array_equal(rows.group, heldout.group_of[rows.context, rows.position])
        seen[rows.context, rows.position] += 1
    assert (seen == 1).all()
    assert seen.size == heldout.n_rows()


def test_held_out_contexts_come_from_as_many_documents_as_possible(store: tuple[Store, np.ndarray]) -> None:
    made, _ = store  # two contexts a document
    assert Heldout(made, 11).n_groups == 11
    assert Heldout(made).n_groups == 12


def test_held_out_identity_differs_for_every_number_of_contexts(store: tuple[Store, np.ndarray]) -> None:
    made, _ = store
    assert len({str(Heldout(made, n).identity()) for n in range(1, 24)}) == 23


def test_tokens_beyond_the_first_of_a_document_count_in_no_group(
    store: tuple[Store, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = store
    whole = Heldout(made)
    assert not whole.shortened
    monkeypatch.setattr("analyze.measure.heldout.LONGEST_DOCUMENT", 40)
    heldout = Heldout(made)
    assert heldout.shortened
    documents = made.documents(heldout.contexts)
    for number in np.unique(documents):
        tokens = heldout.group_of[documents == number]  # in the order of the text
        assert len(set(tokens[:40])) == 1
        assert (tokens[40:] == heldout.n_groups).all()
    assert heldout.describe_groups()["longest_document"] == 40
    assert heldout.effective_groups == pytest.approx(11.9, abs=0.1)


def test_contexts_of_an_unknown_document_are_groups_of_any_length(
    store: tuple[Store, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = store
    monkeypatch.setattr("analyze.measure.heldout.LONGEST_DOCUMENT", 4)
    heldout = Heldout(made, 1)
    assert (heldout.unit, heldout.n_groups, heldout.shortened) == ("context", 1, False)
