"""Every command and snippet of the documentation runs, in an environment that `pip install .` made, or says why not.

The first tests are quick: they fail where a command is in neither table. `make test-readme` makes the environment and
runs the last one (marked slow), which gives the commands as they stand, with sizes that two cores do in a minute.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harvest.demo import MODEL as DEMO
from tests.helpers.documents import DOCUMENTS, ROOT, Snippet, snippets
from tests.helpers.servers.hub import Hub, write_jsonl

ENVIRONMENT = os.environ.get("README_VENV")  # what `pip install .` made, and nothing else
SMALL = "--activations 6k --batch-size 64 --expansion 2"
ONE_LAYER = f"{SMALL} --layers 5"

# command, or a block's first line → what is appended to it: sizes, and places where two would be in each other's way
RUN = {
    "make demo": "DEMO_TOKENS=50k DEMO_ACTIVATIONS=8k",
    "harvest --model gpt2 --tokens 100M": "--tokens 40k",
    "harvest --model gpt2 --tokens 10M --layers 0,5,11": "--tokens 20k --out data/layers.zarr",
    "harvest --model ./my-model --dataset ./texts --tokens 1M --dry-run": "",
    "harvest --model gpt2 --tokens 10B --plan --gpus 64 --disk 5GB/s": "",
    "from data import ShuffledStream": "",
    "from data import open_store, ShuffledStream": "",
    "from data import SyntheticFeatures, synthetic_source, write_store": "",
    "analyze store --store data/demo.zarr": "",
    "analyze verify --store data/demo.zarr": "",
    "train --preset post --show": "",
    "train --store data/gpt2.zarr --preset post": SMALL,
    "train --store data/gpt2.zarr --variant baseline --l1 5e-4,1e-3,2e-3 --out runs/l1/baseline": ONE_LAYER,
    "train --store data/gpt2.zarr --variant nsae --l1 2e-5,4e-5,8e-5 --out runs/l1/nsae": ONE_LAYER,
    "analyze pareto --store data/gpt2.zarr runs/l1 --out pareto": "--contexts 8",
    "train --store data/gpt2.zarr --variant baseline --l1-power 1 --l1 2e-5,4e-5,8e-5 --out runs/l1/scaled": ONE_LAYER,
    "train --store data/gpt2.zarr --variant topk,nsae --target-l0 20 --seeds 5 --out runs/replicas": ONE_LAYER,
    "train --store data/gpt2.zarr --variant topk,nsae --target-l0 20 --seeds 3 --data-seeds 0,1 --out runs/orders": (
        ONE_LAYER
    ),
    "train --store data/gpt2.zarr --variant nsae --follow --activations 90M": (
        f"{ONE_LAYER} --mix-windows 2 --out runs/followed"
    ),
    'store = "data/gpt2.zarr"': "",
    "train --config sweep.toml": f"{SMALL} --l1-warmup 2k --layers 5 --out runs/sweep",
    "from train import load_sae": "",
    "import numpy as np": "",
    "import torch": "",
    "analyze runs runs/demo": "",
    "train export runs/demo/nsae_target_l0=32 --to saelens --out exported": "",
    "train import exported --store data/demo.zarr --out runs/theirs": "",
    "from train import import_run": "",
    "train push runs/demo/nsae_target_l0=32 --to user/demo-saes --licence mit --dry-run": "",
    "analyze report --store data/gpt2.zarr runs/gpt2 --out report": "--contexts 8 --snapshot-contexts 2 --held-out 20",
    "analyze features --store data/gpt2.zarr runs/gpt2 --layers 5 --out features": "",
    'analyze features --store data/gpt2.zarr runs/gpt2 --layers 5 --text "Once upon a time"': "",
    "from analyze import features_on_text": "",
    "analyze measures --store data/gpt2.zarr runs/gpt2": "",
    "analyze patch --store data/gpt2.zarr runs/gpt2 --contexts 200": "--contexts 8",
    "analyze measures --store data/gpt2.zarr runs/gpt2 --as saelens,dictionary-learning,saebench": "",
    "analyze patch --store data/gpt2.zarr runs/gpt2 --as saelens,dictionary-learning,saebench": "--contexts 8",
    "analyze pareto --store data/gpt2.zarr runs/gpt2 --out pareto": "--contexts 8",
    "analyze compare --store data/gpt2.zarr runs/gpt2 --at 20,40": "--contexts 8",
    "analyze dictionary --store data/gpt2.zarr runs/gpt2": "",
    "analyze stability --store data/gpt2.zarr runs/seeds": "",
    "train --store data/demo.zarr --variant baseline,nsae,topk --target-l0 20,40 --out runs/same-l0": ONE_LAYER,
    "train --store data/demo.zarr --variant topk,nsae --k 20,40 --l1 nsae=5e-6,3e-5": f"{ONE_LAYER} --out runs/mixed",
    "analyze norms --store data/gpt2.zarr --out norms": "",
    "analyze export --store data/demo.zarr --to saelens --out exported-activations": "",
    "analyze features --store data/gpt2.zarr runs/gpt2 --layers 5 --to saedashboard --out dashboards": "--contexts 8",
}

# of a command, or a block's first line → why it is not run here
NOT_RUN = {
    r"analyze store --json|analyze features --to|harvest --compile yes|train --seeds 5": "names an option",
    r"analyze (report|verify|measures) --store STORE .*": "names stand for others",
    r"(train --resume|analyze verify) runs/NAME": "names stand for others",
    r"train --resume OUT/.*|train import user/.*": "names stand for others",
    r"harvest --activations (acts\.npy|cached) .*": "tests/harvest/arrays does the same",
    r'sae = load_sae\("hf://.*': "needs the hub; tests/train/interchange/push/test_push.py loads one",
    r"harvest .*--keep 200G( &)?|train .* --follow .* --out runs/gpt2": (
        "each waits for the other; tests/train/loop/test_bounded.py runs both"
    ),
    r"harvest (.* )?--device-map auto.*": "several GPUs; tests/harvest/model/test_device_map.py uses the disk",
    r"make (test|docs)|python -m (tests\.faults|pytest).*": "tests themselves",
    r"make demo TORCH_INDEX=…|python3 -m venv .venv && .*|pip install .*": "installs; the environment is made so",
    r"torchrun .*": "several GPUs; tests/harvest/test_kill.py and tests/train/test_ranks.py run two processes",
    r"python benchmarks/.*|python -m harvest\.demo\.train": "minutes to hours",
    r"from delphi\..*": "needs delphi; benchmarks/peers/dashboards.py does the same",
    r"docker .*|J=\"docker .*|\$J .*|MODEL=gpt2 .*": "needs Docker; tests/container.sh does the same with buildah",
    r"spec:|kubectl .*": "Kubernetes; tests/deploy/test_kubernetes.py checks the manifests",
    r"LAUNCH=.*": "Slurm; tests/slurm.sh runs the files",
    r"(?!python ).*(stories15M|smollm2|runs/baseline).*": "models and texts of a hub, hours",
    r"train .*--preset saebench.*": "42 runs; tests/train/test_presets.py trains them all",
    r'variant = \["topk", "nsae"\]': "a part of a file; tests/train/test_config.py reads such a one",
    r'"""A ReLU SAE .*|.* slope\.py:SlopeSAE.*': "tests/train/architectures/test_plugin.py trains it",
}

EVERY = [snippet for document in DOCUMENTS for snippet in snippets(document)]


@pytest.mark.parametrize("snippet", EVERY, ids=lambda s: f"{s.document}: {s.title}")
def test_documented_commands_are_all_run_or_excused(snippet: Snippet) -> None:
    reasons = [reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, snippet.title)]
    assert len(reasons) + (snippet.title in RUN) == 1


def test_command_tables_name_only_documented_commands() -> None:
    titles = {snippet.title for snippet in EVERY}
    assert set(RUN) - titles == set()
    assert [p for p in NOT_RUN if not any(re.fullmatch(p, title) for title in titles)] == []


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(snippet.text for snippet in snippets("README.md") if snippet.language == "python")
    sizes = {'"60k"': '"5k"', '"50k"': '"2k"', "expansion=4": 'expansion=1, validate_every="2k", snapshots=1'}
    for size, smaller in sizes.items():
        assert size in code
        code = code.replace(size, smaller)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["x_hat"].shape == names["batch"][:, 2].shape


def test_documented_sources_are_written_as_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written: list[dict[str, Any]] = []
    for snippet in snippets("docs/extending.md"):
        if "write_store" in snippet.text and snippet.language == "python":
            written.append({})
            exec(snippet.text, written[-1])
    _, names, synthetic = written
    assert synthetic["store"].truth.l0 == synthetic["features"].l0
    store, hidden = names["store"], names["model"][:3](names["tokens"])
    context, position = store.origin(store.shards("heldout")[0])
    assert set(context.tolist()) == set(range(20))
    rows = store.rows("hidden", store.shards("heldout")[0])
    assert np.allclose(rows, hidden[context, position].detach(), atol=1e-3)
    assert (store.tokens() == names["tokens"].numpy()).all()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A user's folder, with what the documents take for granted there."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    write_jsonl(tmp_path / "texts" / "a.jsonl", [f"text {i}" for i in range(100)])
    make_gpt2(tmp_path / "my-model")
    return tmp_path


@pytest.fixture
def hub(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """GPT-2's name for a model of its depth with random weights, and the Pile's for texts in its files' names."""
    import zstandard

    pile = tmp_path_factory.mktemp("hub") / "pile"
    for split, n in (("train", 6000), ("val", 50), ("test", 50)):
        path = write_jsonl(pile / split / "00.jsonl", [f"The {i}th text of {split} says {i * i}." for i in range(n)])
        path.with_suffix(".jsonl.zst").write_bytes(zstandard.compress(path.read_bytes()))
        path.unlink()
    (pile / "README.md").write_text("---\nlicense: other\n---\n", encoding="utf-8")
    with Hub() as server:
        for name in ("gpt2", "openai-community/gpt2"):
            server.add("models", name, work / "my-model")
        server.add("datasets", "monology/pile-uncopyrighted", pile)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def make_gpt2(folder: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = {"n_layer": 12, "n_embd": 32, "n_head": 2, "n_positions": 128, "vocab_size": 4096}
    GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder)


@pytest.mark.slow
@pytest.mark.skipif(ENVIRONMENT is None, reason="`make test-readme` makes the environment")
def test_documented_commands_run_in_an_environment_made_by_pip_install(work: Path, hub: Hub) -> None:
    assert ENVIRONMENT is not None
    folder = Path(ENVIRONMENT).resolve() / "bin"
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_", "PYTHON"))
    }
    environment = {
        **clean, "PATH": f"{folder}:{os.environ['PATH']}", "HF_HOME": str(work / "home"), "HF_HUB_DISABLE_XET": "1",
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    for name in (".torch", ".installed"):  # so make demo installs nothing
        (folder.parent / name).touch()

    def run(command: str) -> str:
        print(command)
        done = subprocess.run(["bash", "-ec", command], cwd=work, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    assert run("python -c 'import data; print(data.__file__)'").startswith(str(folder.parent))  # not this checkout
    python = ["import torch", "x = torch.randn(5, 128)"]  # what the snippets take for granted
    for snippet in EVERY:  # a command may name the file before its block comes
        if snippet.language == "toml" and snippet.title in RUN:
            (work / "sweep.toml").write_text(snippet.text, encoding="utf-8")
    done = set()
    for snippet in EVERY:
        if snippet.title not in RUN or snippet.language == "toml" or (snippet.language == "sh" and snippet in done):
            continue
        done.add(snippet)
        if snippet.title == "analyze stability --store data/gpt2.zarr runs/seeds":
            run(f"train --store data/gpt2.zarr --variant baseline --seed 0,1 {SMALL} --layers 5 --out runs/seeds")
        if snippet.language == "python":
            (work / "snippet.py").write_text("\n".join([*python, snippet.text]), encoding="utf-8")
            run("python snippet.py")
        else:
            more = f"{RUN[snippet.title]} VENV={folder.parent}" if snippet.title == "make demo" else RUN[snippet.title]
            run(f"{snippet.text} {more}".strip())
            if snippet.title == "harvest --model gpt2 --tokens 100M":
                assert '"dataset": "monology/pile-uncopyrighted"' in (work / "data/gpt2.zarr/zarr.json").read_text(
                    "utf-8"
                )
