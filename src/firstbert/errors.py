"""The errors a user can meet: each knows its exit code and its HTTP status.

First on the way of a sentence: every other file raises these and nothing else on purpose.
"""

from __future__ import annotations


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


def missing_extra(what: str, extra: str) -> UsageError:
    """Return the error for an optional library that isn't installed, with its install line.

    Args:
        what: what was asked for, e.g. ``"Reading Parquet"``.
        extra: the extra that brings it, e.g. ``"parquet"``.
    """
    return UsageError(f'{what} needs the extra "{extra}": pip install "firstbert[{extra}]"')
