"""The guide in a real browser: as a file, and as the page of a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browsing import CONTRASTS, DESKTOP, PHONE, SMALL, browser, look_at
from conftest import GOOD, TEXTS
from firstbert import SentenceClassifier
from firstbert.explain import Trace, explain
from firstbert.guide import notebook, render, write
from serving import serve

__all__ = ["browser", "look_at"]  # fixtures

KEY = "a-key-for-the-tests-0123456789"
SAID = "What a joy, though not without a dull minute."
HOSTILE = "</script><img src=x onerror=alert(1)> {{script}} <!-- \u2028 & \u202e\x07 [CLS] 🎬 done"
LONG = "It goes on " + "and on " * 400


@pytest.fixture(scope="module")
def traces(classifier: SentenceClassifier) -> dict[str, Trace]:
    by_cls = SentenceClassifier("minilm", pooling="cls", layer=3).fit(TEXTS, ["good", "bad"] * 6)
    labels = [("film", each) for each in ["good", "bad"] * 5] + [("film",), ()]
    wide = SentenceClassifier("minilm", layer=(2, 4)).fit(TEXTS, labels)
    many = SentenceClassifier("minilm", layer=1)
    rows = [f"{text} That was number {i}." for i in range(30) for text in TEXTS[:2]]
    many.fit(rows, [f"label {i} <b>" for i in range(30) for _ in range(2)])
    nearby = SentenceClassifier("minilm").fit(TEXTS, ["good", "bad"] * 6).keep_neighbours(TEXTS, ["good", "bad"] * 6)
    return {
        "plain": explain(classifier, SAID), "cls": explain(by_cls, SAID), "wide": explain(wide, SAID),
        "many": explain(many, SAID), "cut": explain(nearby, LONG), "hostile": explain(nearby, HOSTILE),
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(traces: dict[str, Trace], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guides")
    for name, trace in traces.items():
        write(folder / f"{name}.html", trace)
    return folder


@pytest.mark.parametrize("name", ["plain", "cls", "wide", "many", "cut", "hostile"])
def test_a_file_shows_the_traces_numbers(
    name: str, traces: dict[str, Trace], folder: Path, look_at: Callable[..., Any]
) -> None:
    trace = traces[name]
    page = look_at((folder / f"{name}.html").as_uri())
    assert page.locator("h1").count() == 1
    assert [page.locator("main section h2").count(), page.locator("nav a").count()] == [8, 8]
    assert page.evaluate("document.documentElement.scrollWidth") == DESKTOP[0]
    assert "[object" not in page.locator("body").inner_text()
    figures = page.evaluate("[...document.querySelectorAll('data')].map((e) => [e.dataset.figure, Number(e.value)])")
    found: dict[str, set[float]] = {}
    for figure, value in figures:
        found.setdefault(figure, set()).add(value)
    values = {value for each in found.values() for value in each}
    assert trace.scores[trace.shown] in values
    assert any(value == pytest.approx(trace.predictions.probabilities[0].max()) for value in values)
    if trace.contributions.method == "exact":
        total = float(trace.contributions.tokens[:, trace.shown].sum())
        assert any(value == pytest.approx(total, abs=1e-9) for value in values)
    words = page.locator("main").inner_text()
    assert ("never run" in words) == (max(s.layer for s in trace.stages) < trace.model["layers"])
    assert ("--neighbours" in words) == (trace.neighbours is None)
    said = page.locator("header").inner_text()
    assert ("cut" in said.lower()) == (name == "cut")
    for size in (PHONE, SMALL):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(scheme: str, folder: Path, look_at: Callable[..., Any]) -> None:
    for name in ("plain", "many"):
        page = look_at((folder / f"{name}.html").as_uri(), color_scheme=scheme)
        faint = [each for each in page.evaluate(CONTRASTS) if each[0] < 4.5]
        assert faint == []


def test_by_keyboard_alone(folder: Path, look_at: Callable[..., Any]) -> None:
    page = look_at((folder / "cut.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    unreached = page.evaluate(
        "[...document.querySelectorAll('button, summary, select, a')].filter((e) => e.tabIndex < 0).length"
    )
    assert unreached == 0
    unnamed = page.evaluate("""[...document.querySelectorAll('canvas, svg')].filter((e) =>
      !e.closest('[aria-hidden=true], [role=img][aria-label]') && !e.getAttribute('aria-label')).length""")
    assert unnamed == 0


def test_without_a_script_the_answer_is_there(folder: Path, look_at: Callable[..., Any]) -> None:
    page = look_at((folder / "plain.html").as_uri(), java_script_enabled=False)
    assert "switch JavaScript on" in page.locator("noscript").inner_text()
    assert SAID in page.locator("noscript").inner_text()


def test_what_a_user_wrote_stays_text(traces: dict[str, Trace], folder: Path, look_at: Callable[..., Any]) -> None:
    html = (folder / "hostile.html").read_text()
    assert "onerror=alert" not in re.sub(r"&lt;img.*?&gt;", "", html.replace("\\u003cimg src=x onerror=alert(1)", ""))
    page = look_at((folder / "hostile.html").as_uri())
    assert page.locator("img").count() == 0
    assert "<img src=x" in page.locator("header").inner_text()
    data = json.loads(page.locator("#trace").text_content())
    assert data["text"] == HOSTILE
    assert render(traces["plain"]) == render(traces["plain"])


def test_in_a_notebook(traces: dict[str, Trace]) -> None:
    shown = notebook(traces["plain"])._repr_html_()  # type: ignore[attr-defined]
    assert shown.startswith("<iframe srcdoc=") and 'sandbox="allow-scripts"' in shown


# ---------------------------------------------------------------- the page of a service


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
