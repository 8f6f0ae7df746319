"""The tutorial's walk: what it shows are the real values, and what it measures is what it says."""

from __future__ import annotations

import io
import random
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import train_test_split
from tokenizers import Tokenizer

from firstbert import SentenceEncoder, protocol
from firstbert.catalog import DatasetEntry, encoder_files, rt_rows
from firstbert.errors import DataError, UsageError
from firstbert.head import HeadOptions, fit_head
from firstbert.screen import about_pieces
from firstbert.sources import PinnedFile, WebFile, sha256_of
from firstbert.tutorial import Result, TutorialOptions, run

SENTENCE = "a visually stunning rumination on love"
# As the tutorial itself prints them.
TOKENS = ["[CLS]", "a", "visually", "stunning", "rum", "##ination", "on", "love", "[SEP]"]
IDS = [101, 1037, 17453, 14726, 19379, 12758, 2006, 2293, 102]
ROWS, SEEDS = 200, 3


@dataclass(frozen=True)
class Walk:
    result: Result
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def prose(self) -> str:
        """Without line breaks, which depend on the width."""
        return " ".join(self.text.split())

    def row(self, *starts: str) -> list[str]:
        """The cells of the one line that begins with these."""
        found = [line.split() for line in self.lines if line.split()[: len(starts)] == list(starts)]
        assert len(found) == 1, f"{len(found)} lines begin with {starts}"
        return found[0][len(starts) :]


def walk(width: int = 80, **options: object) -> Walk:
    page = io.StringIO()
    result = run(TutorialOptions(**options), Console(file=page, width=width))  # type: ignore[arg-type]
    return Walk(result, [line.rstrip() for line in page.getvalue().splitlines()])


def shown(number: float) -> str:
    return f"{number:.2f}".replace("-", "−")


@pytest.fixture(scope="module")
def rt() -> Walk:
    return walk(data="rt", rows=ROWS, seeds=SEEDS)


@pytest.fixture(scope="module")
def sample() -> tuple[list[str], np.ndarray]:
    """What the walk should have taken, taken in another way."""
    everything = rt_rows()
    order = np.random.default_rng(0).permutation(10_605)[:ROWS]
    return [everything[i][0] for i in order], np.array([everything[i][1] for i in order])


# ---- what is shown ---------------------------------------------------------------------------------------


def test_label_counts(rt: Walk, sample: tuple[list[str], np.ndarray]) -> None:
    negative = int((sample[1] == 0).sum())
    assert rt.row("0", "(negative)")[:2] == [f"{negative}", f"{negative / ROWS:.1%}"]
    assert rt.row("1", "(positive)")[:2] == [f"{ROWS - negative}", f"{1 - negative / ROWS:.1%}"]


def test_tokens_and_ids(rt: Walk) -> None:
    assert rt.row("token", "[CLS]") == TOKENS[1:]
    assert rt.row("id") == [f"{i}" for i in IDS]
    assert "'rumination' is too rare for an id of its own, so it is put together from rum ##ination" in rt.prose


def test_matrix_and_mask(rt: Walk, sample: tuple[list[str], np.ndarray]) -> None:
    start = next(i for i, line in enumerate(rt.lines) if line.split() == ["ids", "mask"])
    rows = [[int(cell) for cell in line.split()] for line in rt.lines[start + 1 : start + 5]]
    assert rows[0] == IDS + [1] * 9
    known = tokenised(sample[0])
    for row in rows[1:]:
        ids, mask = row[:9], row[9:]
        n = sum(mask)
        assert mask == [1] * n + [0] * (9 - n)
        assert ids[:n] in known
        assert ids[n:] == [0] * (9 - n)


def test_what_padding_wastes(rt: Walk, sample: tuple[list[str], np.ndarray]) -> None:
    lengths = [len(ids) for ids in tokenised(sample[0])]
    real, together = sum(lengths), ROWS * max(lengths)
    cells = rt.row("all", "in", "one", "matrix")
    assert cells == ["1", f"{together:,}", f"{real:,}", f"{1 - real / together:.1%}"]
    _, places, same, wasted = rt.row("batches", "of", "like", "length")
    assert same == f"{real:,}"
    assert wasted == f"{1 - real / int(places.replace(',', '')):.1%}"
    assert float(wasted.rstrip("%")) < 10
    assert f"(here {max(lengths)} tokens)" in rt.prose


def tokenised(texts: list[str]) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(encoder_files("minilm").tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [tokenizer.encode(text).ids for text in texts]


def test_hidden_states_and_both_vectors(rt: Walk) -> None:
    assert "4 sentences × 9 tokens × 384 numbers, shape (4, 9, 384)" in rt.prose
    assert f"All {ROWS} sentences: shape ({ROWS}, 384) each way" in rt.prose
    cls, mean = (SentenceEncoder("minilm", pooling=pooling).transform([SENTENCE])[0] for pooling in ("cls", "mean"))
    states = next(line.split() for line in rt.lines if line.startswith("  [CLS] ") and "…" in line)
    assert states[1:] == [*map(shown, cls[:5]), "…", shown(cls[-1])]
    assert rt.row("[CLS]", "[:,", "0,", ":]") == [*map(shown, cls[:3]), "…", shown(cls[-1])]
    assert rt.row("mean", "mean", "over", "tokens") == [*map(shown, mean[:3]), "…", shown(mean[-1])]


def test_split_grid_and_examination(rt: Walk, sample: tuple[list[str], np.ndarray]) -> None:
    texts, y = sample
    train, test = train_test_split(np.arange(ROWS), test_size=0.25, random_state=0)
    assert rt.row("to", "learn", "from")[0] == "150"
    assert rt.row("for", "the", "examination") == ["50", f"{(y[test] == 0).mean():.1%}", f"{y[test].mean():.1%}"]
    X = SentenceEncoder("minilm", pooling="mean").transform(texts)
    fit = fit_head(X[train], y[train], HeadOptions())
    marked = [line.split() for line in rt.lines if "▶" in line and "%" in line]
    assert f"{fit.C:g}" in [cells[0] for cells in marked if cells[-2] == "▶"]
    right = int((fit.head.scores(X[test]).argmax(axis=1) == y[test]).sum())
    scores = [line.split() for line in rt.lines if re.fullmatch(r"  mean +\d+ +50 +[\d.]+%", line)]
    assert scores == [["mean", f"{right}", "50", f"{right / 50:.1%}"]]
    assert 'And "a visually stunning rumination on love"? Model 2 says 1 (positive)' in rt.prose


def test_table_has_the_published_figures_and_the_measured_ones(rt: Walk) -> None:
    for figure in ("96.8", "94.9", "90.7", "82.4", "81"):
        assert re.search(rf"│ +{re.escape(figure)} │", rt.text), figure
    for row in rt.result.rows:
        figure = f"{100 * row.accuracy_mean:.1f} ± {100 * row.accuracy_sd:.1f}"
        assert re.search(rf"│ {row.name} [^\n]* {figure} │", rt.text), row.name
    assert "mean-last (encoder's own)" in rt.text
    assert "cls-last (tutorial's)" in rt.text


@pytest.mark.parametrize("width", [80, 120])
def test_fits_on_the_screen(width: int) -> None:
    page = walk(width, data="rt", rows=60, seeds=1)
    assert max(map(len, page.lines)) <= width
    assert 120 <= len(page.lines) <= 190
    assert re.findall(r"^(\d+) · ", page.text, re.MULTILINE) == [f"{i}" for i in range(1, 12)]


# ---- what is measured ------------------------------------------------------------------------------------


def test_result_has_the_names_and_keys_that_others_rely_on(rt: Walk) -> None:
    result = rt.result.as_dict()
    assert {"rows", "data", "encoder"} <= set(result)
    assert (result["data"], result["encoder"], result["n"]) == ("rt", "minilm", ROWS)
    assert [row["name"] for row in result["rows"]] == ["dummy", "cls-last", "mean-last", "auto"]
    for row in result["rows"]:
        assert set(row) == {"name", "accuracy_mean", "accuracy_sd", "seeds"}
        assert row["seeds"] == SEEDS


@pytest.mark.parametrize("name", ["cls-last", "mean-last"])
def test_accuracy_is_that_of_the_tutorials_protocol(rt: Walk, sample: tuple[list[str], np.ndarray], name: str) -> None:
    texts, y = sample
    X = SentenceEncoder("minilm", pooling=name.removesuffix("-last")).transform(texts)
    accuracies = []
    for seed in range(SEEDS):
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed)
        head = fit_head(X_train, y_train, HeadOptions(seed=seed)).head
        accuracies.append((head.scores(X_test).argmax(axis=1) == y_test).mean())
    row = next(row for row in rt.result.rows if row.name == name)
    assert row.accuracy_mean == pytest.approx(np.mean(accuracies), abs=0.011)  # one row of 150 may sit on the line
    assert row.accuracy_sd == pytest.approx(np.std(accuracies, ddof=1), abs=0.011)


def test_dummy_is_scikit_learns(rt: Walk, sample: tuple[list[str], np.ndarray]) -> None:
    y = sample[1]
    accuracies = []
    for seed in range(SEEDS):
        train, test = train_test_split(y, random_state=seed)
        accuracies.append(DummyClassifier().fit(train, train).score(test, test))
    row = rt.result.rows[0]
    assert (row.accuracy_mean, row.accuracy_sd) == pytest.approx((np.mean(accuracies), np.std(accuracies, ddof=1)))
    assert f"It gets {accuracies[0]:.1%} right" in rt.prose


def test_reading_sentences_beats_not_reading_them(rt: Walk) -> None:
    dummy, _, mean, auto = rt.result.rows
    assert min(mean.accuracy_mean, auto.accuracy_mean) > dummy.accuracy_mean + 0.1


def test_the_layer_is_chosen_by_the_rows_to_learn_from(rt: Walk, sample: tuple[list[str], np.ndarray]) -> None:
    texts, y = sample
    marked = next(line.split() for line in rt.lines if "▶" in line and line.split()[0] in "123456")
    pooling = "cls" if marked.index("▶") == 2 else "mean"
    X = SentenceEncoder("minilm", pooling=pooling, layer=int(marked[0])).transform(texts)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    fit = fit_head(X_train, y_train, HeadOptions())
    assert f"{min(loss for _, loss in fit.curve.values()):.3f}" == marked[marked.index("▶") + 1]
    right = (fit.head.scores(X_test).argmax(axis=1) == y_test).mean()
    assert f"Layer {marked[0]} gets {right:.1%} of the examination right" in rt.prose


# ---- which data, which encoder ---------------------------------------------------------------------------


def entry(sha256: str) -> DatasetEntry:
    """sst2 as the catalogue has it, but for its hash."""
    file = PinnedFile("train.tsv", sha256, (WebFile("https://example.invalid/train.tsv"),))
    return DatasetEntry("sst2", "", "", {}, {"train": file})


def test_rt_is_taken_and_said_where_sst2_is_out_of_reach(rt: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTBERT_OFFLINE", "1")  # rt is on this machine by now
    monkeypatch.setattr(protocol, "dataset", lambda name: entry("0" * 64))
    fallen_back = walk(rows=60, seeds=1)
    assert "sst2, can't be reached from here; rt is taken instead" in fallen_back.prose
    assert "FIRSTBERT_OFFLINE=1 forbids" in fallen_back.prose
    assert fallen_back.result.data == "rt"
    assert "measured, rt" in fallen_back.text
    assert "can't be reached" not in rt.prose  # who asked for rt is told nothing of the kind


def test_a_mirrors_own_words_are_the_reason() -> None:
    error = protocol.SourceError("train.tsv could not be had from any mirror:\n  1. https://a.b/c: no answer: x\n…")
    assert protocol._reason(error) == "no answer: x"


def test_the_tutorials_own_file_is_known_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{text}\t{label}" for text, label in [*rt_rows()[:1_000:40], *rt_rows()[-1_000::40]]]
    path = tmp_path / "mine.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert protocol.take_sample(str(path), 60).known is None
    monkeypatch.setattr(protocol, "dataset", lambda name: entry(sha256_of(path)))
    assert protocol.take_sample(str(path), 60).known == "sst2"


def three_labels(path: Path) -> Path:
    """96 rows about weather, food and [music], one of which tries to steer the terminal."""
    words = {
        "weather": ["rain", "sun", "snow", "wind"],
        "food": ["bread", "soup", "cheese", "rice"],
        "[music]": ["a violin", "a song", "a drum", "a choir"],
    }
    frames = ["I like {}", "There was {}", "No {} today", "Give me {}", "{} again!", "So much {}", "{} at noon", "{}?"]
    rows = [(frame.format(w), label) for label, all_ in words.items() for w in all_ for frame in frames]
    random.Random(0).shuffle(rows)
    rows[0] = ("I like \x1b[31mrain, but not today", "weather")
    path.write_text("text\tlabel\n" + "\n".join("\t".join(row) for row in rows), encoding="utf-8")
    return path


def test_a_file_with_three_labels(tmp_path: Path) -> None:
    path = three_labels(tmp_path / "three.tsv")
    page = walk(data=str(path), seeds=1)
    assert page.result.n == 96
    assert page.result.data == str(path)
    assert [page.row(label)[0] for label in ("[music]", "food", "weather")] == ["32"] * 3
    assert "\x1b" not in page.text
    assert "published" not in page.text
    assert "±" not in page.text.partition("What it comes to")[2]  # of one split there is no spread
    assert page.result.rows[2].accuracy_mean > 0.6  # a third would be chance
    assert str(path) in "".join(page.lines).partition("firstbert train")[2]


def test_an_encoder_of_which_nothing_says_how_to_read_it(tmp_path: Path) -> None:
    files = encoder_files("minilm")
    for path in (files.config, files.tokenizer, *files.weights):
        (tmp_path / "mine").mkdir(exist_ok=True)
        shutil.copyfile(path, tmp_path / "mine" / path.name)
    page = walk(120, data="rt", encoder=f"{tmp_path / 'mine'}/", rows=60, seeds=1)
    assert page.result.own == "cls-last"
    assert "cls-last (tutorial's, encoder's own)" in page.text
    assert "mine was made to be read by [CLS]" in page.prose


# ---- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 39}, "'rows' option of the tutorial must be an int of at least 40. Got 39"),
        ({"rows": True}, "'rows' option"),
        ({"seeds": 0}, "'seeds' option of the tutorial must be an int of at least 1. Got 0"),
        ({"seeds": 2.5}, "'seeds' option"),
    ],
)
def test_options_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        TutorialOptions(**options)  # type: ignore[arg-type]


def test_too_few_rows_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "few.tsv"
    path.write_text("".join(f"row number {i}\t{i % 2}\n" for i in range(39)))
    with pytest.raises(DataError, match=r"few\.tsv: 39 rows; the tutorial needs at least 40"):
        walk(data=str(path))


def test_a_file_of_nearly_one_label(tmp_path: Path) -> None:
    path = tmp_path / "sorted.tsv"
    path.write_text("".join(f"row number {i}\t{int(i > 52)}\n" for i in range(100)))
    with pytest.raises(DataError, match="of the 60 rows taken, all but 7 carry one label"):
        walk(data=str(path), rows=60)


# ---- how things are written ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["[CLS]", "un", "##believ", "##able", "art", "[SEP]"], "'unbelievable' is too rare"),
        (["<s>", "a", "Ġvisually", "</s>"], "Ġ[/] stands for the space"),
        (["<s>", "▁a", "▁vis", "</s>"], "▁[/] stands for the space"),
        (["[CLS]", "love", "[SEP]"], ""),
    ],
)
def test_marks_on_pieces_of_words_are_explained(words: list[str], said: str) -> None:
    assert said in about_pieces(words)
    assert bool(about_pieces(words)) is bool(said)
