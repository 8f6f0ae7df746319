"""Files fetched from mirrors on this machine: a web server that misbehaves, a hub, a folder of packages."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from firstbert import hub, mirrors, packages, sources
from firstbert.errors import SourceError
from firstbert.sources import HubFile, PackageFile, PinnedFile, WebFile, fetch, fetch_all, find, sha256_of

CONTENT = bytes(range(256)) * 8000  # 2 MB
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files` by path; the other attributes are its vices."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, range
        self.cuts: list[int] = []  # cut the next answers after so many bytes
        self.ranges = True
        self.pause_s = 0.0  # after every 64 kB
        self.error: tuple[int, str] | None = None  # a status and the hub's own code for the reason

    def handle_error(self, request: object, client_address: object) -> None: ...

    def gets(self) -> list[str | None]:
        return [span for method, _, span in self.asked if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(None)

    def _answer(self, body: bytes | None) -> None:
        server, span = self.server, self.headers["Range"]
        if not self.path.startswith("/api/"):  # what the hub library asks once per process for its own sake
            server.asked.append((self.command, self.path, span))
        content = server.files.get(self.path)
        if server.error or content is None:
            status, code = server.error or (404, "EntryNotFound")
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(span[6:-1]) if span and server.ranges else 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{digest(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        stop = start + server.cuts.pop(0) if body is None and server.cuts else len(content)
        for at in range(start, stop if body is None else start, 1 << 16):
            self.wfile.write(content[at : min(at + (1 << 16), stop)])
            time.sleep(server.pause_s)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, an empty hub cache, no switch set, no host known to be silent."""
    from huggingface_hub import constants

    for name in ("FIRSTBERT_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))  # here
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))  # and in processes started here
    monkeypatch.setattr(mirrors, "_silent", {})
    return tmp_path / "cache"


def pinned(server: Server, content: bytes = CONTENT, **options: object) -> PinnedFile:
    server.files["/data.bin"] = content
    return PinnedFile("data.bin", digest(CONTENT), (WebFile(f"{server.url}/data.bin"),), **options)  # type: ignore[arg-type]


def leftovers(cache: Path) -> list[Path]:
    return [path for path in (cache / "partial").rglob("*") if path.is_file()]


# ---- the web ---------------------------------------------------------------------------------------------


def test_a_file_is_fetched_once_and_lies_where_its_hash_says(server: Server, cache: Path) -> None:
    file = pinned(server)
    path = fetch(file)
    assert path == cache / "files" / digest(CONTENT) / "data.bin"
    assert path.read_bytes() == CONTENT
    assert fetch(file) == path
    assert len(server.asked) == 1
    assert leftovers(cache) == []


def test_a_cut_connection_is_taken_up_where_it_broke(server: Server) -> None:
    server.cuts = [500_000, 700_000]
    assert fetch(pinned(server)).read_bytes() == CONTENT
    assert server.gets() == [None, "bytes=500000-", "bytes=1200000-"]


def test_a_host_that_always_cuts_is_given_up(server: Server, cache: Path) -> None:
    server.cuts = [500_000] * 9
    server.ranges = False
    with pytest.raises(SourceError, match="cut after 500,000 of 2,048,000 bytes"):
        fetch(pinned(server))
    assert len(server.asked) == 2
    assert not (cache / "files").exists()


def test_a_wrong_file_is_refused_and_nothing_of_it_stays(server: Server, cache: Path) -> None:
    with pytest.raises(SourceError, match=digest(b"another")):
        fetch(pinned(server, b"another"))
    assert leftovers(cache) == []
    assert not (cache / "files").exists()


def test_a_damaged_remainder_is_thrown_away_once(server: Server, cache: Path) -> None:
    file = pinned(server)
    part = cache / "partial" / digest(CONTENT) / "data.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert fetch(file).read_bytes() == CONTENT
    assert server.gets() == ["bytes=1000-", None]


def test_a_remainder_that_was_complete_is_used(server: Server, cache: Path) -> None:
    file = pinned(server)
    part = cache / "partial" / digest(CONTENT) / "data.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert fetch(file).read_bytes() == CONTENT
    assert server.gets() == [f"bytes={len(CONTENT)}-"]


def test_a_longer_file_than_pinned_is_refused(server: Server) -> None:
    with pytest.raises(SourceError, match="longer than the 1,000 bytes"):
        fetch(pinned(server, size=1000))


def test_mirrors_are_tried_in_order_and_each_reason_is_told(server: Server) -> None:
    gone = WebFile(f"{server.url}/gone")
    file = PinnedFile("data.bin", digest(CONTENT), (gone, WebFile(f"{server.url}/data.bin")))
    with pytest.raises(SourceError) as caught:
        fetch(file)
    assert f"1. {gone.url}: answered 404" in str(caught.value)
    assert f"2. {server.url}/data.bin: answered 404" in str(caught.value)
    assert f"put the file by hand at {sources.cache_folder()}" in str(caught.value)
    server.files["/data.bin"] = CONTENT
    assert fetch(file).read_bytes() == CONTENT


def test_only_https_and_this_machine() -> None:
    for url in ("http://example.org/x", "ftp://example.org/x", "file:///etc/passwd"):
        with pytest.raises(ValueError, match="https"):
            WebFile(url)


def test_a_file_without_a_hash_is_for_the_hub_alone() -> None:
    with pytest.raises(ValueError, match="only a file of the hub"):
        PinnedFile("x", None, (HubFile("a/b", "x"), WebFile("https://example.org/x")))


# ---- killed, at once, tampered with ----------------------------------------------------------------------


def start(file: PinnedFile) -> subprocess.Popen[str]:
    code = f"""
        from firstbert.sources import *
        print(fetch({file!r}))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_killed_download_leaves_nothing_trusted_and_goes_on(server: Server, cache: Path) -> None:
    file = pinned(server)
    server.pause_s = 0.1
    part = cache / "partial" / digest(CONTENT) / "data.bin.part"
    with start(file) as process:
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    held = part.stat().st_size
    assert 0 < held < len(CONTENT)
    assert not (cache / "files").exists()
    server.pause_s = 0
    assert fetch(file).read_bytes() == CONTENT
    assert server.gets()[-1] == f"bytes={held}-"


def test_two_processes_at_once_download_once(server: Server, cache: Path) -> None:
    file = pinned(server)
    server.pause_s = 0.1
    with start(file) as one, start(file) as two:
        paths = {one.communicate()[0].strip(), two.communicate()[0].strip()}
    assert paths == {str(cache / "files" / digest(CONTENT) / "data.bin")}
    assert len(server.gets()) == 1


@pytest.mark.parametrize("damage", [CONTENT[:-1], b"y" + CONTENT[1:]])
def test_a_damaged_file_in_place_is_fetched_again(server: Server, damage: bytes) -> None:
    file = pinned(server)
    path = fetch(file)
    age(path)
    assert fetch(file) == path  # its hash is now remembered
    path.write_bytes(damage)
    assert fetch(file).read_bytes() == CONTENT
    assert len(server.asked) == 2


def age(path: Path) -> None:
    os.utime(path, (1e9, 1e9))


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    reads: list[int] = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *args: reads.append(1) or real(*args))  # type: ignore[func-returns-value]
    return reads


def test_a_large_settled_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large"
    path.write_bytes(CONTENT)
    reads = count_reads(monkeypatch)
    assert sha256_of(path) == sha256_of(path) == digest(CONTENT)
    assert len(reads) == 2  # changed a moment ago: not remembered
    age(path)
    assert sha256_of(path) == sha256_of(path) == digest(CONTENT)
    assert len(reads) == 3
    path.write_bytes(b"z" + CONTENT[1:])  # same length, and the same time again
    age(path)
    assert sha256_of(path) == digest(b"z" + CONTENT[1:])


def test_a_damaged_memo_costs_only_time(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(CONTENT)
    age(path)
    sha256_of(path)
    for memo in (cache / "hashes").iterdir():
        memo.write_bytes(b"\xff\x00 no hash")
    assert sha256_of(path) == digest(CONTENT)


def test_a_cache_folder_that_cant_be_used_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SourceError, match=r"file/cache can't be used.*FIRSTBERT_CACHE"):
        fetch(pinned(server))


def test_the_cache_folder_follows_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIRSTBERT_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sources.cache_folder() == tmp_path / "firstbert"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert sources.cache_folder() == tmp_path / "local" / "firstbert"


# ---- offline ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", ["FIRSTBERT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody_and_says_why(server: Server, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    file = pinned(server)
    monkeypatch.setenv(switch, "yes")
    assert sources.offline()
    with pytest.raises(SourceError, match=f"{switch}=yes forbids.*Looked at: .*{digest(CONTENT)}"):
        fetch(file)
    assert server.asked == []
    monkeypatch.setenv(switch, "0")
    path = fetch(file)
    monkeypatch.setenv(switch, "1")
    assert fetch(file) == path


# ---- the hub ---------------------------------------------------------------------------------------------


def hub_file(server: Server, monkeypatch: pytest.MonkeyPatch, revision: str = "main") -> HubFile:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.files[f"/org/model/resolve/{revision}/data.bin"] = CONTENT
    return HubFile("org/model", "data.bin", revision)


def test_a_file_of_the_hub_lies_in_the_hubs_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = PinnedFile("data.bin", digest(CONTENT), (hub_file(server, monkeypatch),))
    path = fetch(file)
    assert path.is_relative_to(tmp_path / "hub")
    assert path.read_bytes() == CONTENT
    asked = len(server.asked)
    monkeypatch.setenv("FIRSTBERT_OFFLINE", "1")
    assert fetch(file) == path
    assert len(server.asked) == asked


def test_a_damaged_file_in_the_hubs_cache_is_fetched_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    file = PinnedFile("data.bin", digest(CONTENT), (hub_file(server, monkeypatch, COMMIT),))
    fetch(file).write_bytes(b"damaged")
    assert fetch(file).read_bytes() == CONTENT


def test_the_hub_librarys_own_notes_stay_off_the_screen(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = PinnedFile("data.bin", digest(CONTENT), (hub_file(server, monkeypatch),))
    server.cuts = [500_000]  # that library warns of it and goes on
    with start(file) as process:
        out, err = process.communicate()
    assert out.startswith(str(tmp_path / "hub"))
    assert err == ""
    assert len(server.gets()) == 2


def test_a_hub_that_moved_on_is_not_downloaded_from(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    file = PinnedFile("data.bin", digest(b"older"), (hub_file(server, monkeypatch),))
    with pytest.raises(SourceError, match="another file there"):
        fetch(file)
    assert server.gets() == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ((401, "RepoNotFound"), "no public model is called org/model.*HF_TOKEN"),
        ((403, "GatedRepo"), "org/model is gated.*HF_TOKEN"),
        ((404, "RevisionNotFound"), "org/model has no revision main"),
        ((503, ""), "the hub answered 503"),
    ],
)
def test_a_refusal_of_the_hub_is_told_as_such(
    server: Server, monkeypatch: pytest.MonkeyPatch, error: tuple[int, str], told: str
) -> None:
    file = PinnedFile("data.bin", None, (hub_file(server, monkeypatch),))
    server.error = error
    with pytest.raises(SourceError, match=told):
        find(file)
    assert len(server.asked) == 1  # no second try, no wait


def test_find_returns_none_only_for_what_isnt_there(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_file(server, monkeypatch)
    assert find(PinnedFile("other", None, (HubFile("org/model", "other"),))) is None
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    with pytest.raises(SourceError, match="no answer from"):
        find(PinnedFile("other", None, (HubFile("org/model", "other"),)))


def test_an_impossible_hub_id_is_a_reason_like_others() -> None:
    with pytest.raises(SourceError, match="Repo id"):
        fetch(PinnedFile("x", None, (HubFile("a//b", "x"),)))


@pytest.mark.parametrize("kind", ["refused", "silent"])
def test_an_unreachable_hub_costs_seconds_once(
    kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "ANSWER_S", 1.0)
    monkeypatch.setattr(mirrors, "ANSWER_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as hole:  # accepts, and says nothing
        where = NOWHERE if kind == "refused" else f"http://127.0.0.1:{hole.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", where)
        began = time.monotonic()
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            with pytest.raises(SourceError, match=f"no answer from {where}"):
                fetch(PinnedFile(name, None, (HubFile("org/model", name),)))
        assert time.monotonic() - began < 3
    assert capfd.readouterr() == ("", "")


def test_a_name_server_that_never_answers_costs_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "ANSWER_S", 0.1)
    answered = threading.Event()
    began = time.monotonic()
    with pytest.raises(mirrors.MirrorError, match="silent"):
        mirrors.ask("host", lambda: answered.wait(30))
    assert time.monotonic() - began < 5
    answered.set()


# ---- packages --------------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that pip takes for its index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(index: Path, name: str, members: dict[str, bytes]) -> Path:
    path = index / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def zipped(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def packed(content: bytes, *members: str, requirements: tuple[str, ...] = ("fb-one==1.0",)) -> PinnedFile:
    return PinnedFile("data.bin", digest(content), (PackageFile(requirements, members),))


def test_a_member_of_a_package_by_pip(index: Path, cache: Path) -> None:
    wheel(index, "fb_one", {"fb_one/a.bin": b"a" * 5000, "fb_one/b.bin": b"b" * 5000})
    files = [packed(b"a" * 5000, "fb_one/a.bin"), packed(b"b" * 5000, "fb_one/b.bin")]
    calls: list[object] = []
    real = packages._run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packages, "_run", lambda *args: calls.append(args) or real(*args))  # type: ignore[func-returns-value]
        assert [path.read_bytes()[:1] for path in fetch_all(files)] == [b"a", b"b"]
    assert len(calls) == 1  # one package, one download
    assert leftovers(cache) == []


def test_a_package_in_parts_goes_on_at_the_part_it_was_at(index: Path, cache: Path) -> None:
    whole = zipped("model/data.bin", CONTENT)
    names = ("fb_p1", "fb_p2", "fb_p3")
    cuts = [whole[:1_000_000], whole[1_000_000:1_500_000], whole[1_500_000:]]
    for name, cut in zip(names[:2], cuts[:2], strict=True):
        wheel(index, name, {f"{name}/whole.zip.00{name[-1]}": cut})
    requirements = tuple(f"{name.replace('_', '-')}==1.0" for name in names)
    file = packed(CONTENT, "fb_p*/whole.zip.*", "model/data.bin", requirements=requirements)
    with pytest.raises(SourceError, match="No matching distribution found for fb-p3"):
        fetch(file)
    for name in names[:2]:
        (index / f"{name}-1.0-py3-none-any.whl").unlink()
    wheel(index, names[2], {f"{names[2]}/whole.zip.003": cuts[2]})
    assert fetch(file).read_bytes() == CONTENT  # though the first two can't be downloaded any more
    assert leftovers(cache) == []


def test_what_a_kill_left_of_a_package_is_not_trusted(index: Path, cache: Path) -> None:
    wheel(index, "fb_one", {"fb_one/data.bin": CONTENT})
    file = packed(CONTENT, "fb_one/data.bin")
    folder = sources._package_folder(file.mirrors[0])  # type: ignore[arg-type]
    (folder / "pip-dead" / "out").mkdir(parents=True)
    (folder / "pip-dead" / "out" / "half.whl").write_bytes(b"PK half")
    (folder / "archive").write_bytes(b"PK\x03\x04 damaged")
    assert fetch(file).read_bytes() == CONTENT
    assert leftovers(cache) == []


def test_a_pip_that_gives_up_is_quoted(index: Path) -> None:
    with pytest.raises(SourceError, match=r"package fb-one==1\.0, by pip: ERROR: No matching distribution"):
        fetch(packed(CONTENT, "x"))


def test_a_python_without_pip_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\necho 'python: No module named pip' >&2\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stub))
    with pytest.raises(SourceError, match=r"has no pip; .* -m ensurepip"):
        fetch(packed(CONTENT, "x"))


@pytest.mark.parametrize(
    ("content", "members", "told"),
    [
        (zipped("a", CONTENT), ("b",), "no members called b"),
        (zipped("a", CONTENT)[:-30], ("a",), "damaged archive"),
        (tarred("a", CONTENT)[:-3000], ("a",), "damaged archive"),
        (b"neither zip nor tar", ("a",), "damaged archive"),
        (zipped("a", b"x" * 100_001), ("a",), "longer than the 100,000"),
    ],
)
def test_an_archive_that_cant_be_used(tmp_path: Path, content: bytes, members: tuple[str, ...], told: str) -> None:
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(mirrors.MirrorError, match=told):
        packages.extract(tmp_path / "archive", members, tmp_path / "out", cap=100_000)


def test_an_archive_in_an_archive(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(zipped("p-1/in.tar.gz", tarred("d/data.bin", CONTENT)))
    packages.extract(tmp_path / "archive", ("*/in.tar.gz", "d/data.bin"), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_a_link_in_a_tar_is_no_file(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "archive", "w") as archive:
        entry = tarfile.TarInfo("a")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(mirrors.MirrorError, match="no members called a"):
        packages.extract(tmp_path / "archive", ("a",), tmp_path / "out")


def test_a_source_archive_needs_its_hash() -> None:
    with pytest.raises(ValueError, match="--hash"):
        PackageFile(("a==1",), ("x",), "sdist")


def test_importing_brings_no_hub_library() -> None:
    code = "import sys, firstbert.sources, firstbert.catalog; sys.exit('huggingface_hub' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
