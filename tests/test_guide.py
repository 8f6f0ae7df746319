"""The visual guide: what is in its file, and what a real browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import everyday
import families
from browsing import CONTRASTS, DESKTOP, PHONE, SMALL, browser, figures, look_at, serious
from conftest import TEXTS
from firstbert import SentenceClassifier
from firstbert.catalog import encoder_files
from firstbert.errors import UsageError
from firstbert.explain import Trace, explain
from firstbert.guide import notebook, render, write

__all__ = ["browser", "look_at"]  # fixtures

SENTENCE = "A warm, unexpectedly funny film that forgives its own clumsiness."
HOSTILE = "</script><img src=x onerror=alert(1)> \u2028 a bell \x07, \u202eturned & <b>bold</b> 🎬🏽 {{script}} שלום"
KINDS = ["binary", "hostile", "cls", "several", "seventy"]


@pytest.fixture(scope="module")
def traces(classifier: SentenceClassifier, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    row = families.small("bert", vocab_size=30522, hidden_size=32, num_hidden_layers=4, intermediate_size=64)
    folder = families.write(row, tmp_path_factory.mktemp("encoders") / "small").config.parent
    shutil.copy(encoder_files("minilm").tokenizer, folder / "tokenizer.json")
    cls = SentenceClassifier("minilm", pooling="cls", layer="last", max_length=24, max_error=0.1)
    cls.fit(TEXTS * 2, ["good", "bad"] * 12)
    texts, labels = zip(*everyday.several(60, 1), strict=True)
    several = SentenceClassifier(str(folder), layer=(2, 3), pooling="mean").fit(texts, labels)
    several.keep_neighbours(texts, labels)
    texts = [text for text, _ in everyday.topics(154, 2)]
    seventy = SentenceClassifier(str(folder), layer=2, pooling="mean", C=0.01)
    seventy.fit(texts, [f"topic number {i % 77}" for i in range(154)])
    return {
        "binary": explain(classifier, SENTENCE),
        "hostile": explain(classifier, HOSTILE),
        "cls": explain(cls, SENTENCE * 4),
        "several": explain(several, "The choir sang while the snow fell on our roses."),
        "seventy": explain(seventy, "The old train arrived late."),
    }


@pytest.fixture(scope="module")
def files(traces: dict[str, Trace], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guides")
    for kind, trace in traces.items():
        write(folder / f"{kind}.html", trace)
    return folder


@pytest.fixture
def visit(look_at: Callable[..., Any], files: Path) -> Callable[..., Any]:
    return lambda kind, *size, **options: look_at((files / f"{kind}.html").as_uri(), *size, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_it_fits_stands_out_and_tells_the_traces_own_figures(
    kind: str, traces: dict[str, Trace], visit: Callable[..., Any]
) -> None:
    page = visit(kind, reduced_motion="reduce")
    assert page.locator("section h2").count() == 8
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.evaluate("document.querySelectorAll('.more button').forEach((each) => each.click())")
    for size in (DESKTOP, PHONE, SMALL, (641, 800)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = page.evaluate(CONTRASTS)
        assert len(found) > 100 and [each for each in found if each[0] < 4.5] == []

    told, shown = traces[kind].as_dict(), figures(page)
    assert shown["answer/score"] == [told["answer"]["score"]]
    for c, label in enumerate(told["labels"]):
        assert shown[f"labels/{c}/probability"] == [label["probability"]]
    (score,) = [each["score"] for each in told["labels"] if each["label"] == told["shown"]]
    assert shown["score"] == [score]
    for stage in told["layers"]:
        assert shown[f"layers/{stage['layer']}/norm"] == [stage["norm"]]
    if told["contributions"]["method"] == "exact":
        assert shown["contributions/sum"] == [pytest.approx(score, abs=1e-4)]
    strips = page.locator("#layers canvas")
    assert strips.count() == len(told["layers"]) and page.locator("#layers .never").count() == (
        told["model"]["layers"] - len(told["layers"]) + 1
    )


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone, dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_serious(kind: str, size: tuple[int, int], scheme: str, visit: Callable[..., Any]) -> None:
    page = visit(kind, size, color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert serious(page) == []


def test_the_sum_of_the_head_adds_up(traces: dict[str, Trace], visit: Callable[..., Any]) -> None:
    cells = visit("binary").locator("#head .sum tbody td:nth-child(3)").all_inner_texts()
    *terms, score = [float(cell.replace("−", "-")) for cell in cells]
    assert len(terms) == 10 and sum(terms) == pytest.approx(score, abs=0.06)  # each is rounded to two digits


def test_what_users_wrote_is_text_and_no_more(traces: dict[str, Trace], visit: Callable[..., Any]) -> None:
    page = visit("hostile")
    assert page.locator("script").count() == 2 and page.locator("img, main b b").count() == 0
    for place in ("#answer blockquote", "#words .painted"):
        assert page.locator(place).evaluate("(e) => e.textContent") == HOSTILE
    chips = page.locator("#tokens .chips .piece").evaluate_all("(all) => all.map((e) => e.textContent)")
    assert chips == [piece.token for piece in traces["hostile"].pieces]


def test_what_was_cut_and_what_is_unsure_is_told(visit: Callable[..., Any]) -> None:
    page = visit("cls")
    told = page.locator("#answer").inner_text()
    assert "Cut: " in told and "24 tokens" in told and "unsure" in told.lower()
    seen = page.locator("#answer blockquote").evaluate("(e) => e.firstChild.data")
    assert seen + (SENTENCE * 4)[len(seen) :] == SENTENCE * 4 and len(SENTENCE) < len(seen) < 2 * len(SENTENCE)
    assert "left out" in page.locator("#words .lead").inner_text()
    assert "every answer is unsure" in page.locator("#probability figcaption").inner_text()


def test_labels_are_folded_and_chosen_between(traces: dict[str, Trace], visit: Callable[..., Any]) -> None:
    page = visit("seventy")
    assert page.locator("#probability tbody tr:visible").count() == 8
    page.get_by_role("button", name="Show the other 69 labels").press("Enter")
    assert page.locator("#probability tbody tr:visible").count() == 77
    before = page.locator("#words .painted").inner_html()
    page.get_by_label("What speaks for").select_option("topic number 5")
    assert page.locator("#words .painted").inner_html() != before
    told = traces["seventy"].as_dict()
    assert figures(page)["contributions/sum"] == [pytest.approx(sum(told["contributions"]["tokens"]["topic number 5"]))]


def test_several_layers_and_neighbours_are_shown(traces: dict[str, Trace], visit: Callable[..., Any]) -> None:
    page = visit("several")
    assert "layers 2 and 3" in page.locator("#layers .lead").inner_text()
    assert page.locator("#layers .read").count() == 2 and page.locator("#layers .says").count() == 0
    neighbours = traces["several"].neighbours
    assert neighbours is not None
    assert page.locator("#neighbours .said").all_inner_texts() == [each.text for each in neighbours]


def test_all_is_reached_by_keyboard(visit: Callable[..., Any]) -> None:
    page = visit("binary")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate("(() => { const e = document.activeElement; return e.className || e.tagName; })()")
        if name == "BODY":
            break
        reached.append(name)
    assert reached[0] == "skip" and {"A", "scroll", "grid", "SUMMARY"} <= set(reached)
    grid = page.get_by_role("slider")
    grid.focus()
    for key, number in (("Home", 1), ("ArrowRight", 2), ("ArrowDown", 34), ("End", 384), ("ArrowRight", 384)):
        grid.press(key)
        assert grid.get_attribute("aria-valuenow") == str(number)
    assert page.locator("#vector .readout").inner_text() == grid.get_attribute("aria-valuetext")


def test_without_scripts_the_answer_is_told(traces: dict[str, Trace], visit: Callable[..., Any]) -> None:
    page = visit("binary", java_script_enabled=False)
    told = page.locator("noscript").inner_text()
    answer = traces["binary"].predictions.best()[0]
    assert SENTENCE in told and f"answered with {answer}" in told and "JavaScript" in told


def test_printed_on_paper_nothing_is_cut(visit: Callable[..., Any]) -> None:
    page = visit("binary", (680, 960), color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") == 680


def test_a_file_asks_for_nothing_and_runs_only_its_own_script(traces: dict[str, Trace], tmp_path: Path) -> None:
    page = render(traces["hostile"])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy and "connect-src" not in policy[1] and "default-src 'none'" in policy[1]
    assert "connect-src 'self'" in render() and 'id="trace"' not in render()
    data = re.search(r'<script type="application/json" id="trace">(.*?)</script>', page, re.S)
    assert data and json.loads(data[1]) == traces["hostile"].as_dict()
    with pytest.raises(UsageError, match="can't be written"):
        write(tmp_path / "missing" / "guide.html", traces["binary"])


def test_a_notebook_shows_it_in_a_frame(traces: dict[str, Trace], browser: Any) -> None:
    shown: Any = notebook(traces["hostile"])
    page = browser.new_page()
    page.set_content(shown._repr_html_())
    frame = page.frame_locator("iframe")
    frame.locator("#neighbours").wait_for()
    assert frame.locator("#answer blockquote").evaluate("(e) => e.textContent") == HOSTILE
    page.close()


# ---------------------------------------------------------------- the live page, against a service of its own


class Service:
    """What a service answers, as its contract has it; the answer is one trace whatever the text."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told, self.asked, self.key, self.busy = told, list[dict[str, Any]](), "", 0
        self.release = threading.Event()

    def reply(self, path: str, sent: dict[str, Any], authorization: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        if self.key and authorization != f"Bearer {self.key}":
            return 401, {"error": "No key, no answer.", "error_type": "Unauthorized"}, {}
        if path == "info":
            models = [{"name": name, "labels": ["bad", "good"]} for name in ("reviews", "of films")]
            return 200, {"firstbert": "0.1.0", "models": models}, {}
        self.asked.append({"path": path} | sent)
        if self.busy:
            self.busy -= 1
            return 429, {"error": "Too much at once.", "error_type": "Overloaded"}, {"Retry-After": "1"}
        if sent["inputs"].startswith("slow"):
            self.release.wait(10)
        if sent["inputs"].startswith("refused"):
            return 413, {"error": "That is too long for me.", "error_type": "TooLarge"}, {}
        return 200, self.told | {"text": sent["inputs"]}, {}


@pytest.fixture
def service(traces: dict[str, Trace]) -> Iterator[tuple[Service, str]]:
    made = Service(traces["binary"].as_dict())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/a/prefix/":
                return self.send(200, render().encode(), {"Content-Type": "text/html; charset=utf-8"})
            return self.answer(path, {})

        def do_POST(self) -> None:
            self.answer(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, path: str, sent: dict[str, Any]) -> None:
            assert path.startswith("/a/prefix/"), path
            code, told, headers = made.reply(path[10:], sent, self.headers.get("Authorization", ""))
            self.send(code, json.dumps(told).encode(), headers | {"Content-Type": "application/json"})

        def send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except ConnectionError:
                return  # the page no longer wants it

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made, f"http://127.0.0.1:{server.server_port}/a/prefix/"
    made.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def live(browser: Any, service: tuple[Service, str]) -> Iterator[Callable[..., Any]]:
    context = browser.new_context(viewport={"width": 375, "height": 812}, reduced_motion="reduce")
    noise: list[str] = []

    def opened(query: str = "") -> Any:
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("console", lambda m: "Failed to load resource" in m.text or noise.append(m.text))  # 401, 429 are meant
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("request", lambda r: r.url.startswith(service[1]) or noise.append(r.url))
        page.goto(service[1] + query)
        return page

    yield opened
    context.close()
    assert noise == []


def ask(page: Any, text: str) -> None:
    page.get_by_label("Your sentence").fill(text)
    page.get_by_label("Your sentence").press("Enter")


def shows(page: Any, text: str) -> None:
    page.locator("#answer blockquote", has_text=text).wait_for()


def test_a_sentence_is_asked_about_and_shared_by_its_address(
    live: Callable[..., Any], service: tuple[Service, str]
) -> None:
    page = live("?text=as+shared&model=of+films")
    shows(page, "as shared")
    assert service[0].asked == [{"path": "models/of%20films/explain", "inputs": "as shared"}]
    ask(page, "mine & yours")
    shows(page, "mine & yours")
    page.wait_for_url("**/?text=mine+%26+yours&model=of+films")
    assert page.get_by_role("status").inner_text().startswith("Answer: ")
    page.get_by_label("Model").select_option("reviews")
    page.wait_for_url("**&model=reviews")
    page.go_back()
    page.go_back()
    shows(page, "as shared")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert [each for each in page.evaluate(CONTRASTS) if each[0] < 4.5] == []
    ask(page, "refused: a book")
    page.get_by_role("alert").filter(has_text="That is too long for me.").wait_for()
    ask(page, "   ")
    page.get_by_role("alert").filter(has_text="Type a sentence first.").wait_for()


def test_an_older_answer_never_overtakes_a_newer_one(live: Callable[..., Any], service: tuple[Service, str]) -> None:
    page = live("?text=first")
    shows(page, "first")
    page.evaluate("AbortController.prototype.abort = () => {}")  # so that the older one does arrive
    ask(page, "slow and old")
    page.locator("#answer[aria-busy=true]").wait_for()
    ask(page, "new")
    shows(page, "new")
    with page.expect_response(lambda reply: "slow and old" in (reply.request.post_data or "")) as arrived:
        service[0].release.set()
    arrived.value.finished()
    time.sleep(0.2)
    assert page.locator("#answer blockquote").inner_text() == "new"
    assert page.locator("#answer").get_attribute("aria-busy") == "false"


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(live: Callable[..., Any], service: tuple[Service, str]) -> None:
    service[0].key = "right"
    page = live("?text=locked")
    for key in ("wrong", "right"):
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Use it").click()
    shows(page, "locked")
    assert page.get_by_label("API key").is_hidden() and page.evaluate("localStorage.length") == 0


def test_a_busy_service_is_left_alone_till_it_said(live: Callable[..., Any], service: tuple[Service, str]) -> None:
    service[0].busy = 1
    page = live("?text=patience")
    page.get_by_role("alert").filter(has_text="Too much at once. Try again in 1 second").wait_for()
    ask(page, "patience")
    assert len(service[0].asked) == 1
    page.get_by_role("button", name="Try again").click()
    shows(page, "patience")
