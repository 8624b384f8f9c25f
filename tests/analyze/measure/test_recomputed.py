"""The values that `analyze` prints, recomputed in float64 from a store's rows and the weights' files, by other code."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.optimize import linear_sum_assignment
from scipy.special import stdtrit

from data import Store, open_store
from tests.helpers.fixture_types import Command, MakeStore

HOOKS = ["blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out"]
Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def trained(make_store_in: MakeStore, command: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """A store, and runs of three families, of which two overlap in L0."""
    root = tmp_path_factory.mktemp("recomputed")
    store = make_store_in(root=root, n_contexts=120, n_heldout=40, widths=dict.fromkeys(HOOKS, 12))[0]
    for name, more in (
        ("baseline", ("--l1", "1e-4,1e-2", "--lr", "1e-3,3e-3", "--input-scale", "mean-norm")),
        ("nsae", ("--lr", "1e-3")),
    ):  # fmt: skip
        done = command(
            "train", "--store", store.path, "--expansion", "4", "--batch-size", "64", "--activations", "8k",
            "--validate-every", "8k", "--device", "cpu", "--variant", name, "--out", root / name, *more,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return open_store(store.path), root


def measure(command: Command, trained: tuple[Store, Path], name: str, *more: str) -> dict[str, Any]:
    store, root = trained
    done = command(
        "analyze", name, "--store", store.path, root / "baseline", root / "nsae", "--device", "cpu", "--json", *more
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def lower_median(values: Floats) -> float | None:
    return float(np.sort(values)[(len(values) - 1) // 2]) if len(values) else None


def heldout(store: Store, hook: str) -> Floats:
    return np.concatenate([store.rows(hook, shard) for shard in store.shards("heldout")]).astype(np.float64)


def weights(trained: tuple[Store, Path], run: str, hook: str) -> dict[str, Floats]:
    """A run's parameters of one hook, from its file."""
    whole = load_file(trained[1] / run.split("_")[0] / run / "final" / "sae.safetensors")
    return {name: tensor[HOOKS.index(hook)].astype(np.float64) for name, tensor in whole.items()}


def passed(w: dict[str, Floats], run: str, x: Floats) -> tuple[Floats, Floats]:
    """(c, x̂) without noise."""
    c = np.maximum((x / w["input_scale"] - w["b_dec"]) @ w["W_enc"].T + w["b_enc"], 0)
    c = np.tanh(c) if run.startswith("nsae") else c
    return c, (c @ w["W_dec"] + w["b_dec"]) * w["input_scale"]


def test_analyze_measures_equal_their_recomputation_in_float64(trained: tuple[Store, Path], command: Command) -> None:
    output = measure(command, trained, "measures")
    for run, hook in {(line["run"], line["hook"]) for line in output["measures"]}:
        x, w = heldout(trained[0], hook), weights(trained, run, hook)
        c, x_hat = passed(w, run, x)
        norm, norm_hat = np.linalg.norm(x, axis=1), np.linalg.norm(x_hat, axis=1)
        error, dot = np.square(x - x_hat).sum(axis=1), (x * x_hat).sum(axis=1)
        mean, mean_hat = x.mean(axis=0), x_hat.mean(axis=0)
        variance, variance_hat, covariance = (
            (a * b).sum() for a, b in ((x - mean, x - mean), (x_hat - mean_hat, x_hat), (x_hat - mean_hat, x - mean))
        )
        expected = {
            "l0": (c > 0).sum(axis=1).mean(),
            "l1": c.sum(axis=1).mean(),
            "l2": error.mean() / 12,
            "explained_variance": 1 - error.sum() / np.square(x - x.mean(axis=0)).sum(),
            "suppression": norm_hat.sum() / norm.sum(),
            "suppression_floor": np.sqrt(1 - error.sum() / np.square(x).sum()),
            "suppression_excess": (norm_hat - dot / norm_hat).sum() / norm.sum(),
            "gamma_centred": variance_hat / covariance,
            "shrinkage_cost": covariance**2 / variance_hat / variance * (1 - variance_hat / covariance) ** 2,
            "offset_cost": len(x) * np.square(mean - mean_hat).sum() / variance,
            "suppression_mean": (norm_hat / norm).mean(),
            "gamma": np.square(norm_hat).sum() / dot.sum(),
            "l1_over_norm": c.sum() * float(w["input_scale"]) / norm_hat.sum(),
            "cosine": (dot / norm / norm_hat).mean(),
        }
        values = {
            li["measure"]: li["value"] for li in output["measures"]
            if (li["run"], li["hook"], li["subset"], li["noise"]) == (run, hook, "all", False)
        }  # fmt: skip
        assert values == pytest.approx(expected, rel=1e-5)
        (features,) = (
            line for line in output["features"]
            if (line["run"], line["hook"], line["subset"], line["noise"]) == (run, hook, "all", False)
        )  # fmt: skip
        fires = (c > 0).sum(axis=0)
        assert features["dead"] == (fires == 0).mean()
        edges = np.array(features["density_log10_edges"])
        assert features["density_features"] == np.histogram(np.log10(fires[fires > 0] / len(x)), edges)[0].tolist()


def test_intervals_equal_those_of_measures_without_each_document(trained: tuple[Store, Path], command: Command) -> None:
    output, store = measure(command, trained, "measures"), trained[0]
    context, position = (
        np.concatenate(parts).astype(int) for parts in zip(*map(store.origin, store.shards("heldout")), strict=True)
    )
    document = store.documents(np.arange(40))[context, position]
    hook, run = HOOKS[1], "baseline_l1=0.0001_lr=0.001"
    x = heldout(store, hook)
    x_hat = passed(weights(trained, run, hook), run, x)[1]

    def explained_variance(kept: NDArray[np.bool_]) -> float:
        rows = x[kept]
        return float(1 - np.square(rows - x_hat[kept]).sum() / np.square(rows - rows.mean(axis=0)).sum())

    numbers, sizes = np.unique(document, return_counts=True)
    values = np.array([explained_variance(document != number) for number in numbers])
    error = np.sqrt((len(numbers) - 1) * np.var(values))
    assert len(set(sizes)) == 1  # so the degrees of freedom are documents − 1
    half_width = stdtrit(len(numbers) - 1, 0.975) * error
    (line,) = (
        li for li in output["measures"]
        if (li["run"], li["hook"], li["subset"], li["measure"]) == (run, hook, "all", "explained_variance")
    )  # fmt: skip
    value = explained_variance(document >= 0)
    assert (line["low"], line["high"]) == pytest.approx((value - half_width, value + half_width), rel=1e-5)
    assert line["effective_groups"] == pytest.approx(len(numbers))


def live(trained: tuple[Store, Path], run: str, hook: str) -> NDArray[np.bool_]:
    return np.asarray((passed(weights(trained, run, hook), run, heldout(trained[0], hook))[0] > 0).any(axis=0))


def test_dictionary_measures_equal_their_recomputation_in_float64(
    trained: tuple[Store, Path], command: Command
) -> None:
    options = ("--pillars", "6", "--correction-norm", "0.4", "--direction-cosine", "0.6", "--direction-ratio", "1.05")
    output, store = measure(command, trained, "dictionary", *options), trained[0]
    for line in output["dictionary"]:
        run, hook = line["run"], line["hook"]
        w, alive = weights(trained, run, hook), live(trained, run, hook)
        norms, W = np.linalg.norm(w["W_dec"], axis=1), w["W_dec"][alive]
        unit = W / norms[alive, None]
        cosines, ratio = unit @ unit.T, norms[alive, None] / norms[alive]
        pairs = cosines[np.triu_indices(len(W), k=1)]
        other = np.where(np.eye(len(W), dtype=bool), -2, cosines)
        numbers = np.flatnonzero(alive)
        pillars = set(numbers[np.argsort(-norms[alive])[:6]])
        corrections = set(numbers[norms[alive] < 0.4])
        near_duplicates = (other >= 0.6) & (np.maximum(ratio, 1 / ratio) >= 1.05)
        directions = set(numbers[near_duplicates.any(axis=1)])
        mean_norm = np.mean(
            [np.linalg.norm(row.astype(np.float64)) for s in store.shards("train") for row in store.rows(hook, s)]
        )
        median = lower_median(norms[alive])
        assert median is not None
        expected = {
            "rows": len(heldout(store, hook)), "live": len(W), "dead": len(alive) - len(W),
            "norm_median": median, "norm_median_dead": lower_median(norms[~alive]),
            "norm_max": norms[alive].max(),
            "norm_over_input_norm_median": median * float(w["input_scale"]) / mean_norm,
            "small_norm_share": (norms[alive] < 0.5).mean(),
            "pairs_within_0.2": (np.abs(pairs) < 0.2).mean(), "pairs_above_0.9": (pairs > 0.9).mean(),
            "nearest_cosine_median": lower_median(other.max(axis=1)),
            "near_twin_share": (other.max(axis=1) > 0.9).mean(),
            "pillars": 6, "corrections": len(corrections), "directions": len(directions),
            "pillars and corrections": len(pillars & corrections),
            "pillars and directions": len(pillars & directions),
            "corrections and directions": len(corrections & directions),
            "pillars_that_are_directions": len(pillars & directions) / 6 if directions else None,
        }  # fmt: skip
        values = {name: line[name] for name in expected}
        unknown = {name for name, value in expected.items() if value is None}
        assert {name for name, value in values.items() if value is None} == unknown
        known = set(expected) - unknown
        assert {n: values[n] for n in known} == pytest.approx({n: expected[n] for n in known}, rel=1e-4, abs=1e-4)
        assert set(line) == {"run", "variant", "hook", *expected}


def test_stability_measures_equal_their_recomputation_in_float64(trained: tuple[Store, Path], command: Command) -> None:
    output = measure(command, trained, "stability")["stability"]
    assert len(output) == 2 * 10
    for line in output:
        one, other = (
            w["W_dec"][alive] / np.linalg.norm(w["W_dec"][alive], axis=1, keepdims=True)
            for run in (line["first"], line["second"])
            for w, alive in [(weights(trained, run, line["hook"]), live(trained, run, line["hook"]))]
        )
        cosines = one @ other.T
        best = np.sort(cosines[linear_sum_assignment(-cosines)])
        expected = {
            "live_first": len(one), "live_second": len(other), "matched": min(len(one), len(other)),
            "cosine_mean": best.mean(), "cosine_median": np.median(best), "share_0.7": (best >= 0.7).mean(),
            "share_0.9": (best >= 0.9).mean(),
        }  # fmt: skip
        assert {name: line[name] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-5)


def moved(points: dict[tuple[str, str, float], dict[str, Any]], hook: str, family: str, at: float) -> float | None:
    """Return L2 at an L0: of the run within 2 %, else of one within 10 %, moved along the line through both runs."""
    curve = sorted((l0, point["value"]) for (of, name, l0), point in points.items() if (of, name) == (hook, family))
    l0, value = min(curve, key=lambda point: abs(np.log(point[0] / at)))
    if abs(l0 / at - 1) <= 0.02:
        return float(value)
    if abs(l0 / at - 1) > 0.1:
        return None
    (x0, y0), (x1, y1) = np.log(curve)
    return float(np.exp(y0 + (y1 - y0) * (np.log(at) - x0) / (x1 - x0)))


def test_families_of_two_runs_are_compared_where_both_have_a_run_at_the_l0_or_near_it(
    trained: tuple[Store, Path], command: Command
) -> None:
    output = measure(command, trained, "pareto", "--without-model")
    points = {(p["hook"], p["family"], p["l0"]): p for p in output["points"] if not p["noise"] and p["measure"] == "l2"}
    families = list(dict.fromkeys(family for _, family, _ in points))
    assert len(families) == 3
    for hook in HOOKS:
        for first, second in combinations(families, 2):
            of_first, of_second = (
                sorted(l0 for at, family, l0 in points if (at, family) == (hook, side)) for side in (first, second)
            )
            shared = [
                *(l0 for l0 in of_first if of_second[0] / 1.02 <= l0 <= of_second[-1] * 1.02),
                *(l0 for l0 in of_second if of_first[0] / 1.02 <= l0 <= of_first[-1] * 1.02),
            ]
            lines = [
                li for li in output["matched"]
                if (li["hook"], li["first"], li["second"], li["measure"]) == (hook, first, second, "l2")
            ]  # fmt: skip
            if not shared:
                assert [(line["l0"], line["note"]) for line in lines] == [(None, "their ranges of L0 do not overlap")]
                continue
            for line in lines:
                assert min(abs(line["l0"] / l0 - 1) for l0 in shared) <= 0.02
                pair = [moved(points, hook, family, line["l0"]) for family in (first, second)]
                if pair[0] is not None and pair[1] is not None:
                    assert line["value"] == pytest.approx(pair[1] - pair[0], rel=1e-6)
                else:
                    assert line["value"] is None
                    assert "a curve needs 3 runs of different L0" in line["note"]
