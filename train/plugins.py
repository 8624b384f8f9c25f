"""Architectures of other packages: `--variant my_module:MySAE`, `--variant file.py:MySAE`, or an entry point's name.

An entry point is declared by an installed package in the group ENTRY_POINTS; its name is the variant. A module or file
is imported only when the user names it, never because a file of a run does: reading other people's SAEs runs none of
their code.

A run records a file by its name without its folder, `file.py:MySAE`, so it is the same architecture from every folder
and on every machine. The command that --resume repeats is recorded with the whole path.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, is_dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from pathlib import Path
from typing import Any

from data.command.option_types import suggestion
from data.errors import InputError

ENTRY_POINTS = "nsae_pipeline.architectures"
REQUIRED = ("W_enc", "W_dec", "b_dec")  # of every architecture; b_dec is trained


@dataclass(frozen=True)
class Plugin:
    """A class that the user has named in this process, and the variant with which it was found, `located`."""

    variant: str
    architecture: type[Any]


LOADED: dict[str, Plugin] = {}  # by `identity`


def located(variant: str) -> str:
    """Return a variant with the whole path of the file that it names; any other as it is."""
    file, _, class_name = variant.rpartition(":")
    return f"{os.path.abspath(file)}:{class_name}" if file.endswith(".py") else variant


def identity(variant: str) -> str:
    """Return a variant as runs record it: of a file its name without the folder."""
    file, _, class_name = variant.rpartition(":")
    return f"{os.path.basename(file)}:{class_name}" if file.endswith(".py") else variant


def load_plugins(variants: Iterable[str]) -> list[str]:
    """Load the classes that variants name; return those that are other packages', by identity. Raises InputError."""
    plugins = []
    for variant in variants:
        if ":" in variant:
            load_plugin(variant)
        if ":" in variant or variant in declared():
            plugins.append(identity(variant))
    return plugins


def load_plugin(variant: str) -> type[Any]:
    """Import the class that MODULE:CLASS names, and return it. Raises InputError if there is none.

    A module is looked for in the working directory too. A class stays loaded for the process, until the variant names
    another file of the same name.
    """
    module_name, _, class_name = variant.rpartition(":")
    if not (module_name.strip(".") and class_name.isidentifier()):
        raise InputError(
            f"--variant {variant}: is not MODULE:CLASS; write it such as my_module:MySAE or slope.py:MySAE"
        )
    known = LOADED.get(identity(variant))
    if known is not None and known.variant == located(variant):
        return known.architecture
    module = _imported(lambda: _module(module_name), module_name, variant)
    architecture = getattr(module, class_name, None)
    if not _is_sae(architecture):
        classes = [name for name, value in vars(module).items() if _is_sae(value) and not isabstract(value)]
        hint = suggestion(class_name, classes, "name a subclass of train.SAE")
        raise InputError(f"--variant {variant}: {module_name} has no SAE {class_name}; {hint}")
    LOADED[identity(variant)] = Plugin(located(variant), _complete(architecture, variant))
    return LOADED[identity(variant)].architecture


def is_loaded(variant: str) -> bool:
    """Return whether MODULE:CLASS was loaded in this process."""
    return identity(variant) in LOADED


def known_plugin(variant: str) -> type[Any] | None:
    """Return the class of a variant that was loaded in this process, or that an installed package declares, or None.

    Raises InputError if the variant is a class that was not loaded, or one that cannot be used.
    """
    if identity(variant) in LOADED:
        return LOADED[identity(variant)].architecture
    if ":" in variant:
        raise InputError(
            f"the variant {variant[:80]!r} is another package's, and is not loaded; name it by `train --variant` or "
            "`analyze --plugin`, or call train.load_plugin"
        )
    if variant not in declared():
        return None
    return _complete(_imported(declared()[variant].load, declared()[variant].value, variant), variant)


@cache
def declared() -> dict[str, EntryPoint]:
    """Return the architectures that installed packages declare, by variant."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _is_sae(value: Any) -> bool:
    return isinstance(value, type) and hasattr(value, "training_pass")


def _complete(architecture: Any, variant: str) -> type[Any]:
    """Return the class. Raises InputError if it cannot be trained."""
    kind: type[Any] = architecture
    if not _is_sae(kind) or isabstract(kind) or not is_dataclass(getattr(kind, "Settings", None)):
        raise InputError(
            f"--variant {variant}: {getattr(kind, '__name__', kind)} is not complete; it needs Settings (a dataclass), "
            "activations, training_pass, initialise and reset_features_"
        )
    missing = [
        name for name in REQUIRED if name not in kind.trained and (name == "b_dec" or name not in kind.untrained)
    ]
    if missing:
        raise InputError(
            f"--variant {variant}: {kind.__name__} lacks {', '.join(missing)}; every architecture has "
            f"{', '.join(REQUIRED)}, and trains b_dec"
        )
    return kind


def _imported(load: Callable[[], Any], name: str, variant: str) -> Any:
    """Return what `load` imports by the name. Raises InputError if it fails."""
    try:
        return load()
    except (ImportError, OSError) as error:
        raise InputError(
            f"--variant {variant}: {name} cannot be imported ({error}); install it, or start in the folder that has it"
        ) from error
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"--variant {variant}: {name} fails as it is imported ({reason}); correct it") from error


def _module(name: str) -> Any:
    """Import a module by its name, or by its file's."""
    if name.endswith(".py"):
        # A name of its own: the file may be called as a library is.
        own_name = f"nsae_plugin_{sha256(str(Path(name).resolve()).encode()).hexdigest()[:16]}"
        spec = importlib.util.spec_from_file_location(own_name, name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module  # where dataclasses look for their module
        spec.loader.exec_module(module)
        return module
    if "" not in sys.path:
        sys.path.append("")  # a console script does not look in the working directory
    return importlib.import_module(name)
