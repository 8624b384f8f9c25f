"""Exported SAEs in the other libraries' own loaders, and SAEs that these save in ours: docs/interchange.md's tables.

    python benchmarks/peers/interchange.py write FOLDER [--store STORE]    (ours: exports, rows, and what ours compute)
    ENVIRONMENT/bin/python benchmarks/peers/interchange.py read FOLDER     (the libraries' environment; see README.md)
    python benchmarks/peers/interchange.py table FOLDER                    (ours: the tables)

`read` also saves SAEs by the libraries themselves, theirs.py, and `table` reads these.

The SAEs have random tensors, so folding matters; half of the rows are random and half are a store's. Compared are f, up
to the norms that an export folds into the encoder, and x̂, both in float32, relative to the largest entry.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
Function = Callable[[Tensor], tuple[Tensor, Tensor]]
LIBRARIES = ("saelens", "dictionary-learning", "sparsify", "saebench")
VERSIONS = {
    "saelens": "sae-lens", "dictionary-learning": "dictionary-learning", "sparsify": "eai-sparsify",
    "saebench": "sae-bench",
}  # fmt: skip


def write(folder: Path, store: str | None) -> None:
    """Export every SAE of tests/helpers/saes/made_saes.py, and write what ours compute of the rows."""
    from data import open_store
    from data.errors import InputError
    from tests.helpers.saes.made_saes import D_MODEL, MADE, make
    from train import export_sae

    refused: dict[str, dict[str, str]] = {}
    for name in MADE:
        sae, x = make(name)
        if store is not None:
            opened = open_store(store)
            real = torch.tensor(np.asarray(opened.rows(opened.hooks[0], opened.shards("train")[0])[:64, :D_MODEL]))
            x = torch.cat([x, real.float() * (x.norm(dim=1).mean() / real.float().norm(dim=1).mean())])
        (folder / name).mkdir(parents=True)
        exact = sae.encode(x)
        arrays = {"x": x, "f": exact, "x_hat": sae(x), "directions": (sae.W_dec != 0).any(dim=1)}
        np.savez(folder / name / "ours.npz", **{key: value.numpy() for key, value in arrays.items()})
        for to in LIBRARIES:
            try:
                export_sae(sae, to=to, out=folder / name / to)
            except InputError as error:
                refused.setdefault(name, {})[to] = str(error)
    (folder / "refused.json").write_text(json.dumps(refused, indent=2), encoding="utf-8")


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
            folded = bool(np.abs(scale - 1).max() > 1e-5)
            pair = [relative(f, expected * scale), relative(x_hat, ours["x_hat"]), float(folded)]
            differences.setdefault(path.parent.name, {})[to] = pair
            print(f"{path.parent.name:20} {to:20} f {pair[0]:.1e}  x_hat {pair[1]:.1e}  folded {folded}")
    from benchmarks.peers.theirs import save_theirs

    save_theirs(folder / "theirs")
    versions = {to: version(name) for to, name in VERSIONS.items()}
    result = {"versions": versions, "differences": differences}
    (folder / "differences.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def table(folder: Path) -> None:
    """Print the table of docs/interchange.md."""
    from tests.helpers.saes.made_saes import MADE

    result = json.loads((folder / "differences.json").read_text(encoding="utf-8"))
    heads = [f"{to} {result['versions'][to]}" for to in LIBRARIES]
    print(f"| architecture | {' | '.join(heads)} |\n|{'---|' * (1 + len(heads))}")
    for name in MADE:
        pairs = [result["differences"].get(name, {}).get(to) for to in LIBRARIES]
        cells = ["refused" if p is None else f"{p[0]:.1e}, {p[1]:.1e}{' ×' if p[2] else ''}" for p in pairs]
        print(f"| `{name}` | {' | '.join(cells)} |")
    from train.interchange.formats.registry import read_foreign

    print("\n| saved by | as | read as | f, x̂ |\n|---|---|---|---|")
    for path in sorted((folder / "theirs").glob("*/*/rows.npz")):
        theirs, (foreign,) = np.load(path), read_foreign(path.parent)
        sae, x = foreign.sae(), torch.from_numpy(theirs["x"])
        f, x_hat = sae.encode(x).numpy() * theirs["scale"], sae(x).numpy()
        pair = relative(f, theirs["f"]), relative(x_hat, theirs["x_hat"])
        library, kind = path.parent.parent.name, path.parent.name
        print(f"| {library} | {kind} | `{foreign.variant}` | {pair[0]:.1e}, {pair[1]:.1e} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["write", "read", "table"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store")
    options = parser.parse_args()
    if options.part == "write":
        write(options.folder, options.store)
    else:
        {"read": read, "table": table}[options.part](options.folder)
