"""The guide as the page of a real server, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from browsing import DESKTOP, browser, look_at
from conftest import GOOD
from serving import serve

__all__ = ["browser", "look_at"]  # fixtures

KEY = "a-key-for-the-tests-0123456789"


def test_the_page_of_a_service(model: Path, tmp_path: Path, look_at: Callable[..., Any]) -> None:
    with serve([f"films={model}", f"again={model}"], tmp_path) as held:
        page = look_at(f"{held.url}/?text={GOOD[0]}&model=again")
        page.locator("#words h2").wait_for()
        assert GOOD[0] in page.locator("body").inner_text()
        box = page.locator("textarea, input[type=text], input:not([type])").first
        box.fill("A dull and lifeless film.")
        box.press("Control+Enter")
        page.locator("#answer", has_text="bad").wait_for()
        assert page.locator("#answer").get_attribute("aria-busy") == "false"
        page.locator("select").first.select_option("films")
        page.locator("#answer", has_text="films").wait_for()
        assert "text=" in page.url
        assert page.evaluate("document.documentElement.scrollWidth") == DESKTOP[0]
        page.wait_for_load_state("networkidle")
        page.context.close()


def test_the_page_asks_for_a_key(model: Path, tmp_path: Path, look_at: Callable[..., Any]) -> None:
    (tmp_path / "keys").write_text(KEY)
    with serve([model], tmp_path, "--api-keys", tmp_path / "keys") as held:
        page = look_at(held.url + "/")
        field = page.locator("input[type=password]")
        field.wait_for()
        field.fill(KEY)
        field.press("Enter")
        page.locator("#words h2, textarea").first.wait_for()
        page.wait_for_function("!document.querySelector('input[type=password]')?.getClientRects().length")
        page.wait_for_load_state("networkidle")
        page.context.close()
        page.noise[:] = [line for line in page.noise if "401" not in line]  # the browser's own word on the first answer
