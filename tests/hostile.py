"""A process that opens what strangers send: model folders with an encoder in them; and how to make such folders.

The process answers a few texts with a folder as a user would, watched. What no folder has any business with (processes,
sockets, pickles, files elsewhere) is stopped and told of; the kernel tells of files opened or changed by code in C or
Rust; memory and time are limited.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import everyday
import families

ROOT = Path(__file__).parent.parent
SECRET = "correct horse battery staple"
TEXTS = ["A warm and funny film.", "", "word " * 2000, "a" * 20_000, "é中😀\0\n\t" * 200]
SECONDS = 10.0  # for one folder; a sound one takes a hundredth
MEMORY = 1_500_000_000  # bytes that a folder may have reserved, code in C and threads included

_FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn", "subprocess.Popen",
    "pickle.find_class",
    "socket.connect", "socket.getaddrinfo", "socket.bind", "ctypes.dlopen", "code.__new__", "builtins.input", "os.kill",
)  # fmt: skip
# What changes the file system, and which of its arguments is the open folder that a path begins at; -1 for none.
_CHANGES = {"os.mkdir": 2, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.chmod": 2, "os.link": 2, "os.symlink": 2}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# ---------------------------------------------------------------- a sound folder


def sound(folder: Path) -> Path:
    """Train on a few sentences and save the model with its encoder and its neighbours; return its folder."""
    from firstbert import SentenceClassifier

    encoder = write_encoder(folder / "made")
    rows = everyday.topics(60, seed=1)
    texts, labels = [text for text, _ in rows], [topic for _, topic in rows]
    classifier = SentenceClassifier(str(encoder), layer="last", pooling="mean", max_length=60)
    classifier.fit(texts, labels).keep_neighbours(texts, labels)
    return classifier.save(folder / "model", portable=True)


def write_encoder(folder: Path) -> Path:
    """Write a very small BERT with a tokenizer of a hundred words."""
    row = families.small("bert", hidden_size=8, num_attention_heads=2, intermediate_size=16, max_position_embeddings=64)
    families.write(row, folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return folder


def tokenizer() -> dict[str, Any]:
    """A tokenizer.json as BERT's, with a hundred words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.,'", "the", "a warm", "film"]
    words = list(dict.fromkeys([*words, *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"), "so", "good"]))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    around = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
              {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]  # fmt: skip
    special = {word: {"id": word, "ids": [i], "tokens": [word]} for i, word in ((2, "[CLS]"), (3, "[SEP]"))}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": word} | flags for i, word in enumerate(words[:5])],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": around, "pair": around, "special_tokens": special},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(words)}},
    }  # fmt: skip


def mend(folder: Path) -> None:
    """Write the hashes of what is in a folder into its model.json: who sends a folder can do that, too."""
    path = folder / "model.json"
    if not plain(path):
        return
    try:
        facts = json.loads(path.read_bytes())
        facts["head_sha256"] = _sha256(folder / "head.safetensors")
        facts["encoder"]["weights_sha256"] = _sha256(folder / "encoder" / "model.safetensors")
        facts["neighbours"]["texts_sha256"] = _sha256(folder / "neighbours.jsonl")
        facts["neighbours"]["vectors_sha256"] = _sha256(folder / "neighbours.safetensors")
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return
    path.write_text(json.dumps(facts))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if plain(path) else "0" * 64


def plain(path: Path) -> bool:
    """Whether it can be read by the tests: what they have put there may be a pipe, or without end."""
    return path.is_file() and not path.is_symlink() and path.stat().st_size < 30_000_000


# ---------------------------------------------------------------- the tests' side


@dataclass(frozen=True)
class Outcome:
    """What came of opening a folder.

    Attributes:
        refused: firstbert's error; empty where it answered.
        broken: anything else that came of it: another error, a wrong answer, a death, a time-out.
        trespasses: what it tried that no folder has any business with.
        seconds: how long it took.
        memory: by how many bytes the process's largest size grew.
    """

    refused: str
    broken: str
    trespasses: tuple[str, ...]
    seconds: float
    memory: int


class Opener:
    """The process. `around` is watched, and so is the parent of each folder that is opened."""

    def __init__(self, warm: Path, around: Path, environment: dict[str, str]) -> None:
        self.warm, self.around = warm, around
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
        self.environment = environment | {
            "PYTHONPATH": path, "FIRSTBERT_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TMPDIR": str(around.parent),
            "TORCHINDUCTOR_CACHE_DIR": environment["FIRSTBERT_CACHE"],  # torch makes it as it is imported
        }  # fmt: skip
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, folder: Path) -> Outcome:
        """Open a folder."""
        process = self.process = self.process or self._start()
        assert process.stdin and process.stdout
        process.stdin.write(f"{folder}\n")
        process.stdin.flush()
        answers = select.select([process.stdout], [], [], 2 * SECONDS)[0]
        if not answers or not (line := process.stdout.readline()):
            self.close()
            self.process = None
            how = f"the process died ({process.returncode})" if answers else "no answer"
            return Outcome("", how, (), 2 * SECONDS, 0)
        facts = json.loads(line)
        return Outcome(**facts | {"trespasses": tuple(facts["trespasses"])})

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "import hostile; hostile.serve()", str(self.warm), str(self.around)]
        process = subprocess.Popen(
            command, env=self.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where Rust tells of each panic, though it is caught
        )  # fmt: skip
        assert process.stdout and process.stdout.readline() == "ready\n"
        return process

    def close(self) -> None:
        """End it."""
        if self.process:
            with self.process as process:
                process.kill()


# ---------------------------------------------------------------- the process's side


class Kernel:
    """Tells of files that were opened, made, changed or removed, by whatever code."""

    _TOLD: ClassVar = {  # inotify's events
        0x2: "changed", 0x20: "opened", 0x40: "moved away", 0x80: "moved here", 0x100: "made", 0x200: "removed",
    }  # fmt: skip
    ALL, CHANGES = sum(_TOLD), sum(_TOLD) - 0x20

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._queue = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)

    def watch(self, folder: Path, events: int) -> int:
        """Begin to watch the files of a folder."""
        return int(self._libc.inotify_add_watch(self._queue, os.fsencode(folder), events))

    def leave(self, watched: int) -> None:
        """No longer watch it."""
        self._libc.inotify_rm_watch(self._queue, watched)

    def told(self) -> list[str]:
        """Return what has happened since it was asked last."""
        found = []
        try:
            while data := os.read(self._queue, 1 << 16):
                while data:
                    _, mask, _, length = struct.unpack_from("iIII", data)
                    name = data[16 : 16 + length].rstrip(b"\0").decode()
                    found += [f"{name} {what}" for bit, what in self._TOLD.items() if mask & bit]
                    data = data[16 + length :]
        except BlockingIOError:
            return found
        return found


class Guard:
    """Stops what no folder has any business with, and notes it."""

    def __init__(self) -> None:
        self.on, self.noted = False, list[str]()
        self._allowed: tuple[str, ...] = ()
        cache = os.environ["FIRSTBERT_CACHE"]
        self._reads = (
            cache,
            sys.prefix,
            sys.base_prefix,
            str(ROOT),
            "/proc/",
            "/sys/",
            "/dev/null",
            "/dev/urandom",
            "/usr",
        )
        self._writes = (cache,)
        sys.addaudithook(self._hook)

    @contextmanager
    def watching(self, folder: Path) -> Iterator[list[str]]:
        """Be on guard; `folder` may be read."""
        self.noted, self._allowed, self.on = [], (str(folder), *self._reads), True
        try:
            yield self.noted
        finally:
            self.on = False

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in _FORBIDDEN and arguments != (None,):  # the process's own library is open already
            self._stop(f"{event} {arguments[:1]}")
        if event == "open" and isinstance(arguments[0], str | bytes):
            writes = bool(arguments[2] & _WRITES) if isinstance(arguments[2], int) else False
            self._file(event, arguments[0], self._writes if writes else self._allowed)
        elif event in _CHANGES:
            at = arguments[_CHANGES[event]]
            inside = Path() if at == -1 else Path(f"/proc/self/fd/{at}").readlink()
            self._file(event, inside / os.fsdecode(arguments[0]), self._writes)

    def _file(self, event: str, path: Any, allowed: tuple[str, ...]) -> None:
        plain = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - links are not to be followed
        if not plain.startswith(allowed):
            self._stop(f"{event} {plain}")

    def _stop(self, what: str) -> None:
        self.noted.append(what)
        raise PermissionError(what)


def serve() -> None:
    """Open the folders whose paths come in, one a line, and write a line of JSON for each."""
    import resource

    warm, around = Path(sys.argv[1]), Path(sys.argv[2])
    kernel, guard = Kernel(), Guard()
    _import_all(warm)
    limit = int(_status("VmSize")) * 1024 + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGALRM, _out_of_time)
    kernel.watch(around, kernel.ALL)
    print("ready", flush=True)
    for line in sys.stdin:
        folder = Path(line.rstrip("\n"))
        watched = [kernel.watch(place, kernel.CHANGES) for place in (folder.parent, folder, folder / "encoder")]
        kernel.told()
        facts = _opened(folder, guard)
        facts["trespasses"] += kernel.told()
        for one in watched:
            kernel.leave(one)
        kernel.told()
        print(json.dumps(facts), flush=True)


def _import_all(warm: Path) -> None:
    """Import what is imported late: by a sound folder, and by torch, where it is there, for a family of its own."""
    from firstbert.engine import EngineOptions, open_engine
    from firstbert.errors import EncoderError, UsageError

    answered(warm)
    foreign = shutil.copytree(warm / "encoder", Path(os.environ["FIRSTBERT_CACHE"]) / "foreign", dirs_exist_ok=True)
    facts = json.loads((foreign / "config.json").read_text()) | {"model_type": "gpt2"}
    (foreign / "config.json").write_text(json.dumps(facts))
    with suppress(UsageError, EncoderError):  # without torch, and with
        open_engine(EngineOptions(str(foreign)))


def _opened(folder: Path, guard: Guard) -> dict[str, Any]:
    from firstbert.errors import FirstbertError

    Path("/proc/self/clear_refs").write_text("5")  # begin anew to note the largest size
    before, began = int(_status("VmRSS")), time.monotonic()
    refused = broken = ""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with guard.watching(folder) as trespasses:
            answered(folder)
    except FirstbertError as error:
        refused = str(error)
    except BaseException as error:
        broken = f"{type(error).__name__}: {str(error)[:500]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = time.monotonic() - began
    memory = 1024 * (int(_status("VmHWM")) - before)
    return {"refused": refused, "broken": broken, "trespasses": trespasses, "seconds": seconds, "memory": memory}


def answered(folder: Path) -> None:
    """Load a model, answer with it, look for neighbours, and save it elsewhere with all that belongs to it."""
    from firstbert import artifact
    from firstbert.cache import encode

    found = artifact.load(folder)
    predictor = found.predictor
    answers = predictor.predict(TEXTS)
    assert np.isfinite(answers.probabilities).all(), "a probability is no number"
    json.dumps(answers.records(), allow_nan=False).encode()
    if found.neighbours is not None:
        found.neighbours.nearest(encode(predictor.engine, TEXTS[:1]).joined[0])
    artifact.save(found, Path(os.environ["FIRSTBERT_CACHE"]) / "again", portable=True)


def _status(name: str) -> str:
    lines: dict[str, str] = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return lines[name].split()[0]


def _out_of_time(number: int, frame: object) -> None:
    raise TimeoutError(f"over {SECONDS:g} seconds")


# ---------------------------------------------------------------- copies


def copied(source: Path, target: Path, change: Callable[[Path], object]) -> Path:
    """Copy a sound folder and change the copy."""
    shutil.copytree(source, target)
    change(target)
    return target
