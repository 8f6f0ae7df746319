"""Write docs/cli.md from the program's own help, so that the page can't say anything else. `make docs` runs it."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from firstbert.cli import app

PAGE = Path(__file__).with_name("cli.md")
COMMANDS = (
    "",
    "tutorial",
    "train",
    "evaluate",
    "compare",
    "check-labels",
    "predict",
    "explain",
    "serve",
    "export",
    "models",
    "doctor",
    "cache info",
    "cache clear",
)


def help_of(command: str) -> str:
    """Return a command's help as it is shown on a terminal of 100 columns."""
    out = io.StringIO()
    app.help_print(command.split(), console=Console(file=out, width=100, color_system=None, highlight=False))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip()


def page() -> str:
    """Return the whole page."""
    parts = ["# The command line", "", "Made from the program's own help by `make docs`.", ""]
    for command in COMMANDS:
        parts += [f"## {f'firstbert {command}'.strip()}", "", "```text", help_of(command), "```", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
