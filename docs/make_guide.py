"""Draw the guide's pictures in docs/: `python docs/make_guide.py MODEL`, with Playwright, Pillow and Chromium at hand.

guide.png on a wide screen, guide-dark.png in the dark, guide-phone.png on a phone; each down to where it gets long.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from firstbert.artifact import load
from firstbert.explain import Explainer
from firstbert.guide import write

FOLDER = Path(__file__).parent
TEXT = "A warm, clever film that made me laugh out loud."
COLOURS = 192  # a third of the size, and nobody sees it
# Width and height in points, colours, pixels a point.
PICTURES = {
    "guide": (1180, 2050, "light", 1),
    "guide-dark": (1180, 1500, "dark", 1),
    "guide-phone": (375, 1700, "light", 2),
}


def main(model: Path) -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "guide.html"
        write(page, Explainer.of(load(model), "reviews")(TEXT))
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (width, height, scheme, scale) in PICTURES.items():
            size = {"width": width, "height": height}
            opened = chromium.new_page(
                viewport=size, color_scheme=scheme, reduced_motion="reduce", device_scale_factor=scale
            )
            opened.goto(page.as_uri())
            drawn = Image.open(BytesIO(opened.screenshot()))
            drawn.quantize(COLOURS).save(FOLDER / f"{name}.png", optimize=True)
        chromium.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
