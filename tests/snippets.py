"""The commands and the Python of the documents: found, told apart, and run, in a folder with small files of our own."""

from __future__ import annotations

import csv
import doctest
import gzip
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import everyday
from conftest import clean
from firstbert import SentenceClassifier
from sentences import sentences

ROOT = Path(__file__).parent.parent
PAGES = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
    if not {"_build", "node_modules"} & set(path.parts)
]
SHELL, OTHER = ("sh", "bash", "console"), ("text", "json", "{toctree}", "{eval-rst}")
_FENCE = re.compile(r"^ *```([^\n`]*)\n(.*?)^ *```$", re.M | re.S)
_CHECKER = doctest.OutputChecker()
_LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_PORT = re.compile(r"(?<=localhost:)8000|(?<=127\.0\.0\.1:)8000")
TIMEOUT_S = 300


@dataclass(frozen=True)
class Snippet:
    """One fenced block: its page, the line of its first line, its language, its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line: how lists name it."""
        return self.text.splitlines()[0]


@dataclass(frozen=True)
class Command:
    """One command, and what the page says that it prints, `...` for anything; None: it says nothing."""

    page: str
    line: int
    text: str
    shown: str | None = None

    @property
    def first(self) -> str:
        """Its first line without the comment, spaces made one: how lists name it."""
        return " ".join(re.sub(r"\s#.*", "", self.text.splitlines()[0]).split())


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def snippets(path: Path, text: str | None = None) -> list[Snippet]:
    """Return the blocks of a page; a language that nobody knows is an error, since it would hide what isn't run."""
    text = path.read_text(encoding="utf-8") if text is None else text
    found = []
    for match in _FENCE.finditer(text):
        language, line = match[1].strip(), text[: match.start(2)].count("\n") + 1
        assert language in (*SHELL, *OTHER, "python"), f"{path}:{line}: what language is {language!r}?"
        found.append(Snippet(name_of(path) if path.is_relative_to(ROOT) else path.name, line, language, match[2]))
    return found


def commands(snippet: Snippet) -> Iterator[Command]:
    """Yield a block's commands. In `console`, `$ ` begins one and what follows is what it prints."""
    lines = snippet.text.splitlines()
    at = 0
    while at < len(lines):
        begin, console = at, snippet.language == "console"
        if not lines[at].strip() or (not console and lines[at].startswith("#")):
            at += 1
            continue
        assert not console or lines[at].startswith("$ "), f"{snippet.page}:{snippet.line + at}: printed by nothing"
        text, at = lines[at].removeprefix("$ ") if console else lines[at], at + 1
        while not _whole(text):
            assert at < len(lines), f"{snippet.page}:{snippet.line + begin}: a command without an end"
            text, at = f"{text}\n{lines[at].removeprefix('> ') if console else lines[at]}", at + 1
        shown = []
        while console and at < len(lines) and not lines[at].startswith("$ "):
            shown.append(lines[at])
            at += 1
        yield Command(snippet.page, snippet.line + begin, text, "\n".join(shown) if console else None)


def _whole(text: str) -> bool:
    """Whether bash has all of a command: no quote, here-document or continuation is open."""
    if text.endswith("\\"):
        return False
    asked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return not asked.stderr


def arguments(command: Command, program: str) -> list[list[str]]:
    """Return the arguments of each call of a program in a command."""
    calls: list[list[str]] = []
    taken: list[str] | None = None
    for word in shlex.split(command.text, comments=True):
        if word == program:
            calls.append(taken := [])
        elif word in {"|", ">", "&&", ";"}:
            taken = None
        elif taken is not None:
            taken.append(word)
    return calls


# ---------------------------------------------------------------- files


def files(folder: Path) -> Path:
    """Fill a folder with what the pages speak of: labelled rows, rows without labels, a model and its copies."""
    texts, _, kind = sentences(900)
    rated = [(text, "good" if is_kind else "bad") for text, is_kind in zip(texts, kind, strict=True)]
    topics = everyday.topics(400, seed=3)
    for name, rows in {"reviews": rated[:60], "dev": rated[60:90], "test": rated[90:140], "letters": rated}.items():
        everyday.write(folder / f"{name}.tsv", rows)
    wrong = [(text, {"good": "bad", "bad": "good"}[label]) for text, label in rated[:4]]
    everyday.write(folder / "doubtful.tsv", wrong + rated[4:120])
    channels = ("mail", "phone")
    tickets = [(i, text, topic, channels[i % 2]) for i, (text, topic) in enumerate(topics[:100])]
    _csv(folder / "tickets.csv", ("id", "text", "intent", "channel"), tickets)
    plain = list(enumerate(text for text, _ in topics))
    _csv(folder / "big.csv", ("id", "text"), plain)
    _csv(folder / "new.csv", ("id", "text"), plain[:20])
    for part in ("archive", "more"):
        (folder / part).mkdir()
    _csv(folder / "archive" / "january.csv", ("id", "text"), plain[:30])
    with gzip.open(folder / "more" / "february.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": i, "text": text}) + "\n" for i, text in plain[30:60])
    remarks = [{"text": text, "labels": labels.split("|")} for text, labels in everyday.several(60, seed=5)]
    (folder / "remarks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in remarks), encoding="utf-8")
    (folder / "more.txt").write_text("\n".join(text for text, _ in topics[:50]) + "\n", encoding="utf-8")
    (folder / "keys.txt").write_text("a-long-key-of-your-own\n", encoding="utf-8")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("node_modules"))
    model = SentenceClassifier("minilm").fit(*zip(*rated[:60], strict=True))
    for name in ("model", "model-a", "model-b"):
        model.save(folder / name)
    many = SentenceClassifier("minilm").fit([row["text"] for row in remarks], [row["labels"] for row in remarks])
    many.save(folder / "many")
    return folder


def _csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


# ---------------------------------------------------------------- running


class Page:
    """One page's snippets, run one after the other: a folder, a namespace, at most one server at a time."""

    def __init__(self, folder: Path, beside: Path) -> None:
        self.folder = self.place = folder
        self.namespace: dict[str, Any] = {"__name__": "snippet"}
        self.server: subprocess.Popen[bytes] | None = None
        self.port = 8000
        self.where, self.log = beside / "where", beside / "server.log"
        programs = beside / "bin"
        programs.mkdir()
        for name, call in {"firstbert": "-m firstbert", "python": ""}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n')
            (programs / name).chmod(0o755)
        (beside / ".curlrc").write_text("fail\n")  # an answer that says no is a failure
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        self.environment = clean(dict(os.environ)) | {
            "PATH": path,
            "CURL_HOME": str(beside),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

    def python(self, snippet: Snippet) -> None:
        """Run a block of Python as if it stood below the page's others."""
        code = "\n" * (snippet.line - 1) + self._here(snippet.text)
        exec(compile(code, snippet.page, "exec"), self.namespace)

    def command(self, command: Command) -> None:
        """Run a command; it must end well, and print what the page shows."""
        text = self._here(command.text)
        if any(given[:1] == ["serve"] for given in arguments(command, "firstbert")):
            self._serve(text)
            return
        shell = ["bash", "-euo", "pipefail", "-c", f'{text}\npwd > "{self.where}"']
        ran = subprocess.run(
            shell, cwd=self.place, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        told = f"{command.page}:{command.line}: {command.text}\n{ran.stdout}"
        assert ran.returncode == 0, f"exit code {ran.returncode}: {told}"
        if command.shown is not None:
            assert _CHECKER.check_output(command.shown + "\n", ran.stdout, _LOOSE), f"shown:\n{command.shown}\n{told}"
        self.place = Path(self.where.read_text().strip())

    def _here(self, text: str) -> str:
        """The page's own port is taken by whom it is taken; ours is free."""
        return _PORT.sub(str(self.port), text)

    def _serve(self, text: str) -> None:
        self.end()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with self.log.open("wb") as log:
            shell = ["bash", "-c", f"exec {re.sub('#.*', '', text)} --port {self.port}"]
            self.server = subprocess.Popen(shell, cwd=self.place, env=self.environment, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while not self._ready():
            if self.server.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"{text}\n{self.log.read_text()}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def end(self) -> None:
        """Stop the server, if one runs."""
        if self.server is not None:
            self.server.terminate()
            assert self.server.wait(30) == 0, self.log.read_text()
            self.server = None
