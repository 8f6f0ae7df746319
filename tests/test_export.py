"""A model as one ONNX file: what it answers, in Python and in a browser, is what the library answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

import bulk_rows
import everyday
import families
from browsing import NEEDED, browser
from conftest import TEXTS, Outcome
from firstbert import SentenceClassifier, export
from firstbert.artifact import Artifact, load
from firstbert.catalog import encoder_files
from firstbert.errors import EncoderError, UsageError
from firstbert.predictor import Predictor
from scripts import script

__all__ = ["browser"]  # a fixture

Cli = Callable[..., Outcome]
ROOT = Path(__file__).parent.parent
ODD = [
    "Ein schöner Tag – naïve café",
    "请问营业时间是几点？",
    "🎬🏽 wow!!!",
    "a" * 300,
    "word " * 500,
    "NO.",
    "\ta\u00a0b",
]
SENTENCES = [*TEXTS, *ODD]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return script(ROOT / "examples" / "export" / "classify.py")


def encoder(name: str, folder: Path) -> str:
    """A small encoder of a family, with MiniLM's tokenizer."""
    sizes = {"vocab_size": 30522} | ({} if name.startswith("distil") else {"num_hidden_layers": 3})
    made = families.write(families.small(name, **sizes), folder).config.parent
    shutil.copy(encoder_files("minilm").tokenizer, made / "tokenizer.json")
    return str(made)


def furthest(artifact: Artifact, path: Path, example: ModuleType, texts: list[str]) -> float:
    found = example.Model(str(path)).probabilities(texts)
    return float(np.abs(found - artifact.predictor.predict(texts).probabilities).max())


@pytest.mark.parametrize("name", sorted(families.ROWS))
def test_every_family_answers_alike(name: str, tmp_path: Path, example: ModuleType) -> None:
    texts, labels = zip(*everyday.topics(60, 3), strict=True)
    for pooling, layer in (("mean", "last"), ("cls", "last"), ("mean", (1, 2))):
        made = SentenceClassifier(encoder(name, tmp_path / "encoder"), layer=layer, pooling=pooling, max_length=40)
        artifact = load(made.fit(texts, labels).save(tmp_path / "model"))
        done = export.export(artifact, tmp_path / "model.onnx")
        assert done.difference < 1e-5 and done.bytes == (tmp_path / "model.onnx").stat().st_size
        assert furthest(artifact, done.path, example, SENTENCES) < 1e-5


def test_labels_in_any_number(tmp_path: Path, example: ModuleType) -> None:
    texts, labels = zip(*everyday.several(80, 1), strict=True)
    made = SentenceClassifier(encoder("bert", tmp_path / "encoder"), layer=2, pooling="mean", thresholds="macro_f1")
    artifact = load(made.fit(texts, labels).save(tmp_path / "model"))
    done = export.export(artifact, tmp_path / "model.onnx")
    assert furthest(artifact, done.path, example, SENTENCES) < 1e-5
    facts = example.Model(str(done.path)).session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["many_labels"]) is True
    assert json.loads(facts["thresholds"]) == list(artifact.predictor.decision.thresholds or ())


def test_int8_answers_nearly_alike(tmp_path: Path, example: ModuleType) -> None:
    texts, labels = zip(*everyday.topics(60, 3), strict=True)
    made = SentenceClassifier(encoder("bert", tmp_path / "encoder"), layer="last", pooling="mean", precision="int8")
    artifact = load(made.fit(texts, labels).save(tmp_path / "model"))
    done = export.export(artifact, tmp_path / "model.onnx")
    assert furthest(artifact, done.path, example, SENTENCES) < 1e-3


def test_the_file_stands_by_itself(model: Path, tmp_path: Path, cli: Cli) -> None:
    """The example, in another process and another folder, with nothing of firstbert's at hand."""
    told = cli("export", model, tmp_path / "model.onnx", "--json").json
    assert told["labels"] == ["bad", "good"] and told["difference"] < 1e-5 and told["path"].endswith("model.onnx")
    (tmp_path / "away").mkdir()
    (tmp_path / "model.onnx").rename(tmp_path / "away" / "m.onnx")
    example = str(ROOT / "examples" / "export" / "classify.py")
    program = (
        f"import runpy, sys; sys.modules['firstbert'] = None; sys.argv = ['classify.py', 'm.onnx', *{TEXTS!r}]; "
        f"runpy.run_path({example!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path / "away", text=True, capture_output=True, check=True)
    predictions = load(model).predictor.predict(TEXTS)
    expected = [f"{a}\t{p:.3f}\t{t}" for a, p, t in zip(predictions.best(), predictions.confidence, TEXTS, strict=True)]
    assert done.stdout.splitlines() == expected


def test_what_the_file_says_of_itself(model: Path, tmp_path: Path) -> None:
    artifact = load(model)
    written = onnx.load(str(export.export(artifact, tmp_path / "model.onnx").path))
    onnx.checker.check_model(written)
    assert {each.domain for each in written.graph.node} == {""}  # nothing but ONNX's own operators
    assert not any(each.external_data for each in written.graph.initializer)
    facts = {each.key: each.value for each in written.metadata_props}
    predictor = artifact.predictor
    assert facts["weights_sha256"] == predictor.weights_sha256 and facts["encoder"] == "minilm"
    assert json.loads(facts["labels"]) == list(predictor.labels)
    assert json.loads(facts["layer"]) == predictor.engine.layer and facts["pooling"] == predictor.engine.pooling
    written_tokenizer = Tokenizer.from_str(facts["tokenizer.json"])
    tokens = predictor.engine.tokenizer(SENTENCES)
    assert [each.ids[: sum(each.attention_mask)] for each in written_tokenizer.encode_batch(SENTENCES)] == tokens.ids
    assert any(tokens.truncated)


def test_nothing_is_written_that_answers_otherwise(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    (tmp_path / "model.onnx").write_text("was here")
    right = export.run
    monkeypatch.setattr(export, "run", lambda *given: right(*given) + 1e-4)
    done = cli("export", quick, tmp_path / "model.onnx")
    assert done.code == 1 and "not written" in done.err and "1e-05" in done.err
    assert (tmp_path / "model.onnx").read_text() == "was here" and len(list(tmp_path.iterdir())) == 1


def test_places_and_encoders_that_are_refused(quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = load(quick)
    for path, told in ((tmp_path, "is a folder"), (tmp_path / "no" / "m.onnx", "there is no folder")):
        with pytest.raises(UsageError, match=told):
            export.export(artifact, path)
    with monkeypatch.context() as patch:
        patch.setattr(export, "_LIMIT", 1000)
        with pytest.raises(EncoderError, match="more than one ONNX file holds"):
            export.export(artifact, tmp_path / "m.onnx")
    files = SimpleNamespace(name="some/other", title="some/other")
    other = SimpleNamespace(prepared=object(), files=files, lay_out=lambda: None)
    monkeypatch.setattr(Predictor, "engine", property(lambda _: other))
    with pytest.raises(EncoderError, match="this encoder is run by torch"):
        export.export(artifact, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def exported() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks import exported as found

        yield found


def test_a_browser_answers_alike(tmp_path: Path, quick: Path, browser: Any, exported: ModuleType) -> None:
    """1,000 texts, the same ids and probabilities within 1e-5; nothing is asked for elsewhere."""
    if shutil.which("npm") is None:
        (pytest.fail if NEEDED else pytest.skip)("no npm on the path: apt-get install npm")
    site = exported.make_site(tmp_path / "site")
    artifact = load(quick)
    path = export.export(artifact, tmp_path / "quick.onnx").path
    texts = [*SENTENCES, *bulk_rows.sentences(1000 - len(SENTENCES))]
    with exported.opened(browser, site, path) as page:
        ids = page.evaluate("(texts) => texts.map((text) => model.ids(text))", texts)
        assert ids == artifact.predictor.engine.tokenizer(texts).ids
        found = np.array(page.evaluate(exported.CLASSIFY, [texts, 16]))
        page.get_by_label("A sentence").fill(TEXTS[0])
        page.get_by_label("A sentence").press("Enter")
        answer = artifact.predictor.predict(TEXTS[:1]).best()[0]
        page.locator("#answer", has_text=f"{answer}, ").wait_for()
    assert np.abs(found - artifact.predictor.predict(texts).probabilities).max() < 1e-5


def test_the_page_says_what_was_measured(exported: ModuleType) -> None:
    """Real encoders on 1,000 sentences: `python -m benchmarks.exported`."""
    parts = json.loads(exported.RESULTS.read_text())
    assert exported.marks.between(exported.PAGE, exported.BEGIN) == exported.render(parts).strip()
    models = {name: part for name, part in parts.items() if name != "header" and part["precision"] == "fp32"}
    assert {part["encoder"] for part in models.values()} >= {"bert", "mpnet"}
    for name, part in models.items():
        assert part["texts"] == 1000 and max(part["difference"].values()) < 1e-5, name
