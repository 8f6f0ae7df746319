"""Texts → token ids, and for each text whether it was cut.

After data.py on the way of a sentence. The tokenizer is the encoder's own tokenizer.json; padding and truncation
written in that file are replaced by ours.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import __version__ as library

from firstbert.catalog import encoders
from firstbert.errors import DataError, EncoderError, OptionError
from firstbert.folders import read_json
from firstbert.strict import plain_bytes, reason, shown
from firstbert.vetting import SIZE, SPECIAL, vet


@dataclass(frozen=True)
class Tokens:
    """Token ids of N texts.

    Attributes:
        ids: one list per text, special tokens included, at most `max_length` long.
        truncated: whether the text was longer than that and lost its end.
    """

    ids: list[list[int]]
    truncated: list[bool]


@dataclass(frozen=True)
class Piece:
    """A token and where it stands in its text.

    Attributes:
        token: as the vocabulary spells it.
        id: its row of the encoder's word table.
        start, end: the characters of the text that it stands for, from 0; both 0 for special tokens.
        word: which word it is a part of, counted from 0; None for special tokens.
    """

    token: str
    id: int
    start: int
    end: int
    word: int | None

    @property
    def special(self) -> bool:
        """Whether it stands for none of the text: [CLS], [SEP] and the like."""
        return self.word is None


class Tokenizer:
    """An encoder's tokenizer.

    Args:
        path: its tokenizer.json, or the vocab.txt of a BERT-like encoder.
        max_length: the most tokens a text may have, special ones included; what is longer is cut at its end.
        vocabulary: how many rows the encoder's word table has; no id may lie beyond it.

    Raises:
        EncoderError: the file is no tokenizer, does what isn't taken (vetting.py), or gives ids that the encoder
            doesn't know.
        OptionError: `max_length` leaves no room for the special tokens.
    """

    def __init__(self, path: Path, max_length: int, vocabulary: int) -> None:
        self._path, self._vocabulary = path, vocabulary
        self._rust = _open(path)
        if self._rust.get_vocab_size(with_added_tokens=True) > vocabulary:
            raise self._foreign(max(self._rust.get_vocab(with_added_tokens=True).values()))
        with _told(path):
            self._rust.no_padding()
            special = self._rust.num_special_tokens_to_add(False)
        if not 0 < special <= SPECIAL:
            raise EncoderError(
                f"{path}: adds {special} special tokens such as [CLS]; supported encoders read 1 to {SPECIAL}."
            )
        if max_length < special:
            raise OptionError("max_length", f"max_length={max_length} leaves no room for the {special} special tokens.")
        with _told(path):
            self._rust.enable_truncation(max_length)
        words = type(self._rust.pre_tokenizer).__name__ == "BertPreTokenizer"  # never looks beyond white space
        self._long = max_length * 64 if words else sys.maxsize

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Return the ids of each text.

        Raises:
            TypeError, UnicodeEncodeError: an item is no text; `refuse` says which.
            EncoderError: a text has an id that the encoder doesn't know.
        """
        with _told(self._path):
            encodings = self._rust.encode_batch_fast([self._beginning(text) for text in texts])
        ids = [e.ids for e in encodings]
        # Numbering may have gaps, so their count alone proves nothing; to list all of them takes 10 ms of each start.
        if (highest := max(map(max, ids), default=0)) >= self._vocabulary:
            raise self._foreign(highest)
        return Tokens(ids, [bool(e.overflowing) for e in encodings])

    def _beginning(self, text: str) -> str:
        """Return as much of a text as decides its first tokens: a book would take seconds, and memory."""
        if not isinstance(text, str):
            raise TypeError(f"Got {type(text).__name__} instead of a text.")  # the library takes a tuple as a pair
        size = self._long
        while size < len(text):
            start = text[: text.rfind(" ", 0, size) + 1]
            if start and len(self._rust.encode(start).overflowing) > 1:
                return start
            size *= 4
        return text

    def _foreign(self, highest: int) -> EncoderError:
        return EncoderError(
            f"{self._path}: its ids go up to {highest}, but the encoder's word table has {self._vocabulary} rows. "
            "The tokenizer belongs to another encoder."
        )

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of all that it does, as opened: the files may have changed since."""
        return hashlib.sha256(self._rust.to_str().encode()).hexdigest()

    def standalone(self, padding_id: int) -> RustTokenizer:
        """Return it as the library "tokenizers" has it: it cuts texts as this one does, and pads batches."""
        alone = RustTokenizer.from_str(self._rust.to_str())
        alone.enable_padding(pad_id=padding_id, pad_token=alone.id_to_token(padding_id) or "[PAD]")
        return alone

    def pieces(self, text: str) -> list[Piece]:
        """Return the tokens of one text, special ones included, each with its place."""
        with _told(self._path):
            encoding = self._rust.encode(self._beginning(text))
        if (highest := max(encoding.ids, default=0)) >= self._vocabulary:
            raise self._foreign(highest)
        rows = zip(encoding.tokens, encoding.ids, encoding.offsets, encoding.word_ids, strict=True)
        return [Piece(token, id_, *span, word) for token, id_, span, word in rows]


def refuse(texts: Sequence[object], start: int = 0) -> None:
    """Name the first item that is no text, counting from `start`.

    Raises:
        DataError: an item is no text, or holds half of a surrogate pair.
    """
    for i, text in enumerate(texts, start):
        if not isinstance(text, str):
            raise DataError(f"Text {i} (counted from 0) must be a str. Got {type(text).__name__} instead.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"Text {i} (counted from 0) holds half of a surrogate pair at character {error.start}; "
                "it is no valid Unicode text."
            ) from error


def hash_of_tokenizer(path: Path) -> str:
    """Return a hash of what decides a tokenizer's ids, its files and the library's version; it isn't opened for that.

    Raises:
        EncoderError: a file can't be read.
    """
    beside = [_options_of(path)] if path.name == "vocab.txt" else []
    try:
        files = [path, *(file for file in beside if file.is_file())]
        hashes = [hashlib.sha256(plain_bytes(file.resolve(), SIZE)).hexdigest() for file in files]
    except (OSError, RuntimeError, ValueError) as error:
        raise EncoderError(f"{path}: not a readable tokenizer ({reason(error)}).") from error
    return hashlib.sha256("\n".join([library, *hashes]).encode()).hexdigest()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell the library's errors, which are bare Exceptions, and its panics, which aren't even that.

    Raises:
        EncoderError: whatever was raised inside; a TypeError or UnicodeEncodeError, of a text, passes.
    """
    try:
        yield
    except (EncoderError, TypeError, UnicodeEncodeError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise EncoderError(f"{path}: not a readable tokenizer ({reason(error)}).") from error


def _open(path: Path) -> RustTokenizer:
    try:
        data = plain_bytes(path.resolve(), SIZE)
        if path.name != "vocab.txt" and hashlib.sha256(data).hexdigest() not in _known():
            vet(data)
    except (OSError, RuntimeError, ValueError) as error:  # of a loop of links, too
        raise EncoderError(f"{path}: not a readable tokenizer ({reason(error)}).") from error
    with _told(path):
        return _from_vocabulary(path) if path.name == "vocab.txt" else RustTokenizer.from_buffer(data)


@cache
def _known() -> frozenset[str | None]:
    """The hashes of the catalogue's own: looking at one takes as long as opening it."""
    return frozenset(entry.files[1].sha256 for entry in encoders())


# Tokenizers of transformers that make the same of a vocab.txt; others cut otherwise or have other special tokens.
_BERT_LIKE = re.compile(r"(Bert|ConvBert|DistilBert|Electra|MobileBert|SqueezeBert)Tokenizer(Fast)?")


def _from_vocabulary(path: Path) -> RustTokenizer:
    """A WordPiece tokenizer from the file that BERT came with before tokenizer.json."""
    from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

    options = _Options(_options_of(path))
    options.refuse_variants()
    lowercase, chinese = options.flag("do_lower_case"), options.flag("tokenize_chinese_chars")
    accents = options.flag("strip_accents", None)  # None: where it makes letters small
    try:
        wordpiece = BertWordPieceTokenizer(
            str(path), lowercase=lowercase, strip_accents=accents, handle_chinese_chars=chinese
        )
    except TypeError as error:  # of a vocabulary without [CLS] or [SEP]
        raise EncoderError(f"{path}: not a readable tokenizer ({reason(error)}).") from error
    return RustTokenizer.from_str(wordpiece.to_str())


def _options_of(vocabulary: Path) -> Path:
    return vocabulary.with_name("tokenizer_config.json")


class _Options:
    """tokenizer_config.json, which may be missing, as far as it says what to make of a vocab.txt."""

    def __init__(self, path: Path) -> None:
        self.path, self.values = path, read_json(path) if path.is_file() else {}

    def flag(self, name: str, default: bool | None = True) -> Any:
        """A bool, or the default where nothing says it."""
        value = self.values.get(name, default)
        if value is not default and not isinstance(value, bool):
            raise EncoderError(f"{self.path}: {name!r} must be true or false. Got {shown(value)} instead.")
        return value

    def refuse_variants(self) -> None:
        kind = self.values.get("tokenizer_class") or "BertTokenizer"
        if not isinstance(kind, str) or not _BERT_LIKE.fullmatch(kind):
            told = f"tokenizer_class {shown(kind)}"
        elif not self.flag("do_basic_tokenize"):
            told = "do_basic_tokenize false"
        else:
            return
        raise EncoderError(
            f"{self.path}: {told} can't be had from vocab.txt alone. transformers' "
            "AutoTokenizer.from_pretrained(…).save_pretrained(…) writes tokenizer.json."
        )
