"""The command `train`, which a signal ends in order from its start on: its imports take seconds."""

from data.caches import keep_caches_writable
from data.console import print_in_any_locale
from data.stop import exit_on_signals


def main() -> None:
    exit_on_signals()
    print_in_any_locale()
    keep_caches_writable()
    from train.cli import main as command

    command(prog_name="train")


if __name__ == "__main__":
    main()
