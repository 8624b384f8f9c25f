"""Load a trained SAE from its files, without the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from data.command.libraries.extras import missing_library
from data.errors import InputError
from data.hooks import layer_of
from train.architectures import architecture_of
from train.hub.address import SCHEME, parse_address
from train.normalisation.scales import SCALED_ONLY, InputForm
from train.output.files.checked import DamagedRunError, check_extent, parse_json
from train.output.files.typed import typed
from train.output.run_folder import METADATA, SAE_FILE, STATE_JSON, WEIGHT_FILES, RunFolder, read_info
from train.output.settings import RunSettings, read_run_settings
from train.sae import SAE, TensorSpec
from train.variants import in_rows


@dataclass(frozen=True)
class FileMetadata:
    """The metadata of sae.safetensors: the run, its architecture, the hook of each layer, the store's fingerprint."""

    run: str
    variant: str
    hooks: tuple[str, ...]
    store: str
    settings: dict[str, Any] = field(default_factory=dict)  # of its architecture; earlier versions recorded none
    input_form: InputForm = SCALED_ONLY  # recorded if it is another one


@dataclass(frozen=True)
class SAESource:
    """The data and settings that a loaded SAE was trained with.

    run: name of its run.
    hook: the hook whose activations it was trained on.
    layer: the number of the hook's layer; None for a hook outside the layers.
    store: fingerprint of the store; of an imported SAE, the store that it was imported for.
    model: name of the store's language model; None if run.json is missing.
    settings: the run's settings and the store's provenance; None if run.json is missing.
    rows: the rows that these weights were trained on; None if run.json is missing, or an imported SAE does not say.
    """

    run: str
    hook: str
    layer: int | None
    store: str
    model: str | None
    settings: RunSettings | None
    rows: int | None = None


def load_sae(
    path: str | Path, hook: str | None = None, *, layer: int | None = None, device: str | torch.device = "cpu"
) -> SAE:
    """Load one SAE of a run; its `source` says what it was trained on.

        from train import load_sae
        sae = load_sae("runs/demo/nsae_target_l0=32", layer=3)
        c = sae.encode(x)      # x float32 [batch, d_model] → c float32 [batch, d_sae], noise off
        x_hat = sae.decode(c)  # [batch, d_model]
        sae.source.hook        # "blocks.3.hook_mlp_out"

    Args:
        path: The folder of a run (its final weights, else its newest checkpoint), of a checkpoint or of a snapshot. Its
            file is compared with its checksum, once per process. Or the address of a run that `train push` wrote to the
            Hugging Face hub: "hf://user/repo", or "hf://user/repo/folder@revision".
        hook: Full name of the hook. Neither hook nor layer is needed if the run has one SAE.
        layer: Number of the layer, instead of the hook.
        device: Where the parameters go.

    Raises:
        InputError: There is no such SAE, or it cannot be fetched.
        DamagedRunError: A file differs from its checksum.
    """
    file = find_weights(_local(path))
    check_extent(file, read_info(file.parent).files[SAE_FILE], whole=True)
    try:
        with safe_open(file, framework="pt", device=str(device)) as opened:
            metadata = parse_json(FileMetadata, (opened.metadata() or {}).get(METADATA, "").encode(), file)
            architecture = _architecture(metadata.variant, file)
            chosen = choose_hook(metadata.hooks, hook, layer, file)
            specs = architecture.saved_tensors(metadata.input_form)
            tensors = _tensors(opened, specs, len(metadata.hooks), metadata.hooks.index(chosen), file)
    except SafetensorError as error:
        raise DamagedRunError(f"{file} is damaged ({error})") from error
    d_sae, d_model = tensors["W_enc"].shape
    source = _source(file, metadata, chosen)
    batch_size = 1 if source.settings is None else source.settings.experiment.batch_size
    try:
        if metadata.settings or source.settings is None:
            settings = typed(architecture.Settings, in_rows(metadata.settings, batch_size), "settings")
        else:
            settings = source.settings.run.settings
    except ValueError as error:
        raise DamagedRunError(f"{file} is damaged: {error}") from error
    sae = architecture(d_model=d_model, d_sae=d_sae, settings=settings, input_form=metadata.input_form).to(device)
    sae.load_state_dict(tensors)
    sae.source = source
    return sae.eval()


def _local(path: str | Path) -> Path:
    """Return a local path, or that of the run fetched from an address on the hub. Raises InputError."""
    if not (isinstance(path, str) and path.startswith(SCHEME)):
        return Path(path)
    address = parse_address(path)
    try:
        from train.hub.fetch import fetch_folder  # needs huggingface_hub, which training does not
    except ModuleNotFoundError as error:
        if (sentence := missing_library(error)) is None:
            raise
        raise InputError(f"{path}: {sentence}") from error
    return fetch_folder(address, WEIGHT_FILES)


def hooks_of(path: Path) -> list[str]:
    """Return the hooks of the SAEs in a folder of a run, checkpoint or snapshot. Raises InputError as `load_sae`."""
    file = find_weights(path)
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = parse_json(FileMetadata, (opened.metadata() or {}).get(METADATA, "").encode(), file)
    except (SafetensorError, OSError) as error:
        raise DamagedRunError(f"{file} is damaged ({error})") from error
    return list(metadata.hooks)


def _architecture(variant: str, file: Path) -> type[SAE]:
    """Return the architecture that a file names. Raises InputError, naming the file, if it cannot be loaded."""
    try:
        return architecture_of(variant)
    except InputError as error:
        raise InputError(f"{file} holds an SAE of the variant {variant[:80]!r}: {error}") from error


def _tensors(
    opened: Any, specs: Mapping[str, TensorSpec], layers: int, index: int, file: Path
) -> dict[str, torch.Tensor]:
    """Return the tensors of the SAE `index`. Raises DamagedRunError if their shapes do not fit together."""
    slices = {name: opened.get_slice(name) for name in specs}
    shape = {name: tuple(part.get_shape()) for name, part in slices.items()}
    _, d_sae, d_model = shape["W_enc"] if len(shape["W_enc"]) == 3 else (0, 0, 0)
    for name, part in slices.items():
        expected = (layers, *specs[name].shape(d_model=d_model, d_sae=d_sae))
        if shape[name] != expected or part.get_dtype() != "F32" or not d_sae * d_model:
            raise DamagedRunError(f"{file} is damaged: {name} is {part.get_dtype()} {list(shape[name])}")
    return {name: part[index] for name, part in slices.items()}


def _source(file: Path, metadata: FileMetadata, hook: str) -> SAESource:
    """Describe the SAE of a hook, from its file's metadata and the run.json around it. Raises DamagedRunError."""
    folders = map(RunFolder, file.parents[1:3])  # of RUN/final/FILE, of RUN/checkpoints/NAME/FILE
    run = next((folder for folder in folders if folder.settings.is_file()), None)
    settings = None if run is None else read_run_settings(run)
    return SAESource(
        run=metadata.run, hook=hook, layer=layer_of(hook), store=metadata.store,
        model=None if settings is None else settings.model, settings=settings,
        rows=read_info(file.parent).step * settings.experiment.batch_size if settings and settings.rows_known else None,
    )  # fmt: skip


def find_weights(path: Path) -> Path:
    """Return the sae.safetensors in a folder of a run, checkpoint or snapshot. Raises InputError if there is none."""
    if path.name == SAE_FILE and path.is_file():
        return path
    inside = any((path / name).exists() for name in (SAE_FILE, STATE_JSON))
    folder = path if inside else RunFolder(path).newest()
    if folder is None:
        raise InputError(f"there is no trained SAE at {path}; give a run's folder, such as runs/NAME/RUN")
    return folder / SAE_FILE


def choose_hook(hooks: Sequence[str], hook: str | None, layer: int | None, file: Path) -> str:
    """Return the only hook of this name and layer, as far as they are given. Raises InputError unless there is one."""
    fitting = [name for name in hooks if hook in (None, name) and layer in (None, layer_of(name))]
    if len(fitting) != 1:
        asked = [name for name in (hook, None if layer is None else f"layer {layer}") if name is not None]
        missing = f"no SAE for {' in '.join(asked)}; it has" if asked and not fitting else "SAEs for"
        raise InputError(f"{file} has {missing} {', '.join(hooks)}; name one of them")
    return fitting[0]
