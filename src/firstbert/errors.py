"""The errors a user can meet: each knows its exit code and its HTTP status. And how messages count.

First on the way of a sentence: every other file raises these and nothing else on purpose.
"""

from __future__ import annotations

import errno


class FirstbertError(Exception):
    """Anything this library refuses to do, with the reason and the way out in its message.

    Attributes:
        exit_code: what the command line ends with.
        http_status: what the service answers with.
    """

    exit_code = 1
    http_status = 500


class UsageError(FirstbertError, ValueError):
    """An option or argument that makes no sense; the message names it and what it may be.

    A ValueError too, as scikit-learn's estimators raise; so is `DataError`.
    """

    exit_code = 2
    http_status = 422


class OptionError(UsageError):
    """An option of an encoder that is out of its range.

    Attributes:
        option: its name.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option

    def __reduce__(self) -> tuple[type[OptionError], tuple[str, str]]:
        return type(self), (self.option, str(self))


class DataError(FirstbertError, ValueError):
    """Data that can't be used as it is; the message names the file, the line and what to do."""

    exit_code = 2
    http_status = 422


class EncoderError(FirstbertError):
    """An encoder's files that can't be read or are of no supported family."""

    exit_code = 2
    http_status = 503


class ArtifactError(FirstbertError):
    """A model folder that is damaged, foreign or of another format."""

    exit_code = 2
    http_status = 503


class SourceError(FirstbertError):
    """A file that no mirror could deliver; the message lists each mirror and why it failed."""

    exit_code = 2
    http_status = 503


class TruncationWarning(UserWarning):
    """Some texts were longer than `max_length` and lost their ends; the message counts them."""


# What a disk or its rights say no to; any other OSError that nobody caught is a fault of this program.
_NO = {
    errno.ENOSPC: "make room", errno.EDQUOT: "make room", errno.EFBIG: "make room, or raise the limit on file sizes",
    errno.EACCES: "see to its rights, or name another place", errno.EPERM: "see to its rights, or name another place",
    errno.EROFS: "name a place that can be written", errno.EIO: "look at the disk", errno.EMFILE: "close other files",
    errno.ENFILE: "close other files",
}  # fmt: skip


def refused_by_system(error: Exception, where: str) -> UsageError | None:
    """Return the error for what the system refused and no other rule has told better; None for any other cause.

    Args:
        error: what was caught.
        where: what it was, unless the error names a file.
    """
    if isinstance(error, UnicodeEncodeError):
        odd = error.object[error.start]
        return UsageError(f"{where}: its encoding ({error.encoding}) has no {odd!r}: set PYTHONUTF8=1.")
    if not isinstance(error, OSError) or error.errno not in _NO:
        return None
    return UsageError(f"{error.filename or where}: can't be used ({error.strerror}): {_NO[error.errno]}.")


def missing_extra(what: str, extra: str) -> UsageError:
    """Return the error for an optional library that isn't installed, with its install line.

    Args:
        what: what was asked for, e.g. ``"Reading Parquet"``.
        extra: the extra that brings it, e.g. ``"parquet"``.
    """
    return UsageError(f'{what} needs the extra "{extra}": pip install "firstbert[{extra}]"')


def plural(n: int, one: str, many: str | None = None) -> str:
    """Return the words that go with `n`; many of them have an s, unless said."""
    return one if n == 1 else many or one + "s"


def counted(n: int, one: str, many: str | None = None) -> str:
    """Return a number with these words: ``"1 row"``, ``"2,000 rows"``."""
    return f"{n:,} {plural(n, one, many)}"
