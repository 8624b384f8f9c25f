from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import InputError
from train.command.grid import make_runs
from train.experiment import differences
from train.variants import Sizes, in_rows


def test_lists_of_values_make_a_grid_of_runs() -> None:
    runs = make_runs((), {"variant": ("baseline", "nsae"), "l1": (1e-5, 4e-5), "seed": (0, 1)})
    assert len(runs) == 8
    assert len({run.name for run in runs}) == 8
    assert {(run.variant, run.l1, run.seed) for run in runs} == {
        (v, a, s) for v in ("baseline", "nsae") for a in (1e-5, 4e-5) for s in (0, 1)
    }


def test_list_of_sigmas_multiplies_only_runs_with_noise() -> None:
    runs = make_runs((), {"variant": ("baseline", "nsae"), "sigma": (0.0, 0.5)})
    assert [(run.name, run.sigma) for run in runs] == [("baseline", 0), ("nsae_sigma=0", 0), ("nsae_sigma=0.5", 0.5)]


def test_missing_values_come_from_the_first_preset_of_the_variant() -> None:
    (run,) = make_runs((), {"variant": ("nsae",)})
    assert (run.l1, run.lr, run.sigma, run.l1_power, run.seed) == (0.00004065, 0.0009045, 1, 2, 0)
    (run,) = make_runs((), {"variant": ("baseline",), "l1": (0.5,)})
    assert (run.name, run.l1, run.lr, run.sigma, run.l1_power) == ("baseline", 0.5, 0.0006275, 0, 0)


def test_preset_post_is_the_four_runs_of_table_a1() -> None:
    runs = make_runs(("post",), {})
    assert [(run.name, run.variant, run.l1, run.lr) for run in runs] == [
        ("baseline_1", "baseline", 0.001073, 0.0006275),
        ("baseline_2", "baseline", 0.0009642, 0.00005584),
        ("normalized_1", "nsae", 0.00004065, 0.0009045),
        ("normalized_2", "nsae", 0.0000965, 0.000657),
    ]


@pytest.mark.parametrize(
    ("named", "options", "message"),
    [
        ((), {"variant": ("gate",)}, "--variant gate: there is no such variant"),
        ((), {}, "--variant: give one or more of baseline, nsae, relu, .*, or a --preset"),
        (("post",), {"variant": ("nsae",)}, "a --preset already has a variant"),
        (("normalised",), {}, "--preset normalised: there is no such preset"),
        ((), {"variant": ("nsae",), "l1": (1e-50,)}, "--l1 1e-50: give 0, or a number of at least 1e-37"),
        ((), {"variant": ("nsae",), "lr": (-1.0,)}, "--lr -1"),
        ((), {"variant": ("nsae",), "sigma": (-1.0,)}, "--sigma -1: give 0, or a number of at least 1e-37"),
        ((), {"variant": ("nsae",), "l1": (1e-5, 1e-5)}, "make two runs of the name nsae"),
        ((), {"variant": ("nsae",), "k": (5,)}, "--k: has no effect without a run whose variant has it .topk, "),
        ((), {"variant": ("topk",), "l1": (1.0, 2.0)}, "--l1: has no effect without a run whose variant has it"),
        ((), {"variant": ("nsae",), "k": {"topk": (5,)}}, "--k topk=…: no run has this variant"),
        ((), {"variant": ("nsae", "topk"), "k": {"nsae": (5,)}}, "--k nsae=…: nsae has no such setting"),
        ((), {"variant": ("matryoshka",), "prefixes": ("1/2+3/4",)}, "--prefixes 1/2.3/4: give shares"),
    ],
)
def test_impossible_run_settings_are_refused_with_a_sentence(
    named: tuple[str, ...], options: dict[str, tuple[Any, ...]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make_runs(named, options)


@pytest.mark.parametrize(
    ("option", "values", "names"),
    [
        ("seed", (1000000, 1000001), ["nsae_seed=1000000", "nsae_seed=1000001"]),
        ("l1", (1e-5, 1.0000001e-5), ["nsae_l1=1e-05", "nsae_l1=1.0000001e-05"]),
        ("lr", (0.0009045, 0.00090450001), ["nsae_lr=0.0009045", "nsae_lr=0.00090450001"]),
        ("sigma", (0.0, 1.0), ["nsae_sigma=0", "nsae_sigma=1"]),
        ("input_scale", ("none", "mean-norm"), ["nsae_input=none", "nsae_input=mean-norm"]),
    ],
)
def test_run_names_are_short_and_differ_for_different_values(
    option: str, values: tuple[Any, ...], names: list[str]
) -> None:
    assert [run.name for run in make_runs((), {"variant": ("nsae",), option: values})] == names


@given(
    st.lists(st.floats(1e-30, 1e30), min_size=2, max_size=4, unique=True),
    st.sets(st.integers(0, 2**63 - 1), min_size=2, max_size=3),
)
def test_run_names_are_unique_and_safe_as_folder_names(rates: list[float], seeds: set[int]) -> None:
    runs = make_runs((), {"variant": ("baseline",), "lr": tuple(rates), "seed": tuple(seeds)})
    names = [run.name for run in runs]
    assert len(set(names)) == len(rates) * len(seeds)
    assert all(re.fullmatch(r"[A-Za-z0-9_=.+-]{1,200}", name) for name in names)


def test_values_by_variant_make_runs_of_that_variant_only_and_others_of_all_that_have_the_setting() -> None:
    runs = make_runs(
        (),
        {
            "variant": ("topk", "batchtopk", "nsae"), "k": {"": (20, 40), "batchtopk": (5,)},
            "l1": {"nsae": (1e-5, 1e-6)}, "lr": {"topk": (1e-3,), "": (1e-4,)},
        },
    )  # fmt: skip
    assert [(run.name, getattr(run.settings, "k", None), run.l1, run.lr) for run in runs] == [
        ("topk_k=20", 20, 0, 1e-3), ("topk_k=40", 40, 0, 1e-3), ("batchtopk", 5, 0, 1e-4),
        ("nsae_l1=1e-05", None, 1e-5, 1e-4), ("nsae_l1=1e-06", None, 1e-6, 1e-4),
    ]  # fmt: skip


def test_runs_of_one_name_and_names_that_no_folder_can_have_are_refused() -> None:
    values = ("1/2+1/2", "1/4+1/4+1/2")
    runs = make_runs((), {"variant": ("matryoshka",), "prefixes": values})
    assert [run.name for run in runs] == ["matryoshka_prefixes=1-2+1-2", "matryoshka_prefixes=1-4+1-4+1-2"]
    with pytest.raises(InputError, match=r"two runs of the name matryoshka_prefixes=1-2\+1-2"):
        make_runs((), {"variant": ("matryoshka",), "prefixes": ("1/2+1/2", "1-2+1-2".replace("-", "/"))})
    with pytest.raises(InputError, match="is too long for a folder"):
        make_runs((), {"variant": ("matryoshka",), "prefixes": ("+".join(["1/300"] * 60), "1")})


def test_a_coefficient_of_0_is_accepted_for_an_architecture_without_one() -> None:
    (run,) = make_runs((), {"variant": ("topk",), "l1": (0.0,)})
    assert (run.name, run.l1) == ("topk", 0)


def test_default_rate_of_topk_follows_the_number_of_features() -> None:
    (run,) = make_runs((), {"variant": ("topk",)}, Sizes(2**16))
    assert run.lr == pytest.approx(1e-4)
    (run,) = make_runs((), {"variant": ("topk",)})
    assert run.lr != run.lr


def test_more_active_features_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match="--k 33: is more than the 32 features"):
        make_runs((), {"variant": ("topk",), "k": (33,)}, Sizes(32))


@pytest.mark.parametrize(
    ("prefixes", "sentence"),
    [("1/32+31/32", "prefix 1 adds less than one of the 16"), ("1/2+1/32+15/32", "prefix 2"), ("1/2+1/2", None)],
)
def test_prefixes_that_add_no_feature_are_refused(prefixes: str, sentence: str | None) -> None:
    options = {"variant": ("matryoshka",), "prefixes": (prefixes,), "k": (4,)}
    if sentence is None:
        (run,) = make_runs((), options, Sizes(16))
        assert run.settings.prefix_ends(16) == [8, 16]  # type: ignore[attr-defined]
    else:
        with pytest.raises(InputError, match=sentence):
            make_runs((), options, Sizes(16))


def test_annealing_begins_after_4_percent_of_the_training_by_default() -> None:
    (run,) = make_runs((), {"variant": ("p-anneal",)}, Sizes(None, 500_000_000, 2048))
    assert run.to_json()["anneal_after"] == 20_000_000
    (run,) = make_runs((), {"variant": ("p-anneal",), "anneal_after": (640,)}, Sizes(None, 10**6, 64))
    assert run.to_json()["anneal_after"] == 640


@pytest.mark.parametrize(
    ("batch_size", "expected"), [(10, (40, 10)), (40, (40, 10)), (200, (0, 6)), (250, (0, 5)), (1000, (0, 2))]
)
def test_annealing_happens_in_the_shortest_of_runs(batch_size: int, expected: tuple[int, int]) -> None:
    (run,) = make_runs((), {"variant": ("p-anneal",)}, Sizes(None, 1000, batch_size))
    values = run.to_json()
    assert (values["anneal_after"], values["p_updates"]) == expected


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"anneal_after": 961}, "--anneal-after 961: p would stay 1 until the end of --activations 1,000; give less"),
        ({"p_updates": 17}, "--p-updates 17: is more than the 16 steps from --anneal-after on"),
        ({"p_updates": 1}, "--p-updates 1: p would stay 1"),
        ({"p_updates": 16}, None),
        ({"anneal_after": 895, "p_updates": 2}, None),
    ],
)
def test_annealing_that_cannot_happen_is_refused(changed: dict[str, int], sentence: str | None) -> None:
    """1000 rows are 15 steps of 64."""
    options = {"variant": ("p-anneal",), **{name: (value,) for name, value in changed.items()}}
    if sentence is None:
        make_runs((), options, Sizes(None, 1000, 64))
    else:
        with pytest.raises(InputError, match=sentence):
            make_runs((), options, Sizes(None, 1000, 64))


def test_settings_recorded_in_steps_are_read_in_rows() -> None:
    assert in_rows({"k": 3, "threshold_start": 2, "p_start_step": 15_000}, 64) == {
        "k": 3, "threshold_after": 128, "anneal_after": 960_000,
    }  # fmt: skip


def test_differences_name_the_setting_and_both_values() -> None:
    a = {"batch_size": 4, "objective": {"l2": "mean"}, "runs": [{"name": "nsae", "lr": 1}]}
    b = {
        "batch_size": 4,
        "objective": {"l2": "sum"},
        "runs": [{"name": "nsae", "lr": 2}, {"name": "baseline", "lr": 1}],
    }
    assert differences(a, b) == [
        "objective.l2 (the experiment has mean, the command sum)",
        "baseline (the experiment has none, the command a run)",
        "nsae.lr (the experiment has 1, the command 2)",
    ]
