"""The command `train`. Signals are handled before its imports, which take seconds."""

from data.command.console import print_in_any_locale
from data.command.libraries.caches import keep_caches_writable
from data.command.stop import exit_on_signals


def main() -> None:
    exit_on_signals()
    print_in_any_locale()
    keep_caches_writable()
    from train.cli import main as command

    command(prog_name="train")


if __name__ == "__main__":
    main()
