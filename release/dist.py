"""`make dist`: the tree → a wheel and an sdist in dist/, the same bytes wherever and whenever it is built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
UNDATED = 1580601600  # 2020-02-02, what hatchling takes too: a tree with neither commits nor an sdist's PKG-INFO
LEFT_OUT = {"__pycache__", "node_modules", "dist", "build", "site"}


def git(root: Path, *words: str) -> str | None:
    """Return what git says about a tree, or None where the tree is no checkout of its own."""
    if not (root / ".git").exists():
        return None
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout


def epoch(root: Path) -> int:
    """Return the date that every packed file gets, in seconds: see docs/release.md for the rule."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    committed = git(root, "log", "-1", "--format=%ct")
    if committed:
        return int(committed)
    return packed_epoch(root)


def packed_epoch(root: Path) -> int:
    """Return the date of a tree without commits: that of its sdist, or a fixed one."""
    packed = root / "PKG-INFO"
    return int(packed.stat().st_mtime) if packed.exists() else UNDATED


def files(root: Path) -> list[str]:
    """List a tree's own files: what git knows, or, in an unpacked sdist, all but what was made since."""
    known = git(root, "ls-files", "-z", "--cached")
    if known is not None:
        return sorted(name for name in known.split("\0") if name and (root / name).is_file())
    return sorted(_walked(root, root))


def _walked(root: Path, folder: Path) -> Iterator[str]:
    for entry in folder.iterdir():
        made = entry.name in LEFT_OUT or entry.name.startswith(".venv") or entry.name.endswith((".pyc", "_cache"))
        if entry.is_dir() and not made:
            yield from _walked(root, entry)
        elif entry.is_file() and not made:
            yield entry.relative_to(root).as_posix()


def build(root: Path, into: Path, *kinds: str, **environment: str) -> list[Path]:
    """Build an sdist and, from it, a wheel (or the ``kinds`` alone, from the tree); return the files."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, *kinds, str(root)]
        surroundings = os.environ | {"SOURCE_DATE_EPOCH": str(epoch(root))} | environment
        done = subprocess.run(command, check=False, env=surroundings, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{done.stdout}{done.stderr}\nThe build of {root} failed.")
        return [Path(shutil.move(made, into / made.name)) for made in sorted(Path(folder).iterdir())]


def sha256(path: Path) -> str:
    """Return a file's hash in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Build into dist/, alone there, with the list of hashes that `sha256sum -c` reads."""
    into = ROOT / "dist"
    for old in into.glob("firstbert-*"):
        old.unlink()
    made = build(ROOT, into)
    sums = "".join(f"{sha256(path)}  {path.name}\n" for path in made)
    (into / "SHA256SUMS").write_text(sums)
    print(sums, end="")
    if git(ROOT, "status", "--porcelain"):
        print("The tree has changes that are not committed: nobody else can build these bytes.", file=sys.stderr)


if __name__ == "__main__":
    main()
