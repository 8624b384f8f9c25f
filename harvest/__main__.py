"""The entry point of the command `harvest`: it handles signals before the slow imports."""

from data.command.console import print_in_any_locale
from data.command.libraries.caches import keep_caches_writable
from data.command.stop import exit_on_signals


def main() -> None:
    exit_on_signals()
    print_in_any_locale()
    keep_caches_writable()
    from harvest.cli import main as command

    command(prog_name="harvest")


if __name__ == "__main__":
    main()
