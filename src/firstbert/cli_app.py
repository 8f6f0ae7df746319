"""What the commands share: the program, how it reads its options, and types of them.

After predict.py on the way of a sentence; cli_learn.py, cli_measure.py and cli_use.py hold the commands, cli.py runs
them.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App, Parameter

from firstbert import __version__

if TYPE_CHECKING:
    from firstbert.data import DataOptions
    from firstbert.plan import FinetuneOptions

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


def seconds(text: str) -> float:
    """Return a time as people write it, 90s, 10m or 2h, in seconds."""
    from firstbert.errors import UsageError

    found = re.fullmatch(r"([0-9.]+) ?(s|m|min|h)?", text.strip())
    try:
        return float(found[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600}[found[2] or "s"] if found else float("x")
    except ValueError:
        raise UsageError(f"--time-budget must be a time such as 90s, 10m or 2h. Got {text!r} instead.") from None


def finetuning(options: dict[str, Any], wanted: bool, files: dict[str, Any]) -> FinetuneOptions | None:
    """Return how to fine-tune, None where that isn't wanted; options that would do nothing then are refused."""
    from firstbert.errors import UsageError
    from firstbert.plan import FinetuneOptions

    given = {name: value for name, value in options.items() if value is not None}
    if wanted:
        return FinetuneOptions(**given)
    default = FinetuneOptions(seed=options["seed"])
    idle = [name for name, value in given.items() if value != getattr(default, name)]
    idle += [name for name, value in files.items() if value is not None]
    if idle:
        option = idle[0].replace("_", "-").replace("precision", "train-precision")
        raise UsageError(f"--{option} is for fine-tuning: add --finetune, or leave it out.")
    return None


def typed() -> str:
    """Return what was typed, ready to be typed again."""
    import shlex

    return shlex.join(["firstbert", *sys.argv[1:]])
