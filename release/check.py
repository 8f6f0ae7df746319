"""`make dist-check`: are two builds the same bytes, and is in them what should be, and nothing else?

Builds from two copies of the tree that differ in all that must not matter: folder, the files' dates and permissions,
umask, time zone, locale, hash seed, the clock; and once more from the unpacked sdist, which knows of no commit.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tarfile
import tempfile
import tomllib
import zipfile
from email.parser import Parser
from fnmatch import fnmatch
from pathlib import Path

from release import dist

PACKED = ("*.py", "*.css", "*.js", "*.html", "py.typed")  # the kinds of files that the package consists of
MUST = ("py.typed", "page.css", "page.js", "static/guide.html", "serve/app.py", "__main__.py")
PLAIN = {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"}
ODD = {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "4242", "HOME": "/nonexistent"}


# ---------------------------------------------------------------- the same bytes


def copy(root: Path, into: Path, *, odd: bool) -> Path:
    """Copy a tree's files, with dates and permissions of another machine where ``odd``."""
    for name in dist.files(root):
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)
        if odd:
            os.utime(target, (86400, 86400))
            target.chmod(0o600)
    return into


def built(tree: Path, into: Path, *kinds: str, umask: int, **environment: str) -> list[Path]:
    """Build under a umask."""
    before = os.umask(umask)
    try:
        return dist.build(tree, into, *kinds, **environment)
    finally:
        os.umask(before)


def unpacked(sdist: Path, into: Path) -> Path:
    """Unpack an sdist, dates included, and give its tree."""
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    return next(into.iterdir())


def differences(one: list[Path], other: list[Path]) -> list[str]:
    """Say which files differ, and in which members."""
    if [path.name for path in one] != [path.name for path in other]:
        return [f"built {[path.name for path in one]} and {[path.name for path in other]}"]
    pairs = zip(one, other, strict=True)
    return [f"{a.name}: {_where(a, b)}" for a, b in pairs if a.read_bytes() != b.read_bytes()]


def _where(one: Path, other: Path) -> str:
    a, b = members(one), members(other)
    names = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    return f"differs in {', '.join(names[:5])}" if names else "differs in dates, permissions, order or compression"


def members(path: Path) -> dict[str, bytes]:
    """Read a wheel's or an sdist's files; an sdist's without its top folder."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            found[member.name.partition("/")[2]] = stream.read() if stream else b""
    return found


# ---------------------------------------------------------------- what is in them


def wheel_findings(wheel: dict[str, bytes], root: Path) -> list[str]:
    """Say what a wheel has too much, too little or otherwise than the tree."""
    own = {name.removeprefix("src/") for name in dist.files(root) if name.startswith("src/firstbert/")}
    packed = {name for name in wheel if ".dist-info/" not in name}
    kinds = [name for name in sorted(packed) if not any(fnmatch(Path(name).name, kind) for kind in PACKED)]
    return [
        *(f"{name} is in the wheel and not in the tree" for name in sorted(packed - own)),
        *(f"{name} is in the tree and not in the wheel" for name in sorted(own - packed)),
        *(f"{name} is no kind of file that the package has" for name in kinds),
        *(f"firstbert/{name} is missing" for name in MUST if f"firstbert/{name}" not in packed),
        *(f"{name} differs from the tree" for name in sorted(packed & own)
          if wheel[name] != (root / "src" / name).read_bytes()),
        *record_findings(wheel),
        *metadata_findings(wheel, root),
    ]  # fmt: skip


def record_findings(wheel: dict[str, bytes]) -> list[str]:
    """Hold a wheel's files against the hashes that it lists."""
    name = next(name for name in wheel if name.endswith(".dist-info/RECORD"))
    listed = dict(line.split(",")[:2] for line in wheel[name].decode().splitlines())
    hashes = {member: "" if member == name else "sha256=" + _digest(content) for member, content in wheel.items()}
    return [] if listed == hashes else [f"{name} doesn't list the files as they are"]


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def metadata_findings(wheel: dict[str, bytes], root: Path) -> list[str]:
    """Hold a wheel's metadata against pyproject.toml."""
    folder = next(name for name in wheel if name.endswith("/METADATA")).removesuffix("METADATA")
    said = Parser().parsestr(wheel[folder + "METADATA"].decode())
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [need for need in said.get_all("Requires-Dist", []) if "extra ==" not in need]
    right = {
        "dependencies": sorted(map(_spaceless, needs)) == sorted(map(_spaceless, project["dependencies"])),
        "extras": set(said.get_all("Provides-Extra", [])) == set(project["optional-dependencies"]),
        "Python version": said["Requires-Python"] == project["requires-python"],
        "licence": said["License-Expression"] == project["license"] and folder + "licenses/LICENSE" in wheel,
        "command": b"firstbert = firstbert.__main__:main" in wheel[folder + "entry_points.txt"],
        "tag": b"Tag: py3-none-any" in wheel[folder + "WHEEL"],
    }
    return [f"the wheel's {what} is not that of pyproject.toml" for what, same in right.items() if not same]


def _spaceless(requirement: str) -> str:
    name = requirement.rstrip("<>=,.0123456789 ")
    return name + ",".join(sorted(requirement[len(name) :].replace(" ", "").split(",")))


def sdist_findings(sdist: dict[str, bytes], root: Path) -> list[str]:
    """Say what an sdist has too much, too little or otherwise than the tree."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    always = {"pyproject.toml", ".gitignore"}  # hatchling's own rule
    own = {
        name for name in dist.files(root)
        if name in always or any(name == path[1:] or name.startswith(path[1:] + "/") for path in wanted)
    }  # fmt: skip
    packed = {name for name in sdist if name != "PKG-INFO"}
    return [
        *(f"{name} is in the sdist and not in the tree" for name in sorted(packed - own)),
        *(f"{name} is in the tree and not in the sdist" for name in sorted(own - packed)),
        *(f"{name} differs from the tree" for name in sorted(packed & own)
          if sdist[name] != (root / name).read_bytes()),
    ]  # fmt: skip


def stray(root: Path, wanted: str = "src") -> list[str]:
    """Say what stands in a checkout's package without being part of it: a build would pack it."""
    found = dist.git(root, "ls-files", "--others", "--exclude-standard", wanted) or ""
    return [f"{name} is not committed (git add it, or remove it)" for name in found.splitlines()]


# ---------------------------------------------------------------- all of it


def check(root: Path, work: Path) -> list[str]:
    """Build three times; return all that is not as it should be."""
    date = str(dist.epoch(root))
    first = built(copy(root, work / "a", odd=False), work / "one", umask=0o022, SOURCE_DATE_EPOCH=date, **PLAIN)
    tree = copy(root, work / "elsewhere" / "b c", odd=True)
    # The wheel from the tree, not by way of the sdist: where these are equal, so is what an sdist's wheel has.
    second = built(tree, work / "two", "--wheel", "--sdist", umask=0o077, SOURCE_DATE_EPOCH=date, **ODD)
    wheel, sdist = sorted(first, key=lambda path: path.suffix != ".whl")
    again = unpacked(sdist, work / "unpacked")
    third = built(again, work / "three", umask=0o022, SOURCE_DATE_EPOCH=str(dist.packed_epoch(again)), **PLAIN)
    for path in first:
        print(f"{dist.sha256(path)}  {path.name} ({len(members(path))} files, {path.stat().st_size:,} bytes)")
    return [
        *stray(root),
        *(f"Two builds: {line}" for line in differences(first, second)),
        *(f"The sdist's build: {line}" for line in differences(first, third)),
        *wheel_findings(members(wheel), root),
        *sdist_findings(members(sdist), root),
    ]


def main() -> None:
    """Check this tree; exit with 1 where something is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        found = check(dist.ROOT, Path(folder))
    if found:
        raise SystemExit("\n".join(found))
    print("Three builds, the same bytes; their contents are the tree's.")


if __name__ == "__main__":
    main()
