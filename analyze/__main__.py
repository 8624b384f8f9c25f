"""The command `analyze`. Signals are handled before its imports, which take seconds."""

from data.command.console import print_in_any_locale
from data.command.libraries.caches import keep_caches_writable
from data.command.stop import exit_on_signals


def main() -> None:
    exit_on_signals()
    print_in_any_locale()
    keep_caches_writable()
    from analyze.cli import main as command

    command(prog_name="analyze")


if __name__ == "__main__":
    main()
