"""Where the process begins and ends: `firstbert …`, and `python -m firstbert …`.

After cli.py, which it calls, on the way of a sentence. Exit codes: 0 fine, 1 a fault of this program,
2 wrong usage or bad input.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings

from firstbert.errors import FirstbertError, refused_by_system
from firstbert.terminal import note


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # At its end Python would search all that is left for cycles, as if it didn't go with the process.
    atexit.register(gc.freeze)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *args, **kwargs: note(str(message))
        sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    try:
        _command(arguments)
        sys.stdout.flush()
    except FirstbertError as error:
        note(f"firstbert: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        note("firstbert: stopped.")
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        _let_go_of_output()
        return 0
    except Exception as error:
        return _unforeseen(error)
    return 0


def _let_go_of_output() -> None:
    """What is still to be printed goes nowhere: at its end Python would try once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unforeseen(error: Exception) -> int:
    """An error that nobody has put into words yet: the machine's, or ours."""
    if refused := refused_by_system(error, "the output"):
        _let_go_of_output()
        note(f"firstbert: {refused}")
        return refused.exit_code
    if os.environ.get("FIRSTBERT_DEBUG"):
        raise error
    note(f"firstbert: a fault of this program: {type(error).__name__}: {error}\n"
          "Set FIRSTBERT_DEBUG=1 to see where, and please report it.")  # fmt: skip
    return 1


def _command(arguments: list[str]) -> None:
    if arguments[:1] == ["predict"]:
        from firstbert.predict import plain, predict

        if options := plain(arguments):
            gc.disable()  # what a start loads, it keeps: searching it for cycles takes a tenth of the whole
            return predict(options)
    from firstbert.cli import run

    return run(arguments)


if __name__ == "__main__":
    main()
