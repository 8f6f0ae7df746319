"""The site needs nothing but itself: what `make docs` asks of its pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from test_docs import ROOT, script


def faults(folder: Path, **files: str) -> list[str]:
    folder.mkdir()
    for name, text in {"index.html": "", "style.css": "", **files}.items():
        (folder / name).write_text(text)
    return list(script(ROOT / "docs" / "check_site.py").faults(folder))


def test_a_site_that_is_whole(tmp_path: Path) -> None:
    page = (
        '<link rel="stylesheet" href="style.css?v=1"><a href="#top">top</a><a href="https://example.org/">elsewhere</a>'
        '<a href="mailto:a@example.org">write</a><img src="data:image/gif;base64,AA"><script>1 + 1</script>'
    )
    assert (
        faults(
            tmp_path / "site", **{"index.html": page, "style.css": "a { background: url(data:image/gif;base64,AA) }"}
        )
        == []
    )


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://example.org/x.js"></script>',
        '<script src="//example.org/x.js"></script>',
        '<link rel="stylesheet" href="https://example.org/x.css">',
        '<link rel="preconnect" href="https://example.org">',
        '<img src="http://example.org/x.png">',
        '<img srcset="style.css 1x, https://example.org/x.png 2x">',
        '<p style="background: url(https://example.org/x.png)">',
        "<style>@import 'https://example.org/x.css';</style>",
        "<style>@font-face { src: url('https://example.org/x.woff2') }</style>",
        "<script>fetch('https://example.org/x')</script>",
        '<iframe src="https://example.org/"></iframe>',
        '<img src="nowhere.png">',
        '<a href="nowhere.html">nowhere</a>',
        '<a href="../outside.html">outside</a>',
    ],
)
def test_what_a_page_must_not_do(page: str, tmp_path: Path) -> None:
    (tmp_path / "outside.html").touch()
    found = faults(tmp_path / "site", **{"index.html": page})
    assert len(found) == 1 and "index.html" in found[0]


def test_a_style_sheet_must_not_load_from_elsewhere(tmp_path: Path) -> None:
    style = "@import url(https://example.org/a.css); a { background: url('b.png') }"
    assert len(faults(tmp_path / "site", **{"style.css": style})) == 2
