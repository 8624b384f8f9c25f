"""The model card of pushed runs, README.md: metadata that the hub reads, settings, data, measures and how to load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from huggingface_hub import ModelCardData

from train.hub.address import HubAddress
from train.measures import title_of
from train.push.content import FinishedRun, without_local_paths
from train.push.measures import Measured, Measures, Value

LIBRARY = "nsae-pipeline"
SHARED = ("expansion", "batch_size", "precision", "init")  # settings of the experiment that the card shows
NOT_SETTINGS = ("name", "variant")


def model_card(runs: Sequence[FinishedRun], measures: Measures, *, address: HubAddress, licence: str | None) -> str:
    """Return the text of README.md. `address`: the top of the repository. `licence`: the hub's name of it, or None."""
    first = runs[0].settings
    provenance = without_local_paths(first.provenance)
    variants = list(dict.fromkeys(run.settings.run.variant for run in runs))
    made = "trained" if first.training_known else "imported"
    parts = [
        f"# {address.repo.partition('/')[2]}",
        f"Sparse autoencoders ({', '.join(map(_code, variants))}) of the activations of "
        f"{_code(first.model) if first.model else 'an unnamed model'}, {made} with {LIBRARY}.",
        "## Load",
        "```python\nfrom train import load_sae\n\n"
        f'sae = load_sae("{replace(address, folder=runs[0].name)}"{_hook(runs[0])})\n'
        "c = sae.encode(x)  # x: float32 [batch, d_model]\nx_hat = sae.decode(c, x)\n```",
        "## Data",
        _table(("", ""), [(name, _code(value)) for name, value in _data(first.experiment.store, provenance)]),
        "## Runs",
        measures.explanation,
        *(part for run in runs for part in _run_part(run, measures.of_run[run.name], in_subfolder=len(runs) > 1)),
        "## Licence",
        f"`{licence}`" if licence else "The authors of these weights have stated no licence.",
    ]
    return f"---\n{_metadata(provenance, variants, licence)}\n---\n\n" + "\n\n".join(parts) + "\n"


def _metadata(provenance: Mapping[str, Any], variants: Sequence[str], licence: str | None) -> str:
    """Return the YAML that the hub reads; it names the model and the text only if they are known to be on the hub."""
    model, tokens = (provenance.get(name) or {} for name in ("model", "tokens"))
    dataset = tokens.get("dataset")
    return ModelCardData(
        library_name=LIBRARY,
        license=licence,
        tags=["sparse-autoencoder", *(variant.rpartition(":")[2] for variant in variants)],
        base_model=model.get("name") if model.get("revision") else None,  # a local model has no commit
        datasets=[dataset] if isinstance(dataset, str) and "/" in dataset else None,
    ).to_yaml()


def _data(store: str, provenance: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Yield what the store records about its activations, as (name, value)."""
    model, tokens, settings = (provenance.get(name) or {} for name in ("model", "tokens", "settings"))
    named = {
        "model": model.get("name"), "model's commit": model.get("revision"), "weights": model.get("processing"),
        "forward pass": model.get("forward_path"), "precision": model.get("precision"),
        "text": tokens.get("dataset"), "split": settings.get("dataset_split"),
        "context size": tokens.get("context_size"), "prefix token": tokens.get("prefix_token"),
        "contexts": tokens.get("n_contexts"), "stored as": settings.get("dtype"), "fingerprint of the store": store,
    }  # fmt: skip
    imported = provenance.get("imported")
    if isinstance(imported, Mapping):
        named |= {"imported from": imported.get("name"), "format of the import": imported.get("format")}
    return ((name, value) for name, value in named.items() if value is not None)


def _run_part(run: FinishedRun, measured: Measured, *, in_subfolder: bool) -> Iterable[str]:
    """Yield a run's heading, its measures by hook and its settings."""
    settings = run.settings
    yield f"### {settings.run.name}" + (f"\n\nIn the folder `{run.name}`." if in_subfolder else "")
    names = list(dict.fromkeys(name for values in measured.values() for name in values))
    if measured:
        rows = [(f"`{hook}`", *(_number(values.get(name)) for name in names)) for hook, values in measured.items()]
        yield _table(("hook", *map(title_of, names)), rows)
    else:
        yield "Hooks: " + ", ".join(f"`{hook}`" for hook in settings.experiment.hooks)
    if settings.training_known:
        experiment = settings.experiment.to_json()
        run_settings = {name: value for name, value in settings.run.to_json().items() if name not in NOT_SETTINGS}
        shared = {"activations": settings.experiment.schedule.total}
        shared |= {name: experiment[name] for name in SHARED}
        rows = [(f"`{name}`", _code(value)) for name, value in (run_settings | shared).items() if value is not None]
        yield _table(("setting", "value"), [("`variant`", _code(settings.run.variant)), *rows])


def _hook(run: FinishedRun) -> str:
    """Return the argument that names a hook, if the run has several."""
    hooks = run.settings.experiment.hooks
    return f', hook="{hooks[0]}"' if len(hooks) > 1 else ""


def _number(value: Value | None) -> str:
    if value is None:
        return "–"
    if value.low is None or value.high is None:
        return f"{value.value:.4g}"
    return f"{value.value:.4g} ({value.low:.4g} to {value.high:.4g})"


def _code(value: Any) -> str:
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "/")
    return f"`{text}`"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
