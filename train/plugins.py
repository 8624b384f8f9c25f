"""Architectures of other packages: `--variant my_module:MySAE`, `--variant file.py:MySAE`, or an entry point's name.

An entry point is declared by an installed package in the group ENTRY_POINTS; its name is the variant. A module or file
is imported only when the user names it, never because a file of a run does: reading other people's SAEs runs none of
their code.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import is_dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from pathlib import Path
from typing import Any

from data.errors import InputError

ENTRY_POINTS = "nsae_pipeline.architectures"
LOADED: dict[str, type[Any]] = {}  # by variant; what the user has named in this process


def load_plugin(variant: str) -> type[Any]:
    """Import the class that MODULE:CLASS names, and return it. Raises InputError if there is none.

    A module is looked for in the working directory too.
    """
    module_name, _, class_name = variant.rpartition(":")
    if not (module_name.strip(".") and class_name.isidentifier()):
        raise InputError(
            f"--variant {variant}: is not MODULE:CLASS; write it such as my_module:MySAE or slope.py:MySAE"
        )
    found = LOADED.get(variant) or getattr(_module(module_name, variant), class_name, None)
    if not isinstance(found, type) or not hasattr(found, "training_pass"):
        raise InputError(f"--variant {variant}: {module_name} has no SAE {class_name}; name a subclass of train.SAE")
    if isabstract(found) or not is_dataclass(getattr(found, "Settings", None)):
        raise InputError(
            f"--variant {variant}: {class_name} is not complete; it needs Settings (a dataclass), activations, "
            "training_pass, initialise and reset_features_"
        )
    LOADED[variant] = found
    return found


def known_plugin(variant: str) -> type[Any] | None:
    """Return the class of a variant that was loaded in this process, or that an installed package declares, or None.

    Raises InputError if the variant is a class that was not loaded.
    """
    if variant in LOADED:
        return LOADED[variant]
    if ":" in variant:
        raise InputError(
            f"the variant {variant[:80]!r} is another package's, and is not loaded; name it by `train --variant` or "
            "`analyze --plugin`, or call train.load_plugin"
        )
    if variant not in _declared():
        return None
    architecture: type[Any] = _declared()[variant].load()
    return architecture


@cache
def _declared() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _module(name: str, variant: str) -> Any:
    try:
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
    except (ImportError, OSError) as error:
        raise InputError(
            f"--variant {variant}: {name} cannot be imported ({error}); install it, or start in the folder that has it"
        ) from error
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"--variant {variant}: {name} fails as it is imported ({reason}); correct it") from error
