r"""tokenizer.json → whether all that it would do to a text is bounded; or what isn't.

After strict.py on the way of a sentence; tokens.py opens no tokenizer.json that hasn't passed. The file is a small
program: a pattern can take hours over a line, a replacement can turn a letter into megabytes, and a dropout answers by
chance. What published encoders do is known, though, and is all that is taken: each kind of step with bounds of its own.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

from firstbert.strict import json_object, shown

SIZE = 50_000_000  # bytes; XLM-R's has 17 million, Gemma's 34
_PARTS = 1_500_000  # lists and objects: an entry of a Unigram vocabulary or of BPE's merges is one

_KINDS = {
    "normalizer": (
        "BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Prepend",
        "Replace", "Sequence", "Strip", "StripAccents",
    ),
    "pre_tokenizer": (
        "BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "Metaspace", "Punctuation", "Sequence",
        "Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit",
    ),
    "post_processor": ("BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"),
}  # fmt: skip
_INNER = ("normalizers", "pretokenizers", "processors")  # where a Sequence has its steps
_OFTEN = ("Replace", "Sequence", "Split")  # every other kind may stand there once: ByteLevel doubles a text each time
_STEPS = 32  # of one kind of place
_GROWTH = 64  # how many times longer all replacements together may make a text
_WORD = 200  # characters of a word that WordPiece may take apart, which takes their cube; BERT has 100
_STRING = 200  # characters of a token or a prefix that is a setting
_ADDED = 1_000_000  # characters of all added tokens
_MAPPED = 256  # bytes that a character may be mapped to; Unicode's longest has 33
SPECIAL = 16  # tokens put around a text

# Patterns that match in a time that grows as the text does. A class, a letter or an escape, once or repeated, and such
# side by side as alternatives; and, as they are, the ones that published tokenizers split words with.
_ATOM = r"(?:\[\^?(?:\\.|[^\[\]\\&])+\]|\\[pP]\{\^?\w+\}|\\u[0-9a-fA-F]{4}|\\[dDsSwWnrt]|\\[^\w]|[^\\\[\](){}*+?|^$.])"
_ONCE_OR_MORE = r"(?:\+|\{[1-9]\d?(?:,(?:\d\d?)?)?\})?"
_SIMPLE = re.compile(rf"{_ATOM}{_ONCE_OR_MORE}(?:\|{_ATOM}{_ONCE_OR_MORE})*")
_LIKE_GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LIKE_GPT_4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
KNOWN_PATTERNS = frozenset(("^ $", _LIKE_GPT_2, *(number.join(_LIKE_GPT_4) for number in (r"\p{N}", r"\p{N}{1,3}"))))


def vet(data: bytes) -> None:
    """Look at a tokenizer.json before the library "tokenizers" does.

    Raises:
        ValueError: what in it isn't taken.
    """
    facts = json_object(data, _PARTS)
    for place, kinds in _KINDS.items():
        _vet_steps(place, list(_steps(facts.get(place), kinds, place)))
    for place in (*_KINDS, "decoder"):  # the last has no part in reading texts, but its patterns are compiled as well
        _vet_values(place, facts.get(place))
    _vet_model(facts.get("model"))
    _vet_added(facts.get("added_tokens"))


def _steps(one: Any, kinds: tuple[str, ...], place: str) -> Iterator[dict[str, Any]]:
    """The steps of a place, those of sequences one by one."""
    if one is None:
        return
    kind = one.get("type") if isinstance(one, dict) else one
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{place}: {shown(kind)} is none of {', '.join(kinds)}")
    one = {"type": kind} if one == kind else one  # some steps may be written as their names
    yield one
    for name in _INNER if kind == "Sequence" else ():
        inner = one.get(name, [])
        if not isinstance(inner, list):
            raise ValueError(f"{place}: {name!r} must be a list")
        for each in inner:
            yield from _steps(each, kinds, place)


def _vet_steps(place: str, steps: list[dict[str, Any]]) -> None:
    counts = Counter(step["type"] for step in steps)
    twice = [kind for kind, n in counts.items() if n > 1 and kind not in _OFTEN]
    if len(steps) > _STEPS or twice:
        raise ValueError(f"{place}: {f'{twice[0]} stands there twice' if twice else f'over {_STEPS} steps'}")
    if prod(max(1, _length(step.get("content"))) for step in steps if step["type"] == "Replace") > _GROWTH:
        raise ValueError(f"{place}: its replacements could make a text over {_GROWTH} times as long")
    for step in steps:
        if step["type"] == "Precompiled":
            _vet_map(step.get("precompiled_charsmap"))
        if step["type"] == "TemplateProcessing":
            _vet_template(step.get("single"), step.get("special_tokens"))


def _length(content: Any) -> int:
    if not isinstance(content, str):
        raise ValueError(f"normalizer: a replacement must be a text. Got {shown(content)} instead")
    return len(content)


def _vet_map(map_: Any) -> None:
    """SentencePiece's table: the length of a trie, the trie, then all that characters are mapped to, zeros between."""
    if map_ is None:
        return
    try:
        raw = base64.b64decode(map_, validate=True)
    except (TypeError, ValueError):
        raise ValueError("normalizer: precompiled_charsmap is no base64") from None
    begin = 4 + int.from_bytes(raw[:4], "little")
    if begin % 4 or not 8 <= begin <= len(raw):
        raise ValueError("normalizer: precompiled_charsmap holds no such table as its beginning says")
    if max(map(len, raw[begin:].split(b"\0"))) > _MAPPED:
        raise ValueError(f"normalizer: precompiled_charsmap maps a character to over {_MAPPED} bytes")


def _vet_template(single: Any, tokens: Any) -> None:
    """One text, a few tokens around it."""
    parts = [part if isinstance(part, dict) else {} for part in single] if isinstance(single, list) else []
    named = [part["SpecialToken"] for part in parts if set(part) == {"SpecialToken"}]
    if [set(part) for part in parts].count({"Sequence"}) != 1 or len(parts) != len(named) + 1 or len(named) > SPECIAL:
        raise ValueError(f"post_processor: its template must hold the text once, and up to {SPECIAL} special tokens")
    for token in named:
        name = token.get("id") if isinstance(token, dict) else None
        if not isinstance(name, str) or not isinstance(tokens, dict) or name not in tokens:
            raise ValueError(f"post_processor: {shown(token)} of its template is none of its special_tokens")
        _vet_special(name, tokens[name])


def _vet_special(name: str, facts: Any) -> None:
    """One id, one token: the library takes several, and also one of these without the other."""
    for key, kind in (("ids", int), ("tokens", str)):
        values = facts.get(key) if isinstance(facts, dict) else None
        if not isinstance(values, list) or [type(value) for value in values] != [kind]:
            raise ValueError(f"post_processor: {shown(name)} must stand for one id and one token")


def _vet_values(place: str, value: Any) -> None:
    """All settings at any depth: no long texts, and only patterns that are known to be quick."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("Regex", "String"):
                _vet_pattern(place, key, inner)
            elif key != "precompiled_charsmap":
                _vet_values(place, inner)
    elif isinstance(value, list):
        for inner in value:
            _vet_values(place, inner)
    elif isinstance(value, str) and len(value) > _STRING:
        raise ValueError(f"{place}: {shown(value)} is over {_STRING} characters long")


def _vet_pattern(place: str, kind: str, pattern: Any) -> None:
    if not isinstance(pattern, str) or not pattern or len(pattern) > _STRING:
        raise ValueError(
            f"{place}: {shown(pattern)} is no pattern that is taken: it must be a text, neither empty nor long"
        )
    if kind == "Regex" and pattern not in KNOWN_PATTERNS and not _SIMPLE.fullmatch(pattern):
        raise ValueError(
            f"{place}: the pattern {shown(pattern)} is neither a repeated class of characters nor one that published "
            "tokenizers have; others could take hours over a text"
        )


def _vet_model(model: Any) -> None:
    if not isinstance(model, dict):
        raise ValueError("model: missing")
    if model.get("dropout") not in (None, 0):
        raise ValueError("model: with a dropout the same text would get other tokens each time")
    longest = model.get("max_input_chars_per_word", 100)
    if type(longest) is not int or not 0 < longest <= _WORD:
        raise ValueError(
            f"model: max_input_chars_per_word must be an int in [1, {_WORD}]. Got {shown(longest)} instead"
        )
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "unk_token"):
        _vet_values("model", model.get(name))


def _vet_added(tokens: Any) -> None:
    if not isinstance(tokens, list | None):
        raise ValueError(f"added_tokens: must be a list. Got {shown(tokens)} instead")
    for token in tokens or ():
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise ValueError(f"added_tokens: holds {shown(token)}, which is no token")
    if sum(len(token["content"]) for token in tokens or ()) > _ADDED:
        raise ValueError(f"added_tokens: over {_ADDED:,} characters")
