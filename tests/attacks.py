"""What strangers may send: each attack is done to a sound model folder (hostile.py), and has to come to nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import attacks_encoder
from hostile import mend
from ways import (
    CONFIG,
    HEAD,
    MODEL,
    OUTSIDE,
    PICKLE,
    TEXTS,
    VECTORS,
    Attack,
    Change,
    any_file,
    fact,
    linked,
    replaced,
    safetensors,
    tensors,
)

# ---------------------------------------------------------------- model.json


_FACTS: list[tuple[str, list[Any]]] = [
    ("format", [..., 3, 0, -1, 2.0, True, "2", 10**400, None]),
    ("labels", [..., [], ["a"], {"a": 1}, "ab", None, ["a"] * 8, list(range(8)), [["a"]] * 8, ["x"] * 20_001]),
    ("labels/0", ["", "\x1b[2J", "a\0b", "\u202eevil", None, 1, True, [], "a" * 20_000, "x\x9b31m", "\x07"]),
    ("label_type", [..., "eval", "int", "__class__", None, 5, ["str"]]),
    ("encoder", [..., None, [], "minilm", 5]),
    ("encoder/name", [
        ..., None, "", " ", ".", "..", "../../outside", "encoder/../../outside", "encoder/..", "./encoder", "~",
        "~root/x",
        "//server/share", "\\\\server\\share", "file:///etc", "http://example.org/x", "a\0b", "a" * 5000, "\x1b[2J", 5,
        "/dev", "/proc/self/root/etc", "C:\\x", "org/na me", "org/../x", "encoder\n", ["encoder/"], "/nowhere/at/all",
    ]),
    ("encoder/family", [..., 5, "\x1b[31m", None]),
    ("encoder/made_with", [..., 5, "\x1b[31m", "a" * 5000]),
    ("encoder/weights_sha256", [..., "0" * 64, "x", "A" * 64, 5, None]),
    ("layer", [..., 0, -1, 3, 999, 1.5, True, "last", [], [1] * 2000, [[1]], [0], 10**30, {"a": 1}]),
    ("pooling", [..., "max", "tokens", None, 5]),
    ("max_length", [..., 0, 1, -5, 65, 10**9, 32.0, True, 10**400]),
    ("precision", [..., "pickle", "bf16\0", None, 32]),
    ("backend", ["jax", 5, None, "os.system"]),
    ("many_labels", [..., 1, None, "false"]),
    ("calibration", [..., None, [], 1.0]),
    ("calibration/temperature", [..., 0.0, -1.0, 1e-300, 1e300, "1", 1, True]),
    ("thresholds", [..., None, [], 5]),
    ("thresholds/labels", [[0.5], [0.5] * 9, ["a"] * 8, [0.0] * 8, [-1.0] * 8, [2.0] * 8, {"a": 1}, 0.5]),
    ("thresholds/accept", [-1.0, 3.0, "0.5", True, []]),
    ("training", [..., None, [], 5, "x"]),
    ("training/rows_per_label", ["x", [1], [-1.5] * 8, {"a": 1}]),
    ("training/versions", ["x", {"numpy": 5}, {"numpy": {}}]),
    ("training/C", ["x", [], 1e300, {}]),
    ("training/layers", [5, [5], [{"layers": []}], [{}]]),
    ("training/test", ["x", {}, {"n": 4, "baseline_accuracy": "x"}]),
    ("golden", [..., [], None, [5], {}]),
    ("golden/0/text", [..., "", 5, "a" * 20_000]),
    ("golden/0/probabilities", [..., [], [2.0] * 8, [-0.1] * 8, ["a"] * 8, [1] * 8, [0.5] * 9, "abcdefgh"]),
    ("neighbours", [5, [], "x"]),
    ("neighbours/rows", [0, -1, 10**18, 59, 61, 60.0, "60"]),
    ("neighbours/texts_sha256", ["0" * 64, None, "x"]),
    ("neighbours/vectors_sha256", ["0" * 64, None, "x"]),
    ("head_sha256", [..., "0" * 64, "x", 5, None]),
]  # fmt: skip


def _model() -> Iterator[Attack]:
    for place, values in _FACTS:
        for value in values:
            shown = "missing" if value is ... else json.dumps(value)[:24]
            yield Attack(f"{MODEL} {place} {shown}", fact(MODEL, place, value), "")
    odd = {
        "a list": b"[1]", "a number": b"5", "twice the same key": b'{"format": 2, "format": 1}',
        "NaN": b'{"format": NaN}',
        "a number beyond all": b'{"format": 1e999}', "a long number": b'{"format": ' + b"9" * 100_000 + b"}",
        "half a character": b'{"format": 2, "labels": ["\\ud800"]}', "a mark before it": b"\xef\xbb\xbf{}",
        "many small parts": b'{"format": 2, "x": [' + b"[]," * 300_000 + b"[]]}", "blanks": b" " * 17_000_000,
        "bytes": bytes(range(256)),
    }  # fmt: skip
    for name, content in odd.items():
        yield Attack(f"{MODEL} {name}", replaced(MODEL, content), MODEL)


# ---------------------------------------------------------------- heads and neighbours


def _head() -> Iterator[Attack]:
    def to(name: str, make: Callable[[Any], Any]) -> Change:
        return tensors(HEAD, lambda found: found.update({name: make(found[name])}))

    yield from safetensors(HEAD, "weight", "bias")
    changes = {
        "NaN": to("weight", lambda a: a * np.float32("nan")), "infinite": to("bias", lambda a: a / np.float32(0)),
        "in float64": to("weight", lambda a: a.astype(np.float64)), "in int64": to("weight",
        lambda a: a.astype(np.int64)),
        "without bias": tensors(HEAD, lambda found: found.pop("bias")),
        "with one more": tensors(HEAD, lambda found: found.update(more=found["bias"])),
        "of another width": to("weight", lambda a: a[:, :-1].copy()),
        "of fewer labels": to("weight", lambda a: a[:-1].copy()), "flat": to("weight", lambda a: a.ravel()),
        "bias as a column": to("bias", lambda a: a[:, None].copy()),
        "without numbers": to("weight", lambda a: a[:, :0].copy()),
    }  # fmt: skip
    for name, change in changes.items():
        yield Attack(f"{HEAD} {name}", change, VECTORS if name in ("of another width", "without numbers") else HEAD)
    yield Attack(
        f"{HEAD} another one",
        lambda folder: (folder / HEAD).write_bytes((folder / HEAD).read_bytes()[:-4] + b"abcd"), HEAD,
        "sha256",
    )  # fmt: skip


def _neighbours() -> Iterator[Attack]:
    yield from safetensors(VECTORS, "vectors", "vectors")

    def lines(edit: Callable[[list[bytes]], list[bytes]]) -> Change:
        def change(folder: Path) -> None:
            found = (folder / TEXTS).read_bytes().split(b"\n")[:-1]
            (folder / TEXTS).write_bytes(b"".join(line + b"\n" for line in edit(found)))
            mend(folder)

        return change

    for name, line in {
        "another label": b'{"text": "a", "label": "nobody"}', "no label": b'{"text": "a"}',
        "no text": b'{"label": "x"}',
        "a number": b'{"text": 5, "label": "x"}', "a list": b'["a", "x"]', "no JSON": b"cos\nsystem",
        "half": b'{"text": "',
        "half a character": b'{"text": "\\ud800", "label": "x"}', "many parts": b"[" * 10_000,
    }.items():  # fmt: skip
        yield Attack(f"{TEXTS} with {name}", lines(lambda found, line=line: [line, *found[1:]]), TEXTS)
    yield Attack(f"{TEXTS} of fewer lines", lines(lambda found: found[1:]), TEXTS)
    yield Attack(f"{TEXTS} of more lines", lines(lambda found: found * 2), TEXTS)
    for name, make in {
        "NaN": lambda a: a * np.float16("nan"), "in float32": lambda a: a.astype(np.float32),
        "fewer": lambda a: a[1:].copy(),
        "narrow": lambda a: a[:, 1:].copy(), "flat": lambda a: a.ravel(),
    }.items():  # fmt: skip
        edit = tensors(VECTORS, lambda found, make=make: found.update(vectors=make(found["vectors"])))
        yield Attack(f"{VECTORS} {name}", edit, VECTORS)


# ---------------------------------------------------------------- what lies beside


def _beside() -> Iterator[Attack]:
    """Files that nothing reads, whatever they hold."""
    code = b"import os\nos.system('touch ../../outside/canary')\n"
    for name, content in {
        "head.pkl": PICKLE, "encoder/pytorch_model.bin": PICKLE, "model.joblib": PICKLE, "__init__.py": code,
        "setup.py": code,
        "sitecustomize.py": code, "encoder/modeling_bert.py": code, "encoder/tokenization.py": code,
        "encoder/model.onnx": PICKLE,
        "numpy.py": code, "safetensors.py": code, "onnxruntime.so": b"\x7fELF", ".env": b"FIRSTBERT_CACHE=/tmp",
        "encoder/added_tokens.json": b'{"x": 1e999}', "encoder/tokenizer_config.json": b'{"auto_map": {"A": "m.B"}}',
        "encoder/vocab.txt": b"\xff",
    }.items():  # fmt: skip
        yield Attack(
            f"beside: {name}", lambda folder, name=name, content=content: (folder / name).write_bytes(content), None
        )
    yield Attack("beside: a pipe", lambda folder: os.mkfifo(folder / "pipe"), None)
    yield Attack("beside: README.md a link out", linked("README.md", f"{OUTSIDE}/secret.txt"), None)
    for name, value in {
        "auto_map": {"AutoModel": "evil.Model"},
        "trust_remote_code": True,
        "_name_or_path": "../x",
    }.items():
        yield Attack(f"{CONFIG} {name}", fact(CONFIG, name, value), None)
    yield Attack(f"{MODEL} an unknown fact", fact(MODEL, "__reduce__", ["os.system", "x"]), None)


ATTACKS: tuple[Attack, ...] = (
    *any_file(), *_model(), *_head(), *_neighbours(), *attacks_encoder.attacks(), *_beside(),
)  # fmt: skip
