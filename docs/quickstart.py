# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Quickstart
#
# This notebook harvests activations from the embedded demo model, trains four sparse autoencoders on them, and compares
# the two architectures. It needs no network and no GPU, and takes under a minute. The sizes are tiny: the numbers show
# how the tools work and say nothing about real models.
#
# `make docs` makes the notebook from `docs/quickstart.py` and executes it.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())  # everything below is written here

# %% [markdown]
# ## Harvest
#
# The language model runs once. The MLP outputs of two layers go to a store, with norms and provenance.

# %%
from harvest import harvest

store = harvest("demo", tokens="20k", layers=[1, 4], out="demo.zarr", quiet=True)
for hook in store.hooks:
    print(hook, "mean norm", round(store.statistics(hook).mean_norm(), 2))

# %% [markdown]
# A store is read by memory maps, without the language model. A stream gives shuffled batches of all its layers.

# %%
from data import ShuffledStream, open_store

store = open_store("demo.zarr")
with ShuffledStream(store, batch_size=256, seed=0) as stream:
    print("a batch [rows, layers, d_model]:", tuple(next(stream).shape))

# %% [markdown]
# ## Train
#
# Several values of an option make several runs, all trained on the same batches. The command `train` does the same.

# %%
from typing import Any

from train import load_sae, train

settings: dict[str, Any] = {
    "activations": "20k", "batch_size": 128, "expansion": 2, "lr": 2e-3,
    "validate_every": "10k", "snapshots": 1, "quiet": True,
}  # fmt: skip
results = train("demo.zarr", variant="baseline", l1=[4e-3, 1.5e-2], out="runs/baseline", **settings)
results += train("demo.zarr", variant="nsae", l1=[1e-6, 1e-5], l1_warmup="5k", out="runs/nsae", **settings)
for result in results:
    first = result.heldout[0]
    print(f"{result.run.name:20} L0 {first['l0']:5.1f}   explained variance {first['explained_variance']:.3f}")

# %% [markdown]
# A trained SAE is a PyTorch module.

# %%
sae = load_sae(results[-1].folder, layer=4)
shard = store.shards("heldout")[0]
x = store.tensor("blocks.4.hook_mlp_out", shard=shard).float()  # [rows, d_model]
c = sae.encode(x)  # [rows, d_sae]
x_hat = sae.decode(c)  # [rows, d_model]
print(f"{(c > 0).float().sum(dim=1).mean():.1f} of {c.shape[1]} features are active per token")

# %% [markdown]
# ## Analyze
#
# Held-out measures of all runs, with 95 % intervals over documents. L0 changes every other measure, so architectures
# are compared along it. `analyze report` makes the whole report.

# %%
from matplotlib import pyplot

from analyze import evaluate

evaluation = evaluate(store, ["runs"])
figure, panel = pyplot.subplots(figsize=(5, 3.5))
for variant in ("baseline", "nsae"):
    names = [result.run.name for result in results if result.run.variant == variant]
    l0, variance = (
        [evaluation.value(measure, name, "blocks.4.hook_mlp_out") for name in names]
        for measure in ("l0", "explained_variance")
    )
    errors = [[row.value - row.low for row in variance], [row.high - row.value for row in variance]]
    panel.errorbar([row.value for row in l0], [row.value for row in variance], errors, marker="o", label=variant)
panel.set(xlabel="L0 (active features per token)", ylabel="explained variance", title="blocks.4.hook_mlp_out")
legend = panel.legend()
