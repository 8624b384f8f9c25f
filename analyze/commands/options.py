"""Options and arguments that several commands of `analyze` have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data.command.base import InterruptibleCommand
from data.command.cache_options import CACHE_HELP, chosen_cache
from data.command.layer_choice import LayerChoice
from data.command.option_types import (
    NAME,
    SEED,
    Count,
    ListOf,
    LocalPath,
    Number,
    OutputFolder,
    Size,
    StoreLocation,
    excludes,
)
from data.system.file_cache import FileCache
from data.system.location import Location

if TYPE_CHECKING:
    from data.store.reader import Store


def command(name: str, example: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a command of the group; `example` is a command line without `analyze`."""
    return click.command(name, cls=InterruptibleCommand, epilog=f"Example: analyze {example}")


STORE_OPTIONS = (
    click.option(
        "--store", "path", type=StoreLocation(), required=True, help="The store to read, such as data/gpt2.zarr."
    ),
    click.option("--cache", type=LocalPath(), help=CACHE_HELP["--cache"]),
    click.option("--cache-size", type=Size(), help=CACHE_HELP["--cache-size"]),
)


class RunsPath(LocalPath):
    """A run's folder, or a folder of runs."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return "Give the folders that `train --out` wrote"


runs_argument = click.argument("paths", metavar="RUNS...", nargs=-1, required=True, type=RunsPath())
skip_option = click.option(
    "--skip-damaged", is_flag=True,
    help="Verify the store's held-out shards first, and leave out the damaged ones instead of stopping.",
)  # fmt: skip
layers_option = click.option(
    "--layers", type=LayerChoice(), default="all", show_default=True,
    help="Layers to use: `all`, or numbers and ranges such as 0,5,8-11; 3- means layer 3 and all after it.",
)  # fmt: skip
seed_option = click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Seed of NSAE's noise and of random samples."
)
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
    help="Device to compute on; `auto` uses a GPU if there is one.",
)  # fmt: skip

model_option = click.option(
    "--model", type=NAME, callback=excludes("without_model"),
    help="The language model that the store was harvested from, named as for `harvest --model`.  "
    "[default: the name recorded in the store]",
)  # fmt: skip
keep_first_option = click.option(
    "--keep-first", is_flag=True, callback=excludes("without_model"),
    help="In passes through the language model, leave position 0 of each context unpatched.",
)  # fmt: skip
without_model_option = click.option(
    "--without-model", is_flag=True,
    callback=excludes("model", "keep_first", "contexts_with_model", "snapshot_contexts", "ablate", "text"),
    help="Leave out everything that needs the language model, and show tokens as numbers.",
)  # fmt: skip

OTHER_LIBRARIES = ("saelens", "dictionary-learning", "saebench")
libraries_option = click.option(
    "--as", "libraries", type=ListOf(click.Choice(OTHER_LIBRARIES), "library"), metavar="LIBRARY[,…]",
    callback=lambda ctx, param, value: value or (),
    help=f"Also compute measures as other libraries do: {', '.join(OTHER_LIBRARIES)}, or several with commas. Each "
    "reads the data once more.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, callback=excludes("as_csv_"), help="Print JSON.")
csv_option = click.option("--csv", "as_csv_", is_flag=True, callback=excludes("as_json"), help="Print CSV.")
out_option = click.option("--out", type=OutputFolder(), help="Folder to write CSV files and figures into.")
page_folder_option = click.option(
    "--out", type=OutputFolder(), required=True, help="Folder to write the pages and their data into."
)


def contexts_option(purpose: str, *names: str, default: str | None = None) -> Callable[[Any], Any]:
    """Make an option for a number of held-out contexts; `default` None: all of them."""
    return click.option(
        *(names or ("--contexts",)), type=Count(), default=default, show_default=default is not None,
        help=f"Number of held-out contexts, evenly spaced, {purpose}.{'' if default else '  [default: all]'}",
    )  # fmt: skip


THRESHOLD_OPTIONS = (
    click.option(
        "--pillars", type=Count(), default="100", show_default=True, callback=excludes("numbers"),
        help="Number of features, those with the largest decoder norm, that are called pillars.",
    ),
    click.option(
        "--correction-norm", type=Number(0, above=True), default=0.5, show_default=True, callback=excludes("numbers"),
        help="Decoder norm below which a feature is called a correction.",
    ),
    click.option(
        "--direction-cosine", type=Number(-1, 1), default=0.9, show_default=True, callback=excludes("numbers"),
        help="Minimum cosine between the decoder directions of a feature and another one, for the feature to be "
        "called a direction (see also --direction-ratio).",
    ),
    click.option(
        "--direction-ratio", type=Number(1), default=1.5, show_default=True, callback=excludes("numbers"),
        help="Minimum ratio between the decoder norms of a feature and another one, for the feature to be called a "
        "direction (see also --direction-cosine).",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class StoreChoice:
    """The store that --store names, and the cache of its shards, if there is one."""

    path: Location
    cache: FileCache | None

    def open(self) -> Store:
        """Open the store. Raises as `open_store`."""
        from data.store.reader import open_store

        return open_store(self.path, cache=self.cache)


def store_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name the store and its cache; the command gets them as `choice`, a StoreChoice."""

    @wraps(function)
    def with_store(*, path: Location, cache: Path | None, cache_size: int | None, **others: Any) -> None:
        function(**others, choice=StoreChoice(path, chosen_cache(path, cache, cache_size)))

    return _with_options(with_store, STORE_OPTIONS)


def _with_options(function: Callable[..., None], options: Sequence[Callable[[Any], Any]]) -> Callable[..., None]:
    for option in reversed(options):
        function = option(function)
    return function


def threshold_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that define pillars, corrections and directions; the command gets them as `thresholds`."""

    @wraps(function)
    def with_thresholds(
        *, pillars: int, correction_norm: float, direction_cosine: float, direction_ratio: float, **others: Any
    ) -> None:
        from analyze.measure.dictionary import Thresholds

        thresholds = Thresholds(pillars, correction_norm, direction_cosine, direction_ratio)
        function(**others, thresholds=thresholds)

    return _with_options(with_thresholds, THRESHOLD_OPTIONS)
