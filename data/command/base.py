"""Base classes of the project's commands: --help and --version, one-sentence messages for user errors, and signals."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from inspect import Parameter, signature
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from data.command.layer_choice import LayerChoice
from data.command.libraries.extras import missing_library
from data.command.option_types import ListOf
from data.command.stop import EXIT_CODES, TRY_AGAIN, StopRequest, on_signals
from data.errors import InputError, Stopped, UnreachableError
from data.system.limits import cpus, raise_open_files
from data.system.os_errors import FULL, NO_RIGHTS, TOO_LARGE, cause_of
from data.system.remote.retry import stopped_by
from data.system.torchrun import RankPlace, local_gpu, says_first

BAD_INPUT = 2
PACKAGE = "nsae-pipeline"

if TYPE_CHECKING:
    import torch


def print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        try:
            click.echo(f"{PACKAGE} {version(PACKAGE)}")
        except PackageNotFoundError as error:
            raise click.UsageError(f"{PACKAGE} is not installed, so it has no version; pip install it") from error
        ctx.exit()


VERSION = click.Option(
    ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=print_version,
    help="Show the version and exit.",
)  # fmt: skip


class HelpfulCommand(click.Command):
    """A command that answers -h, --help and --version."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), VERSION]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an option with a list of values that is given twice; click would take the last one alone."""
        _, _, given_parameters = self.make_parser(ctx).parse_args(list(args))
        for param in given_parameters:
            if isinstance(param.type, (ListOf, LayerChoice)) and given_parameters.count(param) > 1:
                raise click.BadParameter("is given twice; give all values at once, with commas", ctx, param)
        return super().parse_args(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the options. Under torchrun one process per machine says what is wrong with them."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            with suppress(InputError):  # variables that describe no place: then each process says what is wrong
                if error.exit_code == BAD_INPUT and RankPlace.from_environment().local_rank:
                    sys.exit(BAD_INPUT)
            raise


class GroupedOption(click.Option):
    """An option that the help of a StoreCommand lists under the heading `group`."""

    def __init__(self, *args: Any, group: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self.group = group


def options_of(
    function: Callable[..., Any], types: Mapping[str, click.ParamType[Any]], help: Mapping[str, Mapping[str, str]], *,
    optional: Collection[str] = (),
) -> list[click.Parameter]:  # fmt: skip
    """Return the options that stand for a function's arguments, with the arguments' defaults.

    types: by argument; an option without a value has none. help: the text of each option, by group and flag.
    optional: arguments without a default that the command line need not give, because a file may.
    """
    defaults = {name: parameter.default for name, parameter in signature(function).parameters.items()}
    options: list[click.Parameter] = []
    for group, texts in help.items():
        for flag, text in texts.items():
            name = flag.removeprefix("--").replace("-", "_")
            default, more = defaults[name], dict[str, Any]()
            if default is Parameter.empty:
                more = {"required": name not in optional}
            elif isinstance(default, bool):
                more = {"is_flag": True}
            elif default is not None:
                more = {"default": default, "show_default": True}
            kind = types.get(name)
            more |= getattr(kind, "option_arguments", {})  # what the type needs of its option
            options.append(GroupedOption([flag], group=group, type=kind, help=text, **more))
    return options


class HelpfulGroup(HelpfulCommand, click.Group):
    """A group of commands that answers -h, --help and --version."""


class StoreCommand(HelpfulCommand):
    """A command that reports InputError, a missing library, a full disk, or missing file permissions as one sentence.

    Under torchrun one process per machine says a sentence that is the same for several.

    The exit code is BAD_INPUT. If the disk is full, a file would exceed a size limit, or an object store cannot be
    reached, it is TRY_AGAIN: the same command continues once that is over. Any other exception keeps its traceback.
    """

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        headings: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                headings.setdefault(getattr(param, "group", "Options"), []).append(record)
        for heading, records in headings.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        raise_open_files()
        try:
            return super().invoke(ctx)
        except Exception as error:
            sentence, code = explanation(error)
            if sentence is None:
                raise
            if says_first(sentence):
                click.echo(f"Error: {sentence}", err=True)
            sys.exit(code)


def explanation(error: Exception) -> tuple[str | None, int]:
    """Return a sentence for an error that the user can fix (None for any other error), and the exit code."""
    cause = cause_of(error)
    if cause is not None and cause.errno in FULL:
        message = error if isinstance(error, InputError) else cause
        return f"the disk is full ({message}); free some space, and the same command continues", TRY_AGAIN
    if cause is not None and cause.errno == TOO_LARGE:
        message = error if isinstance(error, InputError) else cause
        return (
            f"a file would become larger than is allowed here ({message}); raise `ulimit -f`, or use another file "
            "system, and the same command continues",
            TRY_AGAIN,
        )
    if isinstance(error, UnreachableError):
        return str(error), TRY_AGAIN
    if isinstance(error, InputError):
        return str(error) if error.remedy is None else f"{error}; {error.remedy}", BAD_INPUT
    if cause is not None and cause.errno in NO_RIGHTS and (cause is not error or cause.filename is not None):
        return f"{cause.filename or error}: {cause.strerror}; change its rights, or choose another", BAD_INPUT
    return missing_library(error), BAD_INPUT


class StoppableCommand(StoreCommand):
    """A long command that saves its work when Ctrl-C or SIGTERM asks it to stop, also during its slow imports.

    The context's `obj` is the StopRequest. The command raises Stopped once its finished work is saved.
    """

    def invoke(self, ctx: click.Context) -> Any:
        ctx.obj = StopRequest()
        with on_signals(ctx.obj.receive), stopped_by(ctx.obj.event):
            try:
                return super().invoke(ctx)
            except Stopped:
                click.echo("stopped; what is done is kept, and the same command continues", err=True)
                sys.exit(ctx.obj.exit_code)


class InterruptibleCommand(StoreCommand):
    """A command that writes whole files at its end, so Ctrl-C and SIGTERM end it at once.

    The process exits in the signal handler, because any code could swallow an exception raised there.
    """

    def invoke(self, ctx: click.Context) -> Any:
        def stop(number: int, frame: FrameType | None) -> None:
            os.write(2, b"\nstopped; nothing is half-written; run the same command again\n")
            os._exit(EXIT_CODES[signal.Signals(number)])

        with on_signals(stop):
            return super().invoke(ctx)


def choose_device(name: str) -> torch.device:
    """Return the device of `--device`: "auto", "cpu" or "cuda". Under torchrun each process gets its own GPU.

    "auto" is the GPU if there is one. Also limits PyTorch's threads to the cores that the container may use.
    Raises InputError if "cuda" is asked for and there is no GPU, or if there are fewer GPUs than processes.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), cpus()))
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no GPU here; use --device cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", local_gpu(torch.cuda.device_count()))
    torch.cuda.set_device(device)  # Triton runs kernels on the current device, whichever one their tensors are on
    return device
