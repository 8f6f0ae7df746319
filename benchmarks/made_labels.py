"""Labelled sentences of our own, made from a seed: topics, a rare kind of message, and several subjects at once.

Words with two meanings, sentences that fit two labels and mistaken labels keep them from being easy. What is made
depends on the seed alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container

Row = tuple[str, str]
NOISE = 0.025  # the share of labels that are wrong

_OPENINGS = ("", "", "", "I heard that ", "My neighbour says ", "It turns out ", "Honestly, ", "As far as I know, ",
             "We were told that ", "By the way, ", "Nobody expected it, but ", "According to {who}, ")  # fmt: skip
_ENDINGS = ("", "", "", " again", " this week", " and nobody knows why", ", which was a surprise", " after all",
            ", as {who} said", " since last month", ", if I remember rightly")  # fmt: skip
_WHO = ("my brother", "the manager", "a friend of ours", "the woman next door", "her old teacher", "the paper",
        "our trainer", "the doctor", "a colleague", "the cook", "the guide", "my aunt")  # fmt: skip

# ---------------------------------------------------------------- topics

_TOPICS = {
    "computers": (
        "the {thing} crashed before anything was saved", "the update broke the {thing}", "the password no longer works",
        "the new version needs twice the memory", "the {thing} has been infected", "the {thing} is slow when it starts",
        "the files were copied to another drive", "the screen stays black", "they rewrote the {thing} from nothing",
    ),
    "food": (
        "the soup needs more salt", "the {thing} was still raw inside", "the dough must rest overnight",
        "the {thing} tastes of nothing", "they fry it in too much oil", "the recipe leaves out the eggs",
        "the {thing} went off in the heat", "the sauce has to simmer slowly", "the kitchen closed before we ordered",
    ),
    "health": (
        "the {thing} hurts when it rains", "the fever went down overnight", "the tablets made it worse",
        "the operation has been put off", "the {thing} is swollen", "the nurse found nothing wrong",
        "the {thing} healed without a scar", "they want another blood test", "the cough will not go away",
    ),
    "money": (
        "the {thing} costs more than it brings in", "the loan has to be paid back early", "the interest went up",
        "the shares fell by a third", "the {thing} was paid twice", "the tax office wants proof of the {thing}",
        "the rent takes half of the wages", "they sold everything at a loss", "the {thing} is not insured",
    ),
    "sport": (
        "the {thing} decided the match", "they lost in extra time", "the referee saw nothing",
        "the {thing} was the best of the season", "the captain is out for a month", "the second half was one sided",
        "the {thing} missed by a hand", "the league sent them down", "the crowd left before the end",
    ),
    "travel": (
        "the {thing} left an hour late", "the hotel had given our room away", "the {thing} is closed in winter",
        "the road along the coast is the longer one", "the {thing} was full of tourists", "our luggage went elsewhere",
        "the border took half a day", "the {thing} runs only on Sundays", "the map shows no such village",
    ),
}  # fmt: skip
_THINGS = {
    "computers": ("server", "laptop", "mouse", "program", "network", "driver", "menu", "window", "tablet", "cookie"),
    "food": ("chicken", "bread", "date", "menu", "cake", "roll", "fish", "cookie", "service", "platter"),
    "health": ("knee", "back", "shoulder", "wound", "tooth", "diet", "service", "ankle", "tablet", "patient"),
    "money": ("account", "house", "deal", "transfer", "bill", "service", "project", "pension", "deposit", "bank"),
    "sport": ("goal", "penalty", "striker", "serve", "pitch", "coach", "transfer", "shot", "final", "driver"),
    "travel": ("train", "ferry", "coach", "museum", "bridge", "flight", "driver", "beach", "service", "bank"),
}
_EITHER = {  # these say too little: any of their topics may be meant
    "the transfer took longer than expected": ("money", "sport", "computers", "travel"),
    "the coach was late": ("sport", "travel"),
    "the virus was gone after a week": ("health", "computers"),
    "they changed the whole menu": ("food", "computers"),
    "the service was worse than ever": ("food", "travel", "computers", "health"),
    "the crash cost them everything": ("money", "travel", "computers"),
    "the bill was a shock": ("money", "food", "health"),
    "he did not pass the test": ("health", "sport", "computers"),
    "they could not keep it down": ("food", "health", "money"),
    "the record was lost": ("sport", "computers", "health"),
    "the check took two minutes": ("money", "health", "travel"),
    "the diet did not help": ("food", "health", "sport"),
    "the cut was deeper than it looked": ("money", "health", "food"),
    "the whole team was ill": ("sport", "health"),
}
_UNCLEAR = 0.22  # the share of such sentences


def topics(n: int, seed: int) -> list[Row]:
    """Return `n` sentences about one of six topics."""
    rng = random.Random(seed)
    return _distinct(n, lambda: _on_a_topic(rng))


def _distinct(n: int, make: Callable[[], Row], taken: Container[str] = ()) -> list[Row]:
    """Make rows until there are `n` different sentences, none of them `taken`."""
    rows: dict[str, str] = {}
    while len(rows) < n:
        text, label = make()
        if text not in taken:
            rows.setdefault(text, label)
    return list(rows.items())


def _on_a_topic(rng: random.Random) -> Row:
    topic = rng.choice(list(_TOPICS))
    if rng.random() < _UNCLEAR:
        clause = rng.choice(list(_EITHER))
        topic = rng.choice(_EITHER[clause])
    else:
        clause = rng.choice(_TOPICS[topic]).format(thing=rng.choice(_THINGS[topic]))
    if rng.random() < NOISE:
        topic = rng.choice([other for other in _TOPICS if other != topic])
    return _sentence(clause, rng), topic


def _sentence(clause: str, rng: random.Random) -> str:
    text = rng.choice(_OPENINGS) + clause + rng.choice(_ENDINGS) + "."
    text = text.replace("{who}", rng.choice(_WHO))
    return text[0].upper() + text[1:]


# ---------------------------------------------------------------- a rare kind of message

COMMON = 50  # messages for one that is urgent

_PLACES = ("kitchen", "cellar", "bathroom", "hall", "garage", "stairwell", "bedroom", "attic", "lift", "yard")
_MESSAGES = {
    "there is a smell of {} in the {place}": (("gas", "burning", "smoke"), ("paint", "cooking", "damp", "drains")),
    "water is {} in the {place}": (("pouring through the ceiling", "running into the sockets", "rising"),
                                   ("dripping", "off", "brown", "cold")),
    "the {place} door is {}": (("jammed and someone is inside", "hot to the touch"),
                               ("squeaking", "scratched", "unlocked at night", "stuck")),
    "the alarm in the {place} {}": (("went off and there is smoke", "shows carbon monoxide"),
                                    ("beeps now and then", "needs a new battery", "went off for nothing")),
    "the light in the {place} {}": (("throws sparks", "gave me a shock"), ("flickers", "is out", "stays on all night")),
    "the heating in the {place} {}": (("hisses and smells of gas", "is on fire"),
                                      ("is cold", "is too warm", "rattles", "cannot be set")),
    "a child {} in the {place}": (("is trapped", "fell and does not move"), ("left a bicycle", "plays loudly")),
    "the wall in the {place} {}": (("has come down", "is leaning and cracks are growing"),
                                   ("has mould", "needs paint", "has a small crack")),
}  # fmt: skip
_PLAIN = ("when is the {place} cleaned", "please send me the bill for the {place}", "who has the key to the {place}",
          "the neighbours leave rubbish in the {place}", "may I paint the {place}", "the {place} is dirty",
          "thank you for repairing the {place}", "somebody parks in front of the {place}")  # fmt: skip
_VAGUE = ("please come to the {place} at once", "it got worse in the {place}", "something is wrong in the {place}",
          "I can hear water in the {place}", "the {place} is not safe")  # fmt: skip
_UNCLEAR_URGENT, _UNCLEAR_ROUTINE = 0.2, 0.015


def rare(n: int, seed: int) -> list[Row]:
    """Return `n` messages to a landlord, one in 51 of them urgent."""
    rng = random.Random(seed)
    k = round(n / (COMMON + 1))
    urgent = _distinct(k, lambda: _message("urgent", rng))
    routine = _distinct(n - k, lambda: _message("routine", rng), taken={text for text, _ in urgent})
    wrong = round(NOISE * k)  # as many one way as the other: the shares stay
    rows = [(text, "routine" if i < wrong else "urgent") for i, (text, _) in enumerate(urgent)]
    rows += [(text, "urgent" if i < wrong else "routine") for i, (text, _) in enumerate(routine)]
    rng.shuffle(rows)
    return rows


def _message(label: str, rng: random.Random) -> Row:
    if rng.random() < (_UNCLEAR_URGENT if label == "urgent" else _UNCLEAR_ROUTINE):
        clause = rng.choice(_VAGUE)
    elif label == "routine" and rng.random() < 0.3:
        clause = rng.choice(_PLAIN)
    else:
        frame = rng.choice(list(_MESSAGES))
        clause = frame.replace("{}", rng.choice(_MESSAGES[frame][label == "routine"]))
    return _sentence(clause.replace("{place}", rng.choice(_PLACES)), rng), label


# ---------------------------------------------------------------- several subjects at once

_ASPECTS = {
    "food": (0.35, ("breakfast was {}", "the dinner was {}", "the coffee was {}", "the fish tasted {}")),
    "staff": (0.3, ("the woman at the desk was {}", "the porter was {}", "whoever we asked was {}")),
    "room": (0.35, ("the bed was {}", "the bathroom was {}", "the view was {}", "our room was {}")),
    "price": (0.2, ("what we paid was {}", "the bill was {}", "the extra charges were {}")),
    "noise": (0.12, ("the street was {} at night", "the bar below was {} until three", "the walls are {}")),
    "insects": (0.03, ("there were ants in the sugar", "something had bitten us by morning",
                       "a beetle sat in the sink")),
}  # fmt: skip
_HOW = ("fine", "bad", "as expected", "better than last year", "a disappointment", "lovely", "awful", "too much",
        "not what was promised", "strange", "good enough")  # fmt: skip
_BESIDES: dict[str, tuple[tuple[str, ...], ...]] = {  # what these mean varies from row to row
    "the waiter forgot half of the order": (("food", "staff"),),
    "we could hardly sleep": (("noise",), ("room",)),
    "the drinks cost a fortune": (("food", "price"), ("price",)),
    "the cleaners woke us every morning": (("staff", "noise"),),
    "for that money one expects a window": (("room", "price"),),
    "something crawled over the plates": (("food", "insects"),),
    "we found company under the mattress": (("room", "insects"),),
    "there was a hair in it": (("food",), ("room",)),
    "they did what they could": (("staff",),),
    "it was not worth it": (("price",), ("food",), ()),
    "everything was {}": ((), ("room",), ("food",), ("staff",)),
    "it was {}": ((), ("food",), ("room",), ("price",)),
    "nobody came when we rang": (("staff",), ("staff", "room")),
    "the children complained": (("noise",), ("food",), ()),
    "the weather was {}": ((),),
    "the garden was {}": ((),),
}


def many(n: int, seed: int) -> list[Row]:
    """Return `n` remarks on a hotel; the label names what they speak of, joined by ``|``, nothing where it is none."""
    rng = random.Random(seed)
    return _distinct(n, lambda: _remark(rng))


def _remark(rng: random.Random) -> Row:
    chosen = [aspect for aspect, (share, _) in _ASPECTS.items() if rng.random() < share]
    clauses = [rng.choice(_ASPECTS[aspect][1]).format(rng.choice(_HOW)) for aspect in chosen]
    if rng.random() < 0.35 or not clauses:
        clause = rng.choice(list(_BESIDES))
        clauses.append(clause.format(rng.choice(_HOW)))
        chosen += [aspect for aspect in rng.choice(_BESIDES[clause]) if aspect not in chosen]
    rng.shuffle(clauses)
    for aspect, (share, _) in _ASPECTS.items():
        if rng.random() < NOISE * share * 2:  # a label too many or too few, rare ones more rarely
            chosen = [a for a in chosen if a != aspect] if aspect in chosen else [*chosen, aspect]
    return _sentence(rng.choice((" and ", ", ", ", but ")).join(clauses), rng), "|".join(sorted(chosen))


MADE: dict[str, Callable[[int, int], list[Row]]] = {"topics": topics, "rare": rare, "many": many}
