"""What the commands share: the program, how it reads its options, and types of them.

After predict.py on the way of a sentence; cli_learn.py and cli_use.py hold the commands, cli.py runs them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from cyclopts import App, Parameter

from firstbert import __version__

if TYPE_CHECKING:
    from firstbert.data import DataOptions

Output = Parameter(name=("--output", "-o"))
Flag = Parameter(negative="")  # no --no-… form
Input = Parameter(allow_leading_hyphen=True)  # "-" is stdin
BadRow = Literal["fail", "skip"]
Duplicate = Literal["keep", "skip", "fail"]
Labels = Literal["auto", "one", "many"]
Layer = int | Literal["auto", "best", "last"]
Pooling = Literal["auto", "cls", "mean"]
Precision = Literal["fp32", "int8", "bf16"]
Device = Literal["auto", "cpu", "cuda"]

app = App(
    name="firstbert",
    version=__version__,
    help_format="plaintext",
    help="Sentence classification with a pretrained encoder that anyone can run.",
    help_epilogue="""Start here:

  firstbert tutorial                                  see how it works, on real sentences
  firstbert train reviews.tsv -o model                train and measure a classifier
  firstbert predict model --text "What a joy."        use it
""",
)
cache_app = App(name="cache", help="What the cache folder holds, and emptying it.", help_format="plaintext")
app.command(cache_app)


def reading(  # noqa: PLR0917 - as DataOptions has them
    text: str | None, label: str | None, on_bad_row: BadRow, on_duplicate: Duplicate, labels: Labels = "auto",
    extra: tuple[str, ...] = (),
) -> DataOptions:  # fmt: skip
    """Return how data is to be read."""
    from firstbert.data import DataOptions

    return DataOptions(text, label, on_bad_row, on_duplicate, labels=labels, extra=extra)


def typed() -> str:
    """Return what was typed, ready to be typed again."""
    import shlex

    return shlex.join(["firstbert", *sys.argv[1:]])
