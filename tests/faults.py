"""Commands on a machine at fault: a full disk, a folder that may not be written, a wrong clock, a kill.

`Machine` is a process that has imported what the commands need and forks for each of them, so that a command costs
its own work alone and may find everything around it broken. A fault is a dictionary; its keys:

    at, do, under    the at-th call that changes the file system below `under` fails: `do` is an errno, or "kill"
    on               all later ones fail too
    largest          no file may grow beyond so many bytes: how a full disk shows itself to any code, C included
    bound            file modes bind, though the tests may be run by root
    after            killed after so many seconds
    clock            seconds by which the clock is off; of several, another one each time that it is asked
    cores            that the process may use at most
    set              module.NAME → the value that it has in another version
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink")
_MAKES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "open", "os.truncate")  # what a full disk refuses
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

# ---------------------------------------------------------------- the tests' side


@dataclass(frozen=True)
class Ended:
    """A command's end.

    Attributes:
        code: its exit code, negative for a signal.
        out, err: what it printed.
        calls: how many times it changed the file system below the fault's `under`; 0 where it was killed.
    """

    code: int
    out: str
    err: str
    calls: int


class Machine:
    """The process that forks. One command at a time; for two at once, take two machines."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
        self.environment = environment | {"PYTHONPATH": path}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import faults; faults.serve()"], env={"OMP_NUM_THREADS": "1"} | self.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
        )  # fmt: skip

    def start(self, *arguments: object, fault: dict[str, Any] | None = None, **job: Any) -> None:
        """Have a command begin; `job` may hold cwd, environment, stdout (a path), python (code run instead)."""
        job["arguments"] = list(map(str, arguments))
        job["environment"] = self.environment | {k: str(v) for k, v in job.get("environment", {}).items()}
        job["fault"] = json.loads(json.dumps(fault or {}, default=str))
        job["folder"] = str(self.folder)
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job, default=str) + "\n")
        self.process.stdin.flush()

    def end(self) -> Ended:
        """Wait for it."""
        assert self.process.stdout
        code = int(self.process.stdout.readline())
        out, err = ((self.folder / name).read_text(errors="replace") for name in ("out", "err"))
        calls = int((self.folder / "calls").read_text() or 0)
        return Ended(code, out, err, calls)

    def run(self, *arguments: object, fault: dict[str, Any] | None = None, **job: Any) -> Ended:
        """Run a command to its end."""
        self.start(*arguments, fault=fault, **job)
        return self.end()

    def close(self) -> None:
        """Let the process end."""
        self.process.communicate()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; a folder in it stands as itself with a slash behind."""
    return {
        f"{path.relative_to(folder)}{'/' * path.is_dir()}": b"" if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


# ---------------------------------------------------------------- the process that forks


def serve() -> None:
    """Take a job a line, fork for it, and tell its exit code."""
    _import_all()
    for line in sys.stdin:
        job = json.loads(line)
        Path(job["folder"], "calls").write_text("")
        pipes = {name: os.pipe() for name in ("out", "err")}
        child = os.fork()
        if child == 0:
            _run(job, [write for _, write in pipes.values()])  # raises SystemExit: it ends as any Python does
        for _, write in pipes.values():
            os.close(write)
        said = _listen(child, [read for read, _ in pipes.values()], job["fault"].get("after"))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for name, text in zip(pipes, said, strict=True):
            Path(job["folder"], name).write_bytes(text)
        print(code, flush=True)


def _listen(child: int, pipes: list[int], after: float | None) -> list[bytes]:
    """What a child says to its end, which comes after so many seconds at the latest."""
    until = None if after is None else time.monotonic() + after
    said = dict.fromkeys(pipes, b"")
    open_ = set(pipes)
    while open_:
        left = None if until is None else max(0.0, until - time.monotonic())
        ready, _, _ = select.select(list(open_), [], [], left)
        if not ready:
            os.kill(child, signal.SIGKILL)
            until = None
        for pipe in ready:
            if more := os.read(pipe, 1 << 16):
                said[pipe] += more
            else:
                open_.remove(pipe)
                os.close(pipe)
    return list(said.values())


def _import_all() -> None:
    names = (
        "firstbert.cli", "firstbert.train", "firstbert.check", "firstbert.job", "firstbert.predict", "firstbert.guide",
        "firstbert.export", "firstbert.tutorial", "firstbert.page", "firstbert.summary", "firstbert.compare",
        "firstbert.report", "firstbert.doctor", "firstbert.graph", "onnx", "tokenizers", "safetensors",
        "lmdb", "filelock", "rich.console", "rich.progress", "sklearn.linear_model", "scipy.sparse.linalg",
        "http.client", "firstbert.web", "firstbert.hub",
    )  # fmt: skip
    for name in names:
        importlib.import_module(name)


def _run(job: dict[str, Any], pipes: list[int]) -> None:
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    folder = Path(job["folder"])
    if "stdout" in job:
        pipes[0] = os.open(job["stdout"], os.O_WRONLY)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(pipes[0], 1)
    os.dup2(pipes[1], 2)
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = os.fdopen(1, "w", encoding=encoding)
    sys.stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace")  # as Python opens them
    os.chdir(job.get("cwd") or folder)
    from firstbert import __main__

    if code := job.get("python"):
        __main__._command = lambda arguments: exec(code, {"arguments": arguments})
    _break(job["fault"], folder)
    sys.argv = ["firstbert", *job["arguments"]]
    __main__.main()


def _break(fault: dict[str, Any], folder: Path) -> None:
    for name, value in fault.get("set", {}).items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)
    if "cores" in fault:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: fault["cores"]])
    if "clock" in fault:
        _misset(fault["clock"])
    if "largest" in fault:
        import resource

        most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault["largest"], most[1]))
        # What measures the tests writes its file when all is over.
        atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, most)
    if fault.get("bound"):
        bind()
    if "under" in fault:
        _watch(fault, folder)


def _misset(offsets: float | list[float]) -> None:
    """Put the clock wrong, for those too who took hold of it early."""
    from firstbert.store import VectorCache

    off = itertools.cycle(offsets if isinstance(offsets, list) else [offsets])
    real = time.time

    def wrong() -> float:
        return real() + next(off)

    time.time, time.time_ns = wrong, lambda: int(wrong() * 1e9)
    VectorCache.__init__.__defaults__ = (wrong,)


def bind() -> None:
    """Give up root's power to overlook file modes (CAP_CHOWN to CAP_FOWNER), for this process alone."""
    if os.geteuid():
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the third version of the call, this process
    none = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def _watch(fault: dict[str, Any], folder: Path) -> None:
    """Count the calls that change the file system, and have one of them go wrong."""
    under = tuple(fault["under"]) if isinstance(fault["under"], list) else (fault["under"],)
    at, do, on = fault.get("at", 0), fault.get("do"), fault.get("on", False)
    count, silent = 0, False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if silent or not _changes(event, arguments) or not _below(arguments[:2], under):
            return
        count += 1
        if count != at and not (on and 0 < at < count and event in _MAKES):
            return
        if do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if do is not None and (event in _MAKES or count == at):
            raise OSError(do, os.strerror(do), os.fspath(arguments[0]))

    def tell() -> None:
        nonlocal silent
        silent = True
        with contextlib.suppress(OSError):
            (folder / "calls").write_text(str(count))

    sys.addaudithook(hook)
    atexit.register(tell)


def _changes(event: str, arguments: Sequence[Any]) -> bool:
    return event in _CHANGES or (event == "open" and bool(arguments[2] & _WRITES))


def _below(arguments: Sequence[Any], under: tuple[str, ...]) -> bool:
    paths = [str(Path(os.fsdecode(a)).absolute()) for a in arguments if isinstance(a, str | bytes | os.PathLike)]
    return any(path.startswith(under) for path in paths)
