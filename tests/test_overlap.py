from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import pytest

import firstbert.overlap
from firstbert.errors import UsageError
from firstbert.overlap import Overlap, OverlapOptions, apart

SEEN = [
    "We waited an hour for the soup, and it's cold when it comes.",
    "A good film.",
    "The second half of the match was dull (as ever) but our goalkeeper saved the day.",
    "Très déçu par l’hôtel Éclair !",
]


def kind(text: str, *seen: str) -> str:
    result = apart([text], seen)
    pairs = {"equal": result.equal, "near": result.near, "kept": result.kept}
    (found,) = [name for name, places in pairs.items() if places]
    return found


@pytest.mark.parametrize(
    "text",
    [
        SEEN[0].upper(),
        "we waited an hour for the soup , and it 's cold when it comes",
        "We waited an hour for the soup — and its cold when it comes…",
        "Ｗｅ waited an hour\tfor the soup, and it’s cold\u00a0when it comes",
    ],
)
def test_case_punctuation_and_white_space_make_no_difference(text: str) -> None:
    assert apart([text], SEEN).equal == ((0, 0),)


def test_accents_are_equal_however_they_are_encoded() -> None:
    for form in ("NFC", "NFD", "NFKD"):
        assert apart([unicodedata.normalize(form, SEEN[3].upper())], SEEN).equal == ((0, 3),)


def test_brackets_as_treebanks_write_them_are_brackets() -> None:
    assert kind("the thrill is -LRB- long -RRB- gone", "The thrill is (long) gone.") == "equal"
    assert kind("lrb a rrb rare film", "(A) rare film!") == "equal"
    assert kind("Marlb is a place", "Ma is a place") == "kept"  # only as a word of its own


@pytest.mark.parametrize(
    ("text", "j"),
    [
        ("We waited an hour for the fish, and it's cold when it comes.", 0),  # one word changed
        ("We waited an hour for the sopu, and it is cold when it comes.", 0),  # misspelt
        ("It's cold when it comes, and we waited an hour for the soup.", 0),  # turned round
        ("our goalkeeper saved the day", 2),  # a clause of it
        ("They say the second half of the match was dull as ever but our goalkeeper saved the day, and so it was.", 2),
        ("I went twice. A good film! And my sister agrees.", 1),  # short, but a sentence of the text
        ("Well. The second half of the match was boring as ever, but our goalkeeper saved the day. Four others "
         "hit the post, and the referee had nothing to say of it. We went home late and slept until noon.", 2),
    ],
)  # fmt: skip
def test_near_texts_are_found_with_the_one_they_resemble(text: str, j: int) -> None:
    assert apart([text], SEEN) == Overlap((), (), ((0, j),), ())


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("good film", "bad film"),
        ("not good", "good"),
        ("good", "not good"),
        ("this is not a good film", "this is a good film"),
        ("a good film about the sea, and a long one", "a good film"),  # short, and no sentence of its own
        ("a good film", "a good film about the sea, and a long one"),
        ("the story was simply wonderful last night", "the music was simply awful, I have to say"),
        ("wonderful", "awful"),
        ("ok", "k"),
    ],
)
def test_other_texts_are_kept(text: str, seen: str) -> None:
    assert kind(text, seen) == "kept"


@pytest.mark.parametrize(
    (
        "seen",
        "equal",
        "near",
        "other",
    ),
    [
        (
            "我昨天在那家餐厅吃的汤太咸了。",
            "我昨天在那家餐厅吃的汤太咸了！",
            "我昨天在那家餐厅喝的汤太咸了",
            "我明天要去看一场足球比赛。",
        ),
        (
            "昨日の映画は本当に面白かったです。",
            "昨日の映画は、本当に面白かったです",
            "昨日の映画は本当に楽しかったです。",
            "明日は友達と野球を見に行きます。",
        ),
        (
            "เมื่อวานนี้เราไปกินอาหารที่ร้านใหม่",
            "เมื่อวานนี้ เราไปกินอาหาร ที่ร้านใหม่",
            "เมื่อวานนี้ฉันไปกินอาหารที่ร้านใหม่",
            "ฟุตบอลคู่นี้สนุกมากจริง ๆ นะครับ",
        ),
        (
            "Вчера мы долго ждали суп в ресторане",
            "ВЧЕРА мы долго ждали суп в ресторане!",
            "Вчера мы долго ждали рыбу в ресторане",
            "Завтра начнётся новый сезон футбола",
        ),
        (
            "어제 우리는 새 식당에서 저녁을 먹었다",
            "어제 우리는 새식당에서 저녁을 먹었다.",
            "어제 우리는 새 식당에서 점심을 먹었다",
            "내일은 친구와 축구 경기를 보러 간다",
        ),
        (
            "انتظرنا الحساء ساعة كاملة في المطعم",
            "انتظرنا الحساء ساعة كاملة، في المطعم!",
            "انتظرنا السمك ساعة كاملة في المطعم",
            "سنشاهد مباراة كرة القدم غدا مساء",
        ),
    ],
)
def test_other_scripts(seen: str, equal: str, near: str, other: str) -> None:
    assert [kind(text, seen) for text in (equal, near, other)] == ["equal", "near", "kept"]


def test_a_sentence_ends_where_its_script_ends_it() -> None:
    assert kind("很好。我喜欢这部电影。再见。", "我喜欢这部电影") == "near"
    assert kind("यह फिल्म अच्छी है। मैं फिर जाऊँगा।", "यह फिल्म अच्छी है") == "near"


def test_texts_without_letters_are_compared_by_their_signs() -> None:
    texts = ["👍👍", " 👍👍\n", "👎", "!!!", "", "  ", "👍 yes"]
    result = apart(texts, ["👍👍", "..."])
    assert result == Overlap((2, 3, 4, 6), ((0, 0), (1, 0)), (), ((5, 4),))
    assert apart(["", "!"], ["  "]).equal == ((0, 0),)


def test_nothing_to_compare() -> None:
    assert apart([], SEEN) == Overlap((), (), (), ())
    assert apart(["a", "b", "A!"], []) == Overlap((0, 1), (), (), ((2, 0),))
    assert apart(["a", "\udcff b"], ["c", "👍"]).kept == (0, 1)  # no shingle among those seen; half a character


def test_repeats_count_from_the_first_and_what_repeats_a_near_one_is_near() -> None:
    near = "We waited an hour for the fish, and it's cold when it comes."
    texts = ["Such a day.", near, "such a day", near.upper(), SEEN[1], "A GOOD FILM", "such a day!"]
    result = apart(texts, [*SEEN, *SEEN])
    assert result == Overlap((0,), ((4, 1), (5, 1)), ((1, 0), (3, 0)), ((2, 0), (6, 0)))


def test_of_several_the_most_similar_is_named() -> None:
    seen = [f"we waited an hour for the {dish} and it was cold in the end" for dish in ("soup", "fishes", "bread")]
    assert apart(["We waited an hour for the fish and it was cold in the end"], seen).near == ((0, 1),)


def test_options_move_the_bounds_and_are_checked() -> None:
    text, seen = "We waited an hour for the fish, and it's cold when it comes.", SEEN[:1]
    assert apart([text], seen, OverlapOptions(alike=0.9, inside=1.0)).kept == (0,)
    assert apart(["a good film for all"], ["a good film"], OverlapOptions(letters=8)).near == ((0, 0),)
    for wrong in ({"alike": 0.0}, {"alike_short": 1.1}, {"inside": -1}, {"letters": 4}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            OverlapOptions(**wrong)


@cache
def letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


@cache
def runs(text: str) -> set[str]:
    return {letters(text)[k : k + 5] for k in range(max(0, len(letters(text)) - 4))}


def alike(a: str, b: str) -> bool:
    common, shorter = len(runs(a) & runs(b)), min(len(runs(a)), len(runs(b)))
    if letters(a) == letters(b):
        return True
    if not common:
        return False
    share = 2 * common / (len(runs(a)) + len(runs(b)))
    return share >= 0.8 if shorter < 12 else share >= 0.5 or common / shorter >= 0.8


def slowly(texts: list[str], seen: list[str]) -> tuple[set[int], set[int]]:
    """Every text against every one seen, by the definition."""
    equal = {i for i, a in enumerate(texts) if any(letters(a) == letters(b) for b in seen)}
    near = {
        i for i, text in enumerate(texts)
        if any(alike(part, b) for part in [text, *text.split(".")] if letters(part) for b in seen)
    }  # fmt: skip
    return equal, near - equal


@pytest.mark.parametrize("seed", range(4))
def test_as_every_pair_compared_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firstbert.overlap, "_BLOCK", 1)  # many blocks
    draw = np.random.default_rng(seed)
    words = ["".join(draw.choice(list("abcde"), draw.integers(1, 9))) for _ in range(30)]

    def text() -> str:
        return "".join(
            f"{word}{draw.choice([' ', '. ', '-'], p=[0.8, 0.1, 0.1])}"
            for word in draw.choice(words, draw.integers(1, 14))
        )

    def altered(text: str) -> str:
        parts = text.split(" ")
        parts[draw.integers(len(parts))] = str(draw.choice(words))
        return " ".join(parts[: draw.integers(1, len(parts) + 1)])

    seen = [text() for _ in range(40)]
    texts = [*(text() for _ in range(80)), *(altered(b).upper() for b in seen * 2), *(f"{text()}. {b}" for b in seen)]
    texts += [b.title() for b in seen[:10]]
    result = apart(texts, seen)
    equal, near = slowly(texts, seen)
    assert min(len(equal), len(near), len(result.kept)) > 5
    assert {i for i, _ in result.equal} == equal
    assert {i for i, _ in result.near} == near
    assert sorted([*result.kept, *equal, *near, *(i for i, _ in result.repeated)]) == list(range(len(texts)))
    assert all(letters(texts[i]) == letters(seen[j]) for i, j in result.equal)
    assert all(any(alike(part, seen[j]) for part in [texts[i], *texts[i].split(".")]) for i, j in result.near)
    kept = {letters(texts[i]) for i in result.kept}
    assert len(kept) == len(result.kept)
    assert all(letters(texts[i]) in kept and first < i for i, first in result.repeated)
