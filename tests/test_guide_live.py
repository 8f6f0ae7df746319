"""The guide as the page of a real server, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browsing import DESKTOP, browser, figures, look_at, serious
from conftest import GOOD, TEXTS, Outcome
from firstbert import SentenceClassifier
from serving import serve

__all__ = ["browser", "look_at"]  # fixtures

SENTENCE = "a visually stunning rumination on love"  # the tutorial's own
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


def test_the_page_shows_what_the_command_tells(
    tmp_path: Path, cli: Callable[..., Outcome], look_at: Callable[..., Any]
) -> None:
    taught = SentenceClassifier("minilm").fit(TEXTS, ["good", "bad"] * 6)
    taught.keep_neighbours(TEXTS, ["good", "bad"] * 6)
    model = taught.save(tmp_path / "model")
    told = cli("explain", model, SENTENCE, "--json").json
    with serve([model], tmp_path) as held:
        page = look_at(f"{held.url}/?text={SENTENCE}", reduced_motion="reduce")
        page.locator("#answer blockquote", has_text=SENTENCE).wait_for()
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        shown = figures(page)

        def texts(place: str) -> list[str]:
            found: list[str] = page.locator(place).evaluate_all("(all) => all.map((e) => e.textContent)")
            return found

        assert texts("#tokens .chips .piece") == [each["token"] for each in told["tokens"]]
        assert texts("#tokens .chips .id") == [str(each["id"]) for each in told["tokens"]]
        ids, lengths = told["batch"]["ids"], told["batch"]["lengths"]
        seen = len(texts("#batch td.on, #batch td.off")) // len(ids)  # columns; what more there is, is counted
        assert texts("#batch td.real, #batch td.filling") == [str(i) for row in ids for i in row[:seen]]
        assert texts("#batch td.on, #batch td.off") == [str(int(at < n)) for n in lengths for at in range(seen)]
        assert set(texts("#batch td.rest")) == ({f"… {len(ids[0]) - seen} more"} if len(ids[0]) > seen else set())
        c = [each["label"] for each in told["labels"]].index(told["shown"])
        for stage in told["layers"]:
            assert shown[f"layers/{stage['layer']}/norm"] == [stage["norm"]]
            assert shown[f"layers/{stage['layer']}/probability"] == [max(stage["probabilities"].values())]
            assert not stage["layer"] or shown[f"layers/{stage['layer']}/change"] == [stage["change"]]
        values = [float(cell.replace("−", "-")) for cell in texts("#vector .terms td:nth-child(2)")]
        assert values == pytest.approx(told["vector"], abs=5.1e-5) and len(values) == 384
        assert shown["score"] == [told["labels"][c]["score"]]
        assert [shown[f"labels/{i}/probability"] for i in (0, 1)] == [[each["probability"]] for each in told["labels"]]
        assert shown["contributions/sum"] == [pytest.approx(told["labels"][c]["score"], abs=1e-4)]
        assert shown["neighbours/similarity"] == [each["similarity"] for each in told["neighbours"]]
        assert shown["answer/score"] == [told["answer"]["score"]]
        assert serious(page) == []
        page.wait_for_load_state("networkidle")
        page.context.close()
