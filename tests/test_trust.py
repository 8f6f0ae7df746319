"""The measurements behind docs/results.md: each section at sizes that show only that it works, and the page."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import Outcome
from firstbert.catalog import encoder_files

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks import encoders, made_labels, marks, texts, trust, trust_report

        yield SimpleNamespace(
            encoders=encoders, marks=marks, made_labels=made_labels, texts=texts, trust=trust, report=trust_report
        )


@pytest.fixture
def options(modules: SimpleNamespace, tmp_path: Path) -> Any:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "dev", "test"):
        rows = [f"{text}\t{int(i % 12 < 6)}" for i, text in enumerate(modules.texts.made(400))]
        (data / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    _, options = modules.trust.parse(["--quick", "--sst2", str(data), "--work", str(tmp_path / "work")])
    return options


@pytest.fixture
def results(
    modules: SimpleNamespace, options: Any, cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """All sections on a tiny random encoder, the commands run in this process."""
    tiny = str(modules.encoders.tiny(options.work / "tiny", encoder_files("minilm").tokenizer))
    monkeypatch.setattr(modules.trust.Trust, "encoders", {"tiny": tiny})

    def command(self: Any, *arguments: object, cold: bool = False) -> tuple[Any, float]:
        if arguments[0] == "train" and "--encoder" not in arguments:
            arguments = (*arguments, "--encoder", tiny)
        done = cli(*arguments, "--json")
        assert done.code == 0, done.err
        return done.json if done.out else None, 1.0

    monkeypatch.setattr(modules.trust.Trust, "command", command)
    return modules.trust.measure(options, list(modules.trust.SECTIONS))


def test_every_section_measures_and_is_shown(modules: SimpleNamespace, results: Any) -> None:
    assert results.failed == []
    parts = results.parts
    sections = {name.split(",")[0] for name in parts}
    assert sections == {"header", *modules.trust.SECTIONS}
    shown = modules.report.render(parts)
    for name in set(parts) - {"header"}:
        assert name.split(", ", 1)[1].removeprefix("the tutorial's protocol, ").removeprefix("seconds, ") in shown
    runs = parts["layers, tiny"]["runs"]
    assert set(runs) == {"last", "auto", "best"} and len(runs["auto"]["layers"]) == 1
    assert parts["cut, tiny"]["layer"] == runs["auto"]["layers"][0]
    for trial in parts["kinds, many"]["trials"]:
        assert trial["equal"]["log_loss"] == trial["macro-f1"]["log_loss"]  # thresholds leave probabilities alone
    disputed = parts["disputed, tiny"]
    assert disputed["trials"][0]["flipped"] == round(0.05 * disputed["n"])


def test_what_is_there_is_kept_and_forced_sections_alone_are_measured_anew(
    modules: SimpleNamespace, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def section(name: str) -> Callable[[Any, Any], None]:
        def measure() -> dict[str, Any]:
            calls.append(name)
            return {"value": len(calls)}

        return lambda trust, results: results.part(f"{name}, minilm", measure)

    monkeypatch.setattr(modules.trust, "SECTIONS", {name: section(name) for name in ("one", "two")})
    arguments = ["--results", str(options.results), "--work", str(options.work)]
    kept = modules.trust.parse(arguments)[1]
    modules.trust.measure(kept, ["one", "two"])
    modules.trust.measure(kept, ["one", "two"])
    assert calls == ["one", "two"]
    found = modules.trust.measure(modules.trust.parse([*arguments, "--force"])[1], ["two"])
    assert calls == ["one", "two", "two"] and found.parts["one, minilm"]["value"] == 1


def test_a_goal_that_is_missed_is_shown_as_missed(modules: SimpleNamespace, options: Any, tmp_path: Path) -> None:
    rates = {"whole": 100.0, "cut": 150.0}
    part = {"layer": 4, "rates": rates, "faster": 1.1, "accuracy": {"whole": 0.8, "cut": 0.8}}
    parts = {"header": modules.trust.Trust(options).header, "cut, tiny": part}
    assert "| tiny: times as fast when cut | ≥ 1.15 | 1.1 | **no** |" in modules.report.render(parts)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{modules.report.BEGIN}\nwas here\n{modules.marks.END}\nafter\n")
    modules.report.write(parts | {"cut, tiny": part | {"faster": 1.2}}, page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "was here" not in text
    assert "| tiny: times as fast when cut | ≥ 1.15 | 1.2 | yes |" in text


@pytest.mark.parametrize("kind", ["topics", "rare", "many"])
def test_made_sentences_depend_on_the_seed_alone_and_all_differ(modules: SimpleNamespace, kind: str) -> None:
    make = modules.made_labels.MADE[kind]
    rows = make(1020, 3)
    assert rows == make(1020, 3) != make(1020, 4)
    assert len({text for text, _ in rows}) == 1020
    assert not any(set("{}\t\n") & set(text) for text, _ in rows)


def test_made_labels_are_of_the_kinds_promised(modules: SimpleNamespace) -> None:
    made = modules.made_labels
    assert Counter(label for _, label in made.rare(5100, 0)) == {"routine": 5000, "urgent": 100}
    topics = Counter(label for _, label in made.topics(1200, 0))
    assert len(topics) == 6 and min(topics.values()) > 120
    labels = [label for _, label in made.many(1200, 0)]
    counts = Counter(part for label in labels for part in label.split("|") if label)
    assert len(counts) == 6 and counts["insects"] < 0.1 * len(labels) and "" in labels
    assert any("|" in label for label in labels)


def test_what_can_be_asked_for(modules: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    sections, options = modules.trust.parse(["cut", "--quick"])
    assert sections == ["cut"] and options.data is None and options.mpnet is None and options.force
    assert options.results.parts[-2:] == ("trust", "quick") and options.python == Path(sys.executable).absolute()
    with pytest.raises(SystemExit):
        modules.trust.parse(["speed"])
    assert "no section 'speed'" in capsys.readouterr().err
