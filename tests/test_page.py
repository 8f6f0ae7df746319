from __future__ import annotations

import base64
import copy
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from firstbert.errors import UsageError
from firstbert.facts import ReportFacts
from firstbert.page import render, write
from firstbert.projection import map_points
from report_facts import NASTY, every_kind

KINDS = ["binary", "topics", "thirty", "many", "tiny", "empty"]
VOID = {"meta", "link", "br", "img", "hr"}


class Reader(HTMLParser):
    """What a browser would make of a page: its elements, figures and text, and what isn't closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.figures: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.bad: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if "data-figure" in found:
            self.figures.append((str(found["data-figure"]), str(found["data-value"]), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.bad.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            return
        self.words.append(data)
        if self.figures and not self.figures[-1][2]:
            self.figures[-1] = (*self.figures[-1][:2], data)


@pytest.fixture(scope="module")
def pages() -> dict[str, Reader]:
    return {kind: Reader(render(facts)) for kind, facts in every_kind().items()}


def looked_up(facts: ReportFacts, place: str) -> Any:
    """The value at a figure's place: in the evaluation, else among the other facts."""
    first, *rest = [part.replace("~1", "/").replace("~0", "~") for part in place.split("/")]
    value: Any = facts.evaluation if facts.evaluation and first in facts.evaluation else vars(facts)
    for part in (first, *rest):
        value = value[int(part)] if isinstance(value, list | tuple) else value[part]
    return value


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "empty"])
def test_every_figure_is_the_evaluations_rounded(kind: str, pages: dict[str, Reader]) -> None:
    facts, figures = every_kind()[kind], pages[kind].figures
    assert len(figures) > 20
    for place, value, shown in figures:
        known = looked_up(facts, place)
        assert value == repr(known), place
        number, unit = re.fullmatch(r"([\d,]+(?:\.\d+)?)(\xa0%)?", shown).groups()  # type: ignore[union-attr]
        scale = 100 if unit else 1
        half = 0.5 * 10.0 ** -len(number.partition(".")[2])
        assert abs(float(number.replace(",", "")) - scale * known) <= half + 1e-9, (place, shown)


def numbers(value: Any, place: str = "") -> Iterator[str]:
    """The places of all numbers in an evaluation."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{place}/{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from numbers(inner, f"{place}/{i}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place[1:]


def test_no_number_of_the_evaluation_is_left_out(pages: dict[str, Reader]) -> None:
    evaluation = every_kind()["topics"].evaluation
    shown = {place for place, _, _ in pages["topics"].figures}
    # Edges of bins are written as one range; every other point of a long curve is; the rest is the bootstrap's own.
    aside = re.compile(
        r"reliability/\d+/(low|high)|coverage/\d+/.*|bootstrap/(confidence|seed)|abstention/n_accepted|slices/\d+/p"
    )
    missing = [place for place in numbers(evaluation) if place not in shown and not aside.fullmatch(place)]
    assert not missing


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_whole_and_asks_for_nothing(kind: str, pages: dict[str, Reader]) -> None:
    page = pages[kind]
    assert not page.bad and not page.open
    for tag, attributes in page.elements:
        assert tag not in ("img", "iframe", "object", "embed", "video", "audio", "form", "base")
        assert "src" not in attributes and not any(name.startswith("on") for name in attributes)
        target = attributes.get("href")
        assert target is None or target.startswith("#") or target == "data:,"
    style = re.search("<style>(.*?)</style>", render(every_kind()[kind]), re.S)
    assert style and not re.search(r"url\(|@import", style[1])
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    assert {a["href"] for _, a in page.elements if str(a.get("href")).startswith("#")} <= {f"#{name}" for name in names}


def test_only_its_own_script_may_run() -> None:
    page = render(every_kind()["binary"])
    scripts = re.findall("<script>(.*?)</script>", page, re.S)
    policy = re.search('Content-Security-Policy" content="([^"]*)"', page)
    assert len(scripts) == 1 and policy
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1] and policy[1].startswith("default-src 'none'")


def test_what_users_wrote_stays_text(pages: dict[str, Reader]) -> None:
    words = "".join(pages["binary"].words)
    for text in NASTY[:5] + NASTY[6:]:
        assert text in words
    assert "A half \ufffd and a bell \ufffd walk into a file." in words
    assert "Reviews of <films> & “plays”" in words
    render(every_kind()["binary"]).encode("utf-8")


def test_parts_stand_in_order_and_only_where_there_are_facts(pages: dict[str, Reader]) -> None:
    def parts(kind: str) -> list[str]:
        return [str(attributes["id"]) for tag, attributes in pages[kind].elements if tag == "section"]

    every = ["numbers", "labels", "confusion", "reliability", "coverage", "layers", "growth", "map", "slices"]
    every += ["mistakes", "disputed", "findings", "reproduce"]
    assert parts("topics") == every
    assert parts("many") == [
        "numbers",
        "labels",
        "confusion",
        "reliability",
        "coverage",
        "map",
        "mistakes",
        "reproduce",
    ]
    assert parts("tiny") == ["numbers", "labels", "confusion", "reliability", "coverage", "reproduce"]
    assert parts("empty") == []
    assert "nothing is known yet" in "".join(pages["empty"].words)


def test_the_same_facts_give_the_same_bytes() -> None:
    facts = every_kind()["topics"]
    assert render(facts) == render(copy.deepcopy(facts))


def told(facts: ReportFacts, part: str) -> str:
    return re.sub(r"\s+", " ", "".join(Reader(render(facts)).words)).partition(part)[2][:400].replace("\xa0", " ")


def changed(**values: Any) -> ReportFacts:
    facts = copy.deepcopy(every_kind()["topics"])
    facts.evaluation.update(values)  # type: ignore[union-attr]
    return facts


def test_a_model_no_better_than_guessing_is_called_that() -> None:
    facts = changed(accuracy=0.52, baseline_accuracy=0.5, intervals={"accuracy": [0.47, 0.57]})
    assert "clearly better than always giving the same answer. Don’t rely on it yet" in told(facts, "It isn’t ")


@pytest.mark.parametrize(
    ("ece", "words"), [(0.02, "can be taken at their word"), (0.07, "are roughly right"), (0.2, "shouldn’t be taken")]
)
def test_the_verdict_on_probabilities(ece: float, words: str) -> None:
    assert told(changed(ece=ece), "Its probabilities ").startswith(words)


@pytest.mark.parametrize(
    ("error", "low", "words"),
    [
        (0.04, 0.01, "."),
        (0.06, 0.03, ": more than the limit, though chance"),
        (0.09, 0.07, ": more than the limit, by more than"),
    ],
)
def test_a_guarantee_that_fails_on_the_test_rows_is_told(error: float, low: float, words: str) -> None:
    chosen = {
        "threshold": 0.8,
        "coverage": 0.6,
        "n_accepted": 300,
        "error": error,
        "max_error": 0.05,
        "confidence": 0.9,
    }
    text = told(changed(abstention=chosen | {"error_interval": [low, 0.11]}), "On the test rows, ")
    assert text.partition("to 11.0 %)")[2].startswith(words)


def test_a_tie_goes_to_the_lower_layer() -> None:
    text = told(every_kind()["topics"], "The encoder is read at layer ")
    assert text.startswith("9 mean, with a log-loss of 0.349") and "Layer 10 mean has 0.347: less" in text
    assert "in a tie the lower layer wins" in text


def choosing(name: str) -> ReportFacts:
    facts = copy.deepcopy(every_kind()["topics"])
    for read in facts.layers or []:
        read["chosen"] = read["reads"] == name  # type: ignore[index]
    return facts


def test_why_a_layer_was_chosen() -> None:
    least = told(choosing("10 mean"), "The encoder is read at layer ")
    assert least.startswith("10 mean, which has the least log-loss of 27 ways tried, 0.347, and answers ")
    other = told(choosing("12 cls"), "The encoder is read at layer ")
    assert "The least log-loss was 0.347, at layer 10 mean." in other and "tie" not in other.partition("Filled")[0]
    joined = told(choosing("9 mean + 11 mean"), "Layers ")
    assert joined.startswith("9 mean + 11 mean are read side by side: on the same rows, that lowers the log-loss from ")


def test_the_largest_confusions_come_first(pages: dict[str, Reader]) -> None:
    counts = [int(value) for place, value, _ in pages["thirty"].figures if place.startswith("confusion/")]
    matrix = np.array(every_kind()["thirty"].evaluation["confusion"])  # type: ignore[index]
    np.fill_diagonal(matrix, 0)
    assert counts == sorted(matrix.ravel().tolist(), reverse=True)[:20]


def cells(facts: ReportFacts, part: str) -> dict[str, list[str]]:
    """The rows of a part's table, by what heads them, without tags."""
    section = render(facts).partition(f'<section id="{part}"')[2].partition("</section>")[0]
    found = re.findall(r'<tr><th scope="row"[^>]*>(.*?)</th>(.*?)</tr>', section, re.S)
    return {re.sub("<.*?>", "", head): re.findall(">([^<>]+)</", row) for head, row in found}


def test_many_labels_are_counted_one_by_one() -> None:
    facts = every_kind()["many"]
    rows = cells(facts, "confusion")
    pairs = [(set(p["true"]), set(p["predicted"])) for p in facts.points or []]
    expected = {}
    for label in facts.model["labels"]:
        ways = [(label in true, label in answered) for true, answered in pairs]
        expected[label] = [str(ways.count(way)) for way in [(True, True), (True, False), (False, True)]]
    assert rows == expected


def test_counts_of_many_labels_are_taken_where_they_are_given() -> None:
    facts = copy.deepcopy(every_kind()["many"])
    facts.evaluation["confusion"] = [[[100, 4 + k], [6, 130 + k]] for k in range(4)]  # type: ignore[index]
    assert cells(facts, "confusion")["price"] == ["131", "6", "5"]


def test_of_many_mistakes_and_doubts_the_first_fifty_are_shown() -> None:
    facts = every_kind()["topics"]
    more = ReportFacts("t", mistakes=list(facts.mistakes) * 6, disputed=[{**facts.disputed[0], "reason": "model"}] * 51)
    assert len(re.findall('<p class="said"', render(more))) == 100
    for words in (">10 more left out.", ">1 more left out.", "The model, trained without it, says otherwise"):
        assert words in render(more)


def test_the_map_shows_at_most_a_thousand() -> None:
    facts = every_kind()["topics"]
    more = ReportFacts("t", points=list(facts.points or []) * 3)
    assert render(more).count("<title>") == 1000 + 1


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write(tmp_path / "report.html", every_kind()["tiny"])
    before = (tmp_path / "report.html").read_bytes()
    assert before == render(every_kind()["tiny"]).encode()
    with pytest.raises(UsageError, match=r"missing/report\.html: can't be written"):
        write(tmp_path / "missing" / "report.html", every_kind()["tiny"])
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match=r"folder\.html: can't be written"):
        write(tmp_path / "folder.html", every_kind()["tiny"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.html", "report.html"]


def groups(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    which = np.arange(n) % 4
    return (rng.normal(size=(n, 40)) + 3 * rng.normal(size=(4, 40))[which]).astype(np.float32), which


def test_alike_lie_close_on_the_map() -> None:
    vectors, which = groups()
    places = map_points(vectors)
    assert places.shape == (120, 2)
    assert KNeighborsClassifier(5).fit(places[:60], which[:60]).score(places[60:], which[60:]) == 1


def test_the_map_is_the_same_each_time() -> None:
    vectors, _ = groups()
    np.testing.assert_array_equal(map_points(vectors), map_points(vectors.copy()))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 19, 20, 21])
def test_a_map_of_few(n: int) -> None:
    places = map_points(groups()[0][:n])
    assert places.shape == (n, 2) and np.isfinite(places).all()


@pytest.mark.parametrize(
    "rows", [np.ones((30, 8)), np.zeros((30, 8)), np.repeat(np.eye(3), 10, axis=0), np.eye(30)[:, :1]]
)
def test_a_map_of_rows_alike(rows: np.ndarray) -> None:
    places = map_points(rows.astype(np.float32))
    assert places.shape == (30, 2) and np.isfinite(places).all()
