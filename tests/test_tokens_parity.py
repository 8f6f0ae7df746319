"""Token ids and truncation against transformers' own tokenizers, live where transformers is installed.

minilm's tokenizer comes through the catalogue; mpnet's only where its files are on this machine already, or
where FIRSTBERT_TEST_MPNET names a folder that holds them, for its weights are 400 MB.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from firstbert.catalog import encoder_files
from firstbert.errors import EncoderError, FirstbertError
from firstbert.folders import EncoderFiles
from firstbert.tokens import Tokenizer

# Read before any test can clear the environment.
MPNET = os.environ.get("FIRSTBERT_TEST_MPNET")

TEXTS = {
    "plain": "The kettle whistled, and nobody got up.",
    "empty": "",
    "spaces": "   \t\n  ",
    "one letter": "a",
    "punctuation": "?!... -- (\u2018quoted\u2019) \u201cdouble\u201d \u2014 dash; #tag @name 50% \u20ac3.99",
    "case": "SHOUTING and CamelCase and iPhone",
    "accents": "Ça déjà vu, naïve façade, Ærøskøbing, İstanbul, Straße",
    "combining": "e\u0301a\u0300 and a\u0323\u0302 next to é à",
    "emoji": "great 😀😀 👩\u200d👩\u200d👧 🏳️\u200d🌈 👍🏽",
    "CJK": "東京は晴れ。北京天气好 한국어 문장",
    "right to left": "שלום עולם مرحبا",
    "Indic": "नमस्ते दुनिया ครับ",
    "special BERT": "before [SEP] after [CLS] [PAD] [MASK] [UNK]",
    "special fairseq": "before </s> after <s> <pad> <mask> <unk>",
    "control": "bell\u0007 null\u0000 escape\u001b[0m soft\u00adhyphen zero\u200bwidth bom\ufeff",
    "odd spaces": "non\u00a0breaking thin\u2009space ideographic\u3000space line\u2028end",
    "replacement": "broken \ufffd bytes",
    "long word": "a" * 300,
    "address": "https://example.org/a_b?c=d&e=%20 mail.name+tag@example.org",
    "numbers": "3.14159 1,000,000 1e-5 ½ ² ①",
    "maths": "∀x∈ℝ: x² ≥ 0 ⇒ 𝒳",
    "long": "two hours of my life that I will never get back " * 80,
    "long CJK": "長い文章" * 200,
    "exactly full": " ".join(["word"] * 254),
    "one too many": " ".join(["word"] * 255),
}


def minilm() -> EncoderFiles:
    return encoder_files("minilm")


def mpnet() -> EncoderFiles:
    if MPNET:
        return encoder_files(Path(MPNET))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTBERT_OFFLINE", "1")
        return encoder_files("mpnet")


@pytest.fixture(scope="module", params=[minilm, mpnet])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[EncoderFiles, Any]:
    """An encoder's files, and the tokenizer that transformers makes of them."""
    transformers = pytest.importorskip("transformers")
    try:
        files = request.param()
    except FirstbertError as error:
        pytest.skip(f"not on this machine: {error}")
    folder = tmp_path_factory.mktemp("tokenizer")
    for path in (files.config, files.tokenizer):  # the cache keeps each in a folder of its own
        shutil.copy(path, folder)
    return files, transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("max_length", [2, 3, 16, 256, 512])
def test_ids_equal_transformers(both: tuple[EncoderFiles, Any], max_length: int) -> None:
    files, theirs = both
    ours = Tokenizer(files.tokenizer, max_length, vocabulary=31_000)(list(TEXTS.values()))
    for name, text, ids, truncated in zip(TEXTS, TEXTS.values(), ours.ids, ours.truncated, strict=True):
        cut = theirs(text, truncation=True, max_length=max_length)["input_ids"]
        whole = theirs(text, truncation=False)["input_ids"]
        assert ids == cut, name
        assert truncated == (len(whole) > max_length), name
        assert len(ids) <= max_length, name


def test_what_stands_in_the_file_is_replaced(both: tuple[EncoderFiles, Any]) -> None:
    """minilm's file asks for padding to 128 and for a cut there."""
    files, _ = both
    tokens = Tokenizer(files.tokenizer, 512, vocabulary=31_000)(["short", "word " * 300])
    assert [len(ids) for ids in tokens.ids] == [3, 302]
    assert tokens.truncated == [False, False]


def test_a_book_gives_the_tokens_that_it_gives_as_a_whole() -> None:
    """Only its beginning is looked at; white space, words without end and odd letters must not show that."""
    path = encoder_files("minilm").tokenizer
    short, whole = Tokenizer(path, 32, 30522), Tokenizer(path, 32, 30522)
    whole._long = 10**9
    rng = random.Random(0)
    letters = ["a", "b ", "é", "e\u0301", "\n", "\t ", "，", "你", "--", ". ", "\u00ad", "x" * 150]
    texts = ["".join(rng.choices(letters, k=rng.choice((1500, 3000, 30000)))) for _ in range(40)]
    texts += ["x" * 100_000, " " * 100_000 + "end", "word " * 50_000, "x" * 5000 + " y" * 3000]
    for text in texts:
        assert len(text) > short._long or len(text) < 9000
        assert short([text]) == whole([text])


# ---- vocab.txt -------------------------------------------------------------------------------------------

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "ete", "été", "Été", "東京", "東", "京", "."]


def from_vocabulary(folder: Path, options: dict[str, Any] | None) -> Tokenizer:
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    if options is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(options))
    return Tokenizer(folder / "vocab.txt", 16, len(WORDS))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (None, "ete 東 京 ."),
        ({"strip_accents": None, "tokenizer_class": None}, "ete 東 京 ."),
        ({"do_lower_case": True, "strip_accents": False}, "été 東 京 ."),
        ({"do_lower_case": False}, "Été 東 京 ."),
        ({"do_lower_case": False, "strip_accents": True}, "[UNK] 東 京 ."),
        ({"tokenize_chinese_chars": False, "tokenizer_class": "DistilBertTokenizerFast"}, "ete 東京 ."),
    ],
)
def test_what_the_options_make_of_a_vocabulary(tmp_path: Path, options: dict[str, Any] | None, wanted: str) -> None:
    ours = from_vocabulary(tmp_path, options)("Été 東京.".splitlines()).ids[0]
    assert [WORDS[i] for i in ours] == ["[CLS]", *wanted.split(), "[SEP]"]
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizer(str(tmp_path / "vocab.txt"), **options or {})
    assert theirs("Été 東京.")["input_ids"] == ours


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"do_lower_case": "false"}, "'do_lower_case' must be true or false. Got 'false'"),
        ({"do_lower_case": None}, "'do_lower_case' must be true or false. Got None"),
        ({"strip_accents": 0}, "'strip_accents' must be true or false. Got 0"),
        ({"tokenize_chinese_chars": []}, "'tokenize_chinese_chars' must be true or false"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize false can't be had.*writes tokenizer.json"),
        ({"tokenizer_class": "MPNetTokenizer"}, "tokenizer_class 'MPNetTokenizer' can't be had"),
        ({"tokenizer_class": ["BertTokenizer"]}, "tokenizer_class a list of 1 can't be had"),
    ],
)
def test_options_that_a_vocabulary_is_not_read_by(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(EncoderError, match=f"tokenizer_config.json: {told}"):
        from_vocabulary(tmp_path, options)
