"""The command line: what was typed → a command run.

Last on the way of a sentence; __main__.py calls it.
"""

from __future__ import annotations

from cyclopts import CycloptsError

from firstbert import cli_learn, cli_measure, cli_use
from firstbert.cli_app import app
from firstbert.errors import UsageError

__all__ = ["app", "cli_learn", "cli_measure", "cli_use", "run"]


def run(arguments: list[str]) -> None:
    """Run a command.

    Raises:
        UsageError: the arguments make no sense.
    """
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise UsageError(str(error)) from error
