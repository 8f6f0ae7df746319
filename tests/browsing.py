"""A real browser for the tests of pages: Debian's chromium, or any other on the path, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

NEEDED = os.environ.get("FIRSTBERT_BROWSER") == "1"  # read before the tests' environment is cleaned
DESKTOP, PHONE, SMALL = (1280, 900), (375, 812), (360, 640)
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

# The contrast of all text with what lies behind it, as WCAG 2 defines it; a canvas reads any notation of colours.
CONTRASTS = """() => {
  const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (colour) => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c[3] === 255) return c;
    }
  };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || e.closest("script, style, .heat .none, .unseen") || !e.getClientRects().length) continue;
    const ink = light(rgb(getComputedStyle(e)[e.closest("svg") ? "fill" : "color"])), under = light(behind(e));
    const contrast = (Math.max(ink, under) + 0.05) / (Math.min(ink, under) + 0.05);
    found.push([contrast, e.tagName + "." + e.className, e.textContent]);
  }
  return found;
}"""


def figures(page: Any) -> dict[str, list[float]]:
    """The numbers that a guide shows, by what they are called in its trace."""
    found: dict[str, list[float]] = {}
    for name, value in page.evaluate("[...document.querySelectorAll('data')].map((e) => [e.dataset.figure, e.value])"):
        found.setdefault(name, []).append(float(value))
    return found


def serious(page: Any) -> list[str]:
    """What axe-core finds on a page that is serious or critical, as its rule and where it is broken."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response
    assert len(found["passes"]) > 10
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        (pytest.fail if NEEDED else pytest.skip)("no Chromium on the path: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def look_at(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page; at the end of the test nothing but its own address may have been asked for, and nothing logged."""
    contexts, noise = [], []

    def opened(address: str, size: tuple[int, int] = DESKTOP, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        origin = address.split("?", maxsplit=1)[0]
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("dialog", lambda dialog: (noise.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(origin) or noise.append(request.url))
        page.noise = noise
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert noise == []
