"""What can be set about the service, and what it refuses to start with.

First of serve/.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from firstbert.errors import UsageError

KEYS_VARIABLE = "FIRSTBERT_API_KEYS"
_LEAST_KEY = 16  # characters; shorter ones can be guessed


@dataclass(frozen=True)
class ServeOptions:
    """How to serve.

    Attributes:
        models: folders, or name=folder; the first answers where a request names none.
        host: the address to listen at.
        port: 0: any that is free.
        threads: batches encoded side by side; None: one per usable core.
        keys: API keys, one of which each request must bring; empty: none is needed.
        cors: origins whose pages may call the service from a browser.
        deadline_s: how long a request may take; 504 after that.
        read_timeout_s: how long a request may take to come in, from its first byte or the connection's start; 408 then.
        max_inputs: texts of one request; 413 beyond.
        max_body: bytes of one request; 413 beyond.
        max_connections: served at once; whoever comes when so many are open is refused with 503.
        log_texts: whether texts and labels go into the log.
        quiet: log only what goes wrong.
    """

    models: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    threads: int | None = None
    keys: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    deadline_s: float = 10.0
    read_timeout_s: float = 20.0
    max_inputs: int = 1024
    max_body: int = 4_000_000
    max_connections: int = 4096
    log_texts: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        _in("port", self.port, 0, 65535)
        _in("threads", self.threads or 1, 1, 1024)
        _in("deadline", self.deadline_s, 0.01, 3600)
        _in("read-timeout", self.read_timeout_s, 0.01, 3600)
        _in("max-inputs", self.max_inputs, 1, 1_000_000)
        _in("max-body", self.max_body, 100, 10**10)
        _in("max-connections", self.max_connections, 1, 1_000_000)
        names = [name for name, _ in self.named]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"Two models are called {twice!r}: name them, as in a={names[0]} b={names[1]}.")

    @property
    def named(self) -> list[tuple[str, Path]]:
        """Each model's name and folder; the folder's own name where none is given."""
        pairs = [_named(model) for model in self.models]
        for name, folder in pairs:
            if not name or set(name) - _IN_NAMES:
                raise UsageError(
                    f"{folder}: {name!r} can't be a model's name in an address: letters, digits, '.', '_' and '-' can. "
                    f"Give it one: name={folder}"
                )
        return pairs


_IN_NAMES = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def _named(model: str) -> tuple[str, Path]:
    name, sign, folder = model.partition("=")
    if sign and not Path(model).exists():
        return name, Path(folder)
    return Path(model).resolve().name, Path(model)


def _in(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"--{name} must be in [{low:g}, {high:g}]. Got {value:g} instead.")


def api_keys(file: Path | None) -> tuple[str, ...]:
    """Return the API keys of a file, one a line, and of the environment variable FIRSTBERT_API_KEYS (commas between).

    Raises:
        UsageError: the file can't be read or holds none, or a key is too short to be one.
    """
    found = [key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",")]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: the API keys can't be read ({error}).") from error
        own = [line.strip() for line in lines if not line.lstrip().startswith("#")]
        if not any(own):
            raise UsageError(f"{file}: holds no API key: write one a line, of {_LEAST_KEY} characters or more.")
        found += own
    keys = tuple(dict.fromkeys(key for key in found if key))
    if any(len(key) < _LEAST_KEY or not key.isascii() or not key.isprintable() for key in keys):
        raise UsageError(f"An API key must be {_LEAST_KEY} or more printable ASCII characters; one of them isn't.")
    return keys
