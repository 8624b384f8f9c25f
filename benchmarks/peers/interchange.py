"""Exported SAEs in the other libraries' own loaders, and SAEs that these save in ours: docs/interchange.md's tables.

    python benchmarks/peers/interchange.py write FOLDER --store STORE      (ours: exports, rows, and what ours compute)
    ENVIRONMENT/bin/python benchmarks/peers/interchange.py read FOLDER     (the libraries' environment; see README.md)
    python benchmarks/peers/interchange.py table FOLDER [--out FILE]       (ours: the tables, and as JSON)

`read` also saves SAEs by the libraries themselves, theirs.py, and `table` reads these.

The SAEs have random tensors, so folding matters, and the width of the store's first hook; half of the rows are random
and half are the store's. Compared are f, up to the norms that an export folds into the encoder, and x̂, both in float32,
relative to the largest entry.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
Function = Callable[[Tensor], tuple[Tensor, Tensor]]
LIBRARIES = ("saelens", "dictionary-learning", "sparsify", "saebench")
EXPANSION = 4
VERSIONS = {
    "saelens": "sae-lens", "dictionary-learning": "dictionary-learning", "sparsify": "eai-sparsify",
    "saebench": "sae-bench",
}  # fmt: skip


def write(folder: Path, store: str) -> None:
    """Export every SAE of tests/helpers/saes/made_saes.py, and write what ours compute of the rows."""
    from data import open_store
    from data.errors import InputError
    from tests.helpers.saes.made_saes import MADE, ROWS, make
    from train import export_sae

    opened = open_store(store)
    hook = opened.hooks[0]
    d_model = opened.width(hook)
    real = torch.from_numpy(np.asarray(opened.rows(hook, opened.shards("train")[0])[:ROWS], dtype=np.float32))
    about = {"model": opened.model_name, "hook": hook, "d_model": d_model, "d_sae": EXPANSION * d_model}
    refused: dict[str, dict[str, str]] = {}
    for name in MADE:
        sae, x = make(name, d_model, EXPANSION * d_model)
        x = torch.cat([x, real])
        (folder / name).mkdir(parents=True)
        arrays = {"x": x, "f": sae.encode(x), "x_hat": sae(x), "directions": (sae.W_dec != 0).any(dim=1)}
        exact = deepcopy(sae).double()
        arrays |= {"exact f": exact.encode(x.double()), "exact x_hat": exact(x.double())}
        np.savez(folder / name / "ours.npz", **{key: value.numpy() for key, value in arrays.items()})
        for to in LIBRARIES:
            try:
                export_sae(sae, to=to, out=folder / name / to)
            except InputError as error:
                refused.setdefault(name, {})[to] = str(error)
    (folder / "written.json").write_text(json.dumps({**about, "refused": refused}, indent=2), encoding="utf-8")


def by_saelens(folder: Path) -> Function:
    from sae_lens import SAE

    if (folder / "nsae_for_saelens.py").exists():
        sys.path.insert(0, str(folder))
        import nsae_for_saelens  # type: ignore[import-not-found]  # noqa: F401  # registers the class
    sae = SAE.load_from_disk(str(folder))

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        f = sae.encode(x)
        return f, sae.decode(f)

    return function


def by_dictionary_learning(folder: Path) -> Function:
    from dictionary_learning.utils import load_dictionary

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        dictionary, _ = load_dictionary(str(folder), "cpu")
    assert "Normalizing" not in printed.getvalue()
    return lambda x: (dictionary.encode(x), dictionary(x))


def by_sparsify(folder: Path) -> Function:
    from sparsify import SparseCoder

    coder = SparseCoder.load_from_disk(folder)

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        encoded = coder.encode(x)
        f = x.new_zeros(len(x), coder.num_latents).scatter_(-1, encoded.top_indices, encoded.top_acts)
        return f, coder.decode(encoded.top_acts, encoded.top_indices)

    return function


def by_saebench(folder: Path) -> Function:
    import importlib.util

    spec = importlib.util.spec_from_file_location("saebench_sae", folder / "saebench_sae.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["saebench_sae"] = module
    spec.loader.exec_module(module)
    sae = module.load_sae(folder, model_name="tiny")
    return lambda x: (sae.encode(x), sae(x))


LOADERS = {
    "saelens": by_saelens, "dictionary-learning": by_dictionary_learning, "sparsify": by_sparsify,
    "saebench": by_saebench,
}  # fmt: skip


def relative(value: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> float:
    return float(np.abs(value - reference).max() / np.abs(reference).max())


@torch.no_grad()
def read(folder: Path) -> None:
    """Load every export by its library, and write the largest differences."""
    from importlib.metadata import version

    differences: dict[str, dict[str, list[float]]] = {}
    for path in sorted(folder.glob("*/ours.npz")):
        ours = np.load(path)
        x = torch.from_numpy(ours["x"])
        for to in LIBRARIES:
            if not (path.parent / to).exists():
                continue
            f, x_hat = (value.numpy() for value in LOADERS[to](path.parent / to)(x))
            f, expected = f * ours["directions"], ours["f"] * ours["directions"]
            top = np.abs(expected).max(axis=0)
            scale = np.divide(np.abs(f).max(axis=0), top, out=np.ones_like(top), where=top > 0)
            folded = bool(np.median(np.abs(scale[top > 0] - 1)) > 1e-4)
            pair = [
                relative(f, expected * scale if folded else expected),
                relative(x_hat, ours["x_hat"]),
                float(folded),
            ]
            differences.setdefault(path.parent.name, {})[to] = pair
            print(f"{path.parent.name:20} {to:20} f {pair[0]:.1e}  x_hat {pair[1]:.1e}  folded {folded}")
    from benchmarks.peers.theirs import save_theirs

    save_theirs(folder / "theirs")
    versions = {to: version(name) for to, name in VERSIONS.items()}
    result = {"versions": versions, "differences": differences}
    (folder / "differences.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def exports(folder: Path, differences: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row per exported SAE and library: the largest differences, or why the export is refused.

    The library "rounding" is ours in float32, compared with ours in float64.
    """
    from tests.helpers.saes.made_saes import MADE

    refused = json.loads((folder / "written.json").read_text(encoding="utf-8"))["refused"]
    rows = []
    for name in MADE:
        ours = np.load(folder / name / "ours.npz")
        c, x_hat = (relative(ours[key], ours[f"exact {key}"]) for key in ("f", "x_hat"))
        about: dict[str, Any] = {"architecture": name}
        rows.append({**about, "library": "rounding", "c": c, "x_hat": x_hat, "folded": False, "refused": None})
        for to in LIBRARIES:
            c, x_hat, folded = differences.get(name, {}).get(to, (None, None, 0))
            why = refused.get(name, {}).get(to)
            rows.append({**about, "library": to, "c": c, "x_hat": x_hat, "folded": bool(folded), "refused": why})
    return rows


def imports(folder: Path) -> list[dict[str, Any]]:
    """Return a row per SAE that a library saved by itself: the largest differences of what we read from what it has."""
    from train.interchange.formats.registry import read_foreign

    rows = []
    for path in sorted((folder / "theirs").glob("*/*/rows.npz")):
        theirs, (foreign,) = np.load(path), read_foreign(path.parent)
        sae, x = foreign.sae(), torch.from_numpy(theirs["x"])
        rows.append({
            "library": path.parent.parent.name, "saved as": path.parent.name, "read as": foreign.variant,
            "c": relative(sae.encode(x).numpy() * theirs["scale"], theirs["f"]),
            "x_hat": relative(sae(x).numpy(), theirs["x_hat"]),
        })  # fmt: skip
    return rows


def table(folder: Path, out: Path | None) -> None:
    """Print the tables of docs/interchange.md, and write them as JSON."""
    from benchmarks.shared.measure import machine

    result = json.loads((folder / "differences.json").read_text(encoding="utf-8"))
    versions, exported, imported = result["versions"], exports(folder, result["differences"]), imports(folder)
    heads = ["architecture", "rounding", *(f"{to} {versions[to]}" for to in LIBRARIES)]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name in dict.fromkeys(row["architecture"] for row in exported):
        cells = [
            "refused" if row["refused"] else f"{row['c']:.1e}, {row['x_hat']:.1e}{' ×' if row['folded'] else ''}"
            for row in exported
            if row["architecture"] == name
        ]
        print(f"| `{name}` | {' | '.join(cells)} |")
    print("\n| saved by | as | read as | c, x̂ |\n|---|---|---|---|")
    for row in imported:
        cells = [row["library"], row["saved as"], f"`{row['read as']}`", f"{row['c']:.1e}, {row['x_hat']:.1e}"]
        print(f"| {' | '.join(cells)} |")
    if out is not None:
        about = json.loads((folder / "written.json").read_text(encoding="utf-8"))
        sizes = {name: value for name, value in about.items() if name != "refused"}
        content = {
            "machine": machine(), "benchmark": "interchange", "libraries": versions, **sizes, "rows": exported,
            "imports": imported,
        }  # fmt: skip
        out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["write", "read", "table"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", help="Store whose rows are tried beside random ones; for `write`.")
    parser.add_argument("--out", type=Path, help="JSON file to write; for `table`.")
    options = parser.parse_args()
    if options.part == "write":
        if options.store is None:
            parser.error("write needs --store")
        write(options.folder, options.store)
    elif options.part == "read":
        read(options.folder)
    else:
        table(options.folder, options.out)
