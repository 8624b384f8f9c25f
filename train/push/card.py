"""The model card of pushed runs, README.md: metadata that the hub reads, settings, data, measures and how to load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from huggingface_hub import ModelCardData

from train.hub.address import HubAddress
from train.interchange.origin import Origin, imported_origin
from train.measures import title_of
from train.output.settings import RunSettings
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
    made = {"trained" if run.settings.imported is None else "imported" for run in runs}
    models = list(dict.fromkeys(filter(None, (_model(run.settings)[0] for run in runs))))
    parts = [
        f"# {address.repo.partition('/')[2]}",
        f"Sparse autoencoders ({', '.join(map(_code, variants))}) of the activations of "
        f"{' and '.join(map(_code, models)) or 'an unnamed model'}, {' or '.join(sorted(made))} with {LIBRARY}.",
        "## Load",
        "```python\nfrom train import load_sae\n\n"
        f'sae = load_sae("{replace(address, folder=runs[0].name)}"{_hook(runs[0])})\n'
        "c = sae.encode(x)  # x: float32 [batch, d_model]\nx_hat = sae.decode(c, x)\n```",
        "## Data",
        "The store of the activations that the SAEs were trained on."
        if made == {"trained"}
        else "The store of the activations that imported SAEs were measured on.",
        _rows(_data(first.experiment.store, provenance)),
        "## Runs",
        measures.explanation,
        *(part for run in runs for part in _run_part(run, measures.of_run[run.name], in_subfolder=len(runs) > 1)),
        "## Licence",
        f"`{licence}`" if licence else "The authors of these weights have stated no licence.",
    ]
    return f"---\n{_metadata(runs, variants, licence)}\n---\n\n" + "\n\n".join(parts) + "\n"


def _metadata(runs: Sequence[FinishedRun], variants: Sequence[str], licence: str | None) -> str:
    """Return the YAML that the hub reads; it names models and texts only if they are known to be on the hub."""
    models = dict.fromkeys(name for name, on_hub in (_model(run.settings) for run in runs) if name and on_hub)
    texts = dict.fromkeys(text for text in (_text(run.settings) for run in runs) if text and "/" in text)
    return ModelCardData(
        library_name=LIBRARY,
        license=licence,
        tags=["sparse-autoencoder", *(variant.rpartition(":")[2] for variant in variants)],
        base_model=None if not models else list(models) if len(models) > 1 else next(iter(models)),
        datasets=list(texts) or None,
    ).to_yaml()


def _model(settings: RunSettings) -> tuple[str | None, bool]:
    """Return the model that a run was trained on, and whether it is known to be on the hub.

    An imported SAE is one of the store's model, unless its files name another.
    """
    recorded = without_local_paths(settings.provenance.get("model") or {})
    name, revision = recorded.get("name"), recorded.get("revision")  # a local model has no commit
    origin = _origin(settings)
    if origin is None or origin.model in (None, name):
        return name, bool(revision)
    return without_local_paths(origin.model), "/" in origin.model and without_local_paths(origin.model) == origin.model


def _text(settings: RunSettings) -> str | None:
    """Return the name of the text that a run was trained on, if it is known."""
    origin = _origin(settings)
    name = (settings.provenance.get("tokens") or {}).get("dataset") if origin is None else origin.dataset
    return without_local_paths(name) if isinstance(name, str) else None


def _origin(settings: RunSettings) -> Origin | None:
    """Return what the files of an imported run say of its training; None if the run was trained here."""
    return None if settings.imported is None else imported_origin(settings, settings.experiment.hooks[0])


def _data(store: str, provenance: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return what the store records about its activations, as (name, value)."""
    model, tokens, settings = (provenance.get(name) or {} for name in ("model", "tokens", "settings"))
    named = {
        "model": model.get("name"), "model's commit": model.get("revision"), "weights": model.get("processing"),
        "forward pass": model.get("forward_path"), "precision": model.get("precision"),
        "text": tokens.get("dataset"), "split": settings.get("dataset_split"),
        "context size": tokens.get("context_size"), "prefix token": tokens.get("prefix_token"),
        "contexts": tokens.get("n_contexts"), "stored as": settings.get("dtype"), "fingerprint of the store": store,
    }  # fmt: skip
    return named.items()


def _imported(settings: RunSettings, origin: Origin) -> Iterable[tuple[str, Any]]:
    """Return where a run was imported from and what the files say of its training, as (name, value)."""
    imported = settings.imported or {}
    named = {
        "imported from": imported.get("name"), "commit": imported.get("revision"), "format": origin.imported_from,
        "model": origin.model, "model's commit": origin.model_revision, "weights": origin.processing,
        "text": origin.dataset, "context size": origin.context_size, "prefix token": origin.prefix_token,
        "first positions left out": origin.skip_positions, "activations": origin.trained_rows,
    }  # fmt: skip
    return [*named.items(), *((f"`{name}`", value) for name, value in imported.get("settings", {}).items())]


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
    origin = _origin(settings)
    if origin is not None:
        yield "Imported. Its files say:"
        yield _rows(without_local_paths(dict(_imported(settings, origin))).items())
    else:
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


def _rows(named: Iterable[tuple[str, Any]]) -> str:
    """Return a table of the values that are known."""
    return _table(("", ""), [(name, _code(value)) for name, value in named if value is not None])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
