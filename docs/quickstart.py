# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Quickstart
#
# This notebook harvests activations from the embedded demo model, trains four sparse autoencoders on them, and looks at
# the result. It needs no network and no GPU, and takes under a minute. The sizes are tiny: the numbers show how the
# tools work and say nothing about real models.
#
# The notebook is made from `docs/quickstart.py` and executed by `make docs`.

# %%
import os
import subprocess
import sys
import tempfile

os.chdir(tempfile.mkdtemp())  # everything below is written here


def run(command: str) -> None:
    """Run one of the project's commands and print its output."""
    stage, *arguments = command.split()
    result = subprocess.run([sys.executable, "-m", stage, *arguments], capture_output=True, text=True, check=False)
    print(result.stdout)
    assert result.returncode == 0, result.stderr


# %% [markdown]
# ## Harvest
#
# The language model runs once. All six layers' MLP outputs go to a store, with norms and provenance.

# %%
run("harvest --model demo --tokens 20k --layers 1,4 --out demo.zarr")

# %% [markdown]
# A store is read by memory maps, without the language model.

# %%
from data import ShuffledStream, open_store

store = open_store("demo.zarr")
for hook in store.hooks:
    print(hook, "mean norm", round(store.statistics(hook).mean_norm(), 2))

with ShuffledStream(store, batch_size=256, seed=0) as stream:
    print("a batch of all layers:", tuple(next(stream).shape))

# %% [markdown]
# ## Train
#
# Two architectures at two sparsity coefficients each make four runs, all trained on the same batches.

# %%
sizes = "--activations 20k --batch-size 128 --expansion 2 --lr 2e-3 --validate-every 10k --snapshots 1"
run(f"train --store demo.zarr --variant baseline --l1 4e-3,1.5e-2 {sizes} --out runs/baseline")
run(f"train --store demo.zarr --variant nsae --l1 1e-6,1e-5 {sizes} --l1-warmup 5k --out runs/nsae")

# %% [markdown]
# A trained SAE is a PyTorch module.

# %%
import torch

from train import load_sae

sae = load_sae("runs/nsae/nsae_l1=1e-06", layer=4)
rows = torch.from_numpy(store.rows("blocks.4.hook_mlp_out", shard=store.shards("heldout")[0])[:1000].astype("float32"))
c = sae.encode(rows)  # [rows, d_sae]
x_hat = sae.decode(c)  # [rows, d_model]
unexplained = (rows - x_hat).square().sum() / (rows - rows.mean(0)).square().sum()
print(f"active features per token: {(c > 0).float().sum(dim=1).mean():.1f}, explained variance: {1 - unexplained:.3f}")

# %% [markdown]
# ## Analyze
#
# Explained variance against L0, on held-out documents. `analyze report` makes the whole report.

# %%
run("analyze pareto --store demo.zarr runs/baseline runs/nsae --without-model --out pareto")

# %%
from pathlib import Path

from IPython.display import Image

Image(next(Path("pareto").rglob("*explained_variance*.png")))
