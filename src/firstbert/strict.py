"""A stranger's file → its bytes, or the JSON object in it, for a bounded price; or why it isn't taken.

Before folders.py on the way of a sentence. What reads model folders and encoders reads through this. A ValueError says
why a file is refused; the caller says which one it is. docs/threat-model.md has what all this is for.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

DEEP = 32  # lists and objects within each other; our own files have 6
HEADER = 10_000_000  # bytes of a safetensors file's header; a thousand tensors take 100,000
WEIGHTS = 20_000_000_000  # bytes of an encoder's weights
_PARTS = 200_000  # lists and objects of a file, unless its reader says otherwise

_HALVES = re.compile(r"\\u[dD][89a-fA-F]")  # of characters beyond 65,535, as JSON may spell them


def plain_bytes(path: Path, most: int) -> bytes:
    """Return the content of a plain file of at most `most` bytes.

    Raises:
        ValueError: it is missing, a link, a folder, a pipe or a device, too large, or can't be read.
    """
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(most + 1) if size <= most else b""
    except OSError as error:
        raise ValueError(f"can't be read ({error.strerror})") from error
    if size > most or len(data) > most:
        raise ValueError(f"{size:,} bytes, where {most:,} are the most such a file may have")
    return data


def _opened(path: Path) -> BinaryIO:
    """Open a plain file; what would wait (a pipe) or lead elsewhere (a link) is never read from."""
    flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    if path.is_symlink() or not path.is_file():
        raise ValueError("missing, or no plain file")
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # changed just now
        file.close()
        raise ValueError("missing, or no plain file")
    return file


def json_object(data: bytes, parts: int = _PARTS) -> dict[str, Any]:
    """Return the JSON object that these bytes hold.

    Args:
        data: UTF-8 without a mark before it; each key once, numbers finite, characters whole.
        parts: the most lists and objects in it: each takes some 30 times the bytes that it is written with.

    Raises:
        ValueError: they hold none, or not such a one.
    """
    if (found := data.count(b"[") + data.count(b"{")) > parts:
        raise ValueError(f"not valid JSON for this file (over {parts:,} lists and objects: {found:,})")
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_number, parse_float=_number)
        _check_depth(value)
        if _HALVES.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("not valid JSON (nested too deep)") from None
    except ValueError as error:
        raise ValueError(f"not valid JSON ({reason(error)})") from error
    if not isinstance(value, dict):
        raise ValueError(f"holds a {type(value).__name__}, expected a JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # readers differ in which of the two they take
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{shown(twice)} stands there twice")
    return found


def _number(text: str) -> float:
    value = float(text)
    if value - value != 0:  # NaN, or infinite: 1e999
        raise ValueError(f"{text[:20]} is no number that JSON knows")
    return value


def _check_depth(value: Any) -> None:
    layer = [value]
    for _ in range(DEEP):
        inside = (one.values() if isinstance(one, dict) else one for one in layer if isinstance(one, dict | list))
        layer = [inner for values in inside for inner in values if isinstance(inner, dict | list)]
        if not layer:
            return
    raise ValueError("nested too deep")


def safetensors_header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file whose tensors fill the rest of it, as its library would read it.

    Asked before anything else is done with the file: what the header promises must be there.

    Raises:
        ValueError: it is no such file, or too large.
    """
    try:
        size = path.stat().st_size
        if size > WEIGHTS:
            raise ValueError(f"{size:,} bytes, where {WEIGHTS:,} are the most such a file may have")
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(HEADER, size - 8):
                raise ValueError(f"not a readable safetensors file (a header of {length:,} bytes in {size:,})")
            header = json_object(file.read(length))
    except OSError as error:
        raise ValueError(f"can't be read ({error.strerror})") from error
    try:
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        whole = end == size - 8 - length
    except (TypeError, LookupError, ValueError):
        whole = False
    if not whole:
        raise ValueError(f"not a readable safetensors file (its tensors don't fill its {size:,} bytes)")
    return header


def shown(value: object, most: int = 80) -> str:
    """Return a value as messages show it, cut to some characters; nothing in it can steer a terminal."""
    if isinstance(value, str | bytes):
        value = value[: most + 1]
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return f"a number of {value.bit_length():,} bits"
    elif isinstance(value, dict | list | tuple):
        return f"a {type(value).__name__} of {len(value):,}"
    text = repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def reason(error: BaseException) -> str:
    """Return what a library says of a file, on one short line that can't steer a terminal."""
    text = " ".join(str(error).split())[:200]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text) or type(error).__name__
