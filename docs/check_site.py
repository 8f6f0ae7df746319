"""Whether a site is whole and needs nothing but itself: `python docs/check_site.py FOLDER`. `make docs` runs it.

What a browser loads by itself (scripts, styles, images, fonts, frames) must lie in the folder, and so must every page
that is linked to. Links to other sites are the reader's to follow.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"src", "srcset", "poster", "data", "background"}
LINKED = {"href", "action", "xlink:href"}
STYLE = re.compile(r"url\(\s*['\"]?(.*?)['\"]?\s*\)|@import\s+['\"](.*?)['\"]", re.S)
CALLS = re.compile(r"""(?:fetch|import|importScripts|open)\(\s*["'`]((?:https?:)?//[^"'`]+)""")


class _Page(HTMLParser):
    """What a page loads and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        for name, value in attrs:
            if name == "style":
                self.loads += styled(value or "")
            elif name == "srcset":
                self.loads += [part.split()[0] for part in (value or "").split(",")]
            elif name in LOADED or (tag, name) in {("link", "href"), ("image", "href"), ("use", "href")}:
                self.loads.append(value or "")
            elif name in LINKED:
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        if self.inside == "style":
            self.loads += styled(data)
        elif self.inside == "script":
            self.loads += CALLS.findall(data)


def styled(text: str) -> list[str]:
    """Return what a style sheet loads."""
    return [a or b for a, b in STYLE.findall(text)]


def faults(folder: Path) -> list[str]:
    """Return what is wrong with a site, a line each."""
    found = []
    for path in sorted(folder.rglob("*")):
        loads, links = _of(path)
        found += [f"{path}: loads {it}" for it in loads if _elsewhere(it) or _missing(folder, path, it)]
        found += [f"{path}: links to {it}, which isn't there" for it in links if _missing(folder, path, it)]
    return found


def _of(path: Path) -> tuple[list[str], list[str]]:
    if path.suffix == ".html":
        page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
        return page.loads, page.links
    if path.suffix == ".css":
        return styled(path.read_text(encoding="utf-8")), []
    if path.suffix == ".js":
        return CALLS.findall(path.read_text(encoding="utf-8")), []
    return [], []


def _elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in {"", "data"}


def _missing(folder: Path, path: Path, address: str) -> bool:
    """Whether an address within the site leads nowhere."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or not parts.path:
        return False
    target = (path.parent / unquote(parts.path)).resolve()
    return not (target.is_relative_to(folder.resolve()) and target.exists())


if __name__ == "__main__":
    site = Path(sys.argv[1])
    if not (site / "index.html").is_file():
        sys.exit(f"{site}: holds no index.html; make the site first.")
    if wrong := faults(site):
        sys.exit("\n".join(wrong))
