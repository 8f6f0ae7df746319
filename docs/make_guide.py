"""Draw docs/guide.png: `python docs/make_guide.py MODEL`, with Playwright and Chromium at hand."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from firstbert.artifact import load
from firstbert.explain import Explainer
from firstbert.guide import write

PICTURE = Path(__file__).with_name("guide.png")
TEXT = "A warm, clever film that made me laugh out loud."
WIDTH, HEIGHT = 1180, 2050  # down to the vector


def main(model: Path) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "guide.html"
        write(page, Explainer.of(load(model), "reviews")(TEXT))
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        opened = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        opened.goto(page.as_uri())
        opened.screenshot(path=PICTURE)
        chromium.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
