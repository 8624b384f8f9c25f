"""Find a model by name and read its configuration, without loading weights."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from data.command.libraries.hub import why_only_cache
from data.errors import InputError
from harvest.demo import MODEL as DEMO_MODEL
from harvest.model.base import HUB_ERRORS, ModelFacts, first_line

CONFIG_ERRORS = (*HUB_ERRORS, TypeError, AttributeError, StrictDataclassError)  # the JSON has an unexpected structure


def find_model(name: str, revision: str | None) -> ModelFacts:
    """Resolve `--model`: `demo`, a local directory in hub format, a hub name, or a TransformerLens alias.

    Raises InputError if the model cannot be found or is not a transformer language model.
    """
    label, only_cache = name, None
    if revision is not None and (name == "demo" or Path(name).is_dir()):
        raise InputError(f"--revision {revision}: does not apply to {name}, which is not on the hub; leave it out")
    if name == "demo":
        name = str(DEMO_MODEL)
    elif Path(name).is_dir():
        label = Path(name).resolve().name
    else:
        name = label = official_name(name)
        only_cache = why_only_cache()
    try:
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False).get_text_config()
    except CONFIG_ERRORS as error:
        if label.startswith((".", "/", "~")):
            raise InputError(
                f"--model {label}: there is no such folder; give one in hub format, a hub name, or demo"
            ) from error
        if only_cache:
            reason, remedy = only_cache
            raise InputError(
                f"--model {label}: there is no such folder, {reason}, and the model is not in the hub's cache; "
                f"{remedy}, or give a local directory"
            ) from error
        raise InputError(
            f"--model {label}: neither a local directory in hub format nor a model on the hub ({first_line(error)})"
        ) from error
    try:
        return ModelFacts(
            name, label, _commit(name, revision) or revision, int(config.num_hidden_layers),
            int(config.hidden_size), getattr(config, "max_position_embeddings", None), int(config.vocab_size),
        )  # fmt: skip
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"--model {label}: its configuration is not that of a transformer language model") from error


def _commit(name: str, revision: str | None) -> str | None:
    """Return the hub commit of the cached configuration; None for a local directory."""
    config = None if Path(name).is_dir() else try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(config).parent.name if isinstance(config, str) else None  # the folder's name is the commit


def official_name(alias: str) -> str:
    """Return the hub name of a TransformerLens alias (`gpt2-small`, `pythia-70m`); other names unchanged."""
    try:
        try:
            from transformer_lens.supported_models import get_official_model_name  # 4.x
        except ImportError:
            from transformer_lens.loading_from_pretrained import get_official_model_name  # 3.x
        return str(get_official_model_name(alias))
    except ValueError:
        return alias
