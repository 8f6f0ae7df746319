"""The report in a real browser: Debian's chromium, or any other on the path, driven by Playwright."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browsing import CONTRASTS, DESKTOP, PHONE, SMALL, browser, look_at, serious
from firstbert.page import write
from report_facts import every_kind

__all__ = ["browser", "look_at"]  # fixtures


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    for kind, facts in every_kind().items():
        write(folder / f"{kind}.html", facts)
    return folder


@pytest.fixture
def visit(look_at: Callable[..., Any], files: Path) -> Callable[..., Any]:
    return lambda kind, *size, **options: look_at((files / f"{kind}.html").as_uri(), *size, **options)


@pytest.mark.parametrize("kind", ["binary", "topics", "thirty", "many", "tiny", "empty"])
def test_nothing_is_wider_than_the_screen(kind: str, visit: Callable[..., Any]) -> None:
    for size in (DESKTOP, PHONE, SMALL, (601, 800), (769, 900)):
        page = visit(kind, size)
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        assert page.locator("h1").is_visible()


@pytest.mark.parametrize("kind", ["binary", "topics", "many"])
def test_axe_finds_nothing_serious(kind: str, visit: Callable[..., Any]) -> None:
    for size, scheme in ((DESKTOP, "light"), (PHONE, "dark")):
        page = visit(kind, size, color_scheme=scheme)
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        assert serious(page) == []


def first_wrong(page: Any) -> tuple[Any, dict[str, float]]:
    mark = page.locator("svg.map .mark:has(.ring)").first
    mark.scroll_into_view_if_needed()
    return mark, mark.locator(".ring").bounding_box()


def wrong_sentences() -> set[str]:
    return {p["text"] for p in every_kind()["topics"].points or () if p["true"] != p["predicted"]}


def test_pointing_at_a_mark_shows_its_sentence(visit: Callable[..., Any]) -> None:
    page = visit("topics")
    assert page.locator(".tip").is_hidden()
    _, box = first_wrong(page)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator(".tip")
    assert tip.is_visible()
    assert tip.locator("p").first.inner_text() in wrong_sentences() and "answered" in tip.inner_text()
    page.mouse.move(5, 5)
    assert tip.is_hidden()


def test_tapping_a_mark_shows_its_sentence(visit: Callable[..., Any]) -> None:
    page = visit("topics", PHONE, has_touch=True, is_mobile=True)
    _, box = first_wrong(page)
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator(".tip")
    assert tip.is_visible() and tip.locator("p").first.inner_text() in {
        p["text"] for p in every_kind()["topics"].points
    }
    edges = tip.bounding_box()
    assert edges["x"] >= 0 and edges["x"] + edges["width"] <= PHONE[0]
    page.locator("#map h2").tap()
    assert tip.is_hidden()


def test_the_map_is_reached_and_read_by_keyboard(visit: Callable[..., Any]) -> None:
    page = visit("topics")
    page.locator("#map summary").focus()
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.classList.contains('map')")
    tip = page.locator(".tip")
    seen = [tip.inner_text()]
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
        seen.append(tip.inner_text())
    assert len(set(seen)) >= 3 and tip.get_attribute("role") == "status"
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_marks_of_other_charts_tell_their_figures(visit: Callable[..., Any]) -> None:
    page = visit("topics")
    ring = page.locator("#layers .mark:has(.ring)")
    ring.scroll_into_view_if_needed()
    box = ring.locator(".ring").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator(".tip").inner_text().startswith("Layer 9 mean: ")


def test_all_is_readable_without_scripts(visit: Callable[..., Any]) -> None:
    page = visit("topics", java_script_enabled=False)
    assert page.locator("section").count() == 13
    assert page.locator("svg.map title").count() == 700
    page.locator("#map summary").click()
    assert page.locator("#map tbody tr").first.is_visible()


def test_what_users_wrote_does_nothing(visit: Callable[..., Any]) -> None:
    page = visit("binary")
    assert page.locator("script").count() == 1 and page.locator("img").count() == 0
    assert page.locator("#mistakes .said").first.inner_text().startswith("<script>alert('boo')</script>")
    arabic = page.locator("#mistakes .said", has_text="هذا")
    assert arabic.evaluate("(e) => getComputedStyle(e).direction") == "rtl"
    long = page.locator("#mistakes details.rest").first
    long.locator("summary").click()
    assert len(long.locator(".said").inner_text()) > 5000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["binary", "topics", "many"])
def test_text_stands_out_by_light_and_in_the_dark(kind: str, scheme: str, visit: Callable[..., Any]) -> None:
    page = visit(kind, color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (int(paper.partition("(")[2].partition(",")[0]) < 60) == (scheme == "dark")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 100
    assert [each for each in found if each[0] < 4.5] == []


def test_printed_on_paper_nothing_is_cut(visit: Callable[..., Any], tmp_path: Path) -> None:
    for kind in ("binary", "topics", "thirty"):
        page = visit(kind, (680, 960), color_scheme="dark")  # A4 less its margins
        page.emulate_media(media="print")
        too_wide = """() => [...document.querySelectorAll("main *, header *")]
            .filter((e) => e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 1)
            .map((e) => e.tagName + e.className)"""
        assert page.evaluate(too_wide) == []
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
        printed = page.pdf(format="A4")
        assert (
            printed.startswith(b"%PDF") and 4 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 40
        )
