"""What to train and how much: options, and the plan that follows from them, the rows and the time there is.

After checkpoints.py on the way of a sentence. Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from firstbert.batches import Batch, batch_of
from firstbert.errors import UsageError
from firstbert.trainable import Tune

Training = Literal["auto", "fp32", "bf16"]
Recipe = Literal["auto", "labels", "pairs"]

LORA_FASTER = 10  # times the learning rate of whole layers: its matrices begin at zero
_POOL = 50  # batches whose rows are sorted by length together: little padding, and still random
_EVALUATIONS = 2  # of the validation rows in an epoch
_LEAST_STEPS = 20  # fewer teach nothing
FEW_ROWS = 200  # up to which texts are compared with each other, and none is held out
_PAIR_EPOCHS, _MOST_PAIR_EPOCHS = 16, 32
_PLENTY = 2  # texts for each labelled row that a teacher alone labels, from which it is the teacher that is learned
_PLENTY_EPOCHS, _PLENTY_FASTER = 2, 2  # and times the learning rate
_MARGIN = 0.85  # of the time allowed: saving comes after, and machines aren't even


@dataclass(frozen=True)
class FinetuneOptions:
    """How to fine-tune.

    Attributes:
        epochs: how often each row is seen at most; ``"auto"``: 3, or 2 where a teacher labels plenty of text (two
            texts for each labelled row, say), up to 20 where there are few rows; of pairs 16, up to 32 for wider
            encoders than MiniLM.
        batch_size: rows of a step.
        learning_rate: its peak; ``"auto"``: 1e-4 for encoders 384 wide, by the square less for wider ones; twice that
            where a teacher labels plenty of text.
        layer_decay: how much slower each layer learns than the one above it.
        weight_decay, warmup, clip: AdamW's decay; the share of steps in which the rate rises; the gradient's
            largest norm.
        dropout: None: as the encoder's config.json says; 0 where a teacher labels plenty of text.
        patience: evaluations without a better one after which training ends; there are two an epoch.
        tune: see `Trainable`.
        recipe: ``"labels"``: the encoder learns to tell labels; ``"pairs"``: it learns to bring texts of a label
            together, and a logistic regression on its vectors tells them; ``"auto"``: pairs where rows are few, and
            no teacher labels plenty of text.
        precision: of the arithmetic in training; ``"auto"``: bf16 where the processor is faster in it, else fp32.
            What is saved is fp32.
        validation_size: share of the rows held out for telling when to stop, where no others are given; more, up to
            a quarter, where it would be less than a row of each label.
        time_budget: seconds for all of it; less is trained, so that it ends in time.
        micro_tokens: the most tokens that go through the encoder at once; less where memory runs out.
        seed: of the batches, the head and dropout.
    """

    epochs: float | Literal["auto"] = "auto"
    batch_size: int = 32
    learning_rate: float | Literal["auto"] = "auto"
    layer_decay: float = 0.95
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    dropout: float | None = None
    patience: int = 4
    tune: Tune = "all"
    recipe: Recipe = "auto"
    precision: Training = "auto"
    validation_size: float = 0.1
    time_budget: float | None = None
    micro_tokens: int = 16_384
    seed: int = 0


def check(options: FinetuneOptions) -> None:
    """Refuse options that are out of range.

    Raises:
        UsageError: the option is named.
    """
    _number("epochs", options.epochs, 0, 10_000, auto=True)
    _number("learning_rate", options.learning_rate, 0, 1, auto=True)
    _number("layer_decay", options.layer_decay, 0, 1)
    _number("weight_decay", options.weight_decay, 0, 1, zero=True)
    _number("warmup", options.warmup, 0, 1, zero=True)
    _number("dropout", options.dropout or 0, 0, 0.9, zero=True)
    _number("clip", options.clip, 0, math.inf)
    _number("validation_size", options.validation_size, 0, 0.9)
    if options.time_budget is not None:
        _number("time_budget", options.time_budget, 0, math.inf)
    for name in ("batch_size", "patience", "micro_tokens"):
        value = getattr(options, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
            raise UsageError(f"The {name!r} option of fine-tuning must be an int of at least 1. Got {value!r} instead.")
    if isinstance(options.seed, bool) or not isinstance(options.seed, int) or not 0 <= options.seed < 2**32:
        raise UsageError(
            f"The 'seed' option of fine-tuning must be an int in [0, {2**32 - 1}]. Got {options.seed!r} instead."
        )
    for name, value, known in (
        ("precision", options.precision, get_args(Training)),
        ("recipe", options.recipe, get_args(Recipe)),
    ):
        if value not in known:
            raise UsageError(f"The {name!r} option of fine-tuning must be one of {known}. Got {value!r} instead.")
    whole = isinstance(options.tune, int) and not isinstance(options.tune, bool) and options.tune >= 1
    if not whole and options.tune not in ("all", "lora"):
        raise UsageError(
            f"The 'tune' option must be 'all', 'lora' or a number of layers. Got {options.tune!r} instead."
        )


def _number(name: str, value: Any, low: float, high: float, *, auto: bool = False, zero: bool = False) -> None:
    if auto and value == "auto":
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (low < value <= high or (zero and value == 0)):
        choice, bracket = "'auto' or " if auto else "", "[" if zero else "("
        raise UsageError(
            f"The {name!r} option of fine-tuning must be {choice}a number in {bracket}{low}, {high}]. Got {value!r} "
            "instead."
        )


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        recipe: ``"labels"`` or ``"pairs"``.
        steps: in all.
        per_epoch: steps in which each row is seen once.
        every: steps from one evaluation to the next.
        tune: what learns.
        learning_rate: the peak.
        options: what the rest is taken from.
    """

    recipe: Literal["labels", "pairs"]
    steps: int
    per_epoch: int
    every: int
    tune: Tune
    learning_rate: float
    options: FinetuneOptions

    def rate(self, step: int) -> float:
        """Return the learning rate at a step from 0: up to the peak, then down to zero in a straight line."""
        up = max(1, round(self.options.warmup * self.steps))
        return self.learning_rate * min((step + 1) / up, (self.steps - step) / max(1, self.steps - up))

    @property
    def epochs(self) -> float:
        """How often each row is seen."""
        return self.steps / self.per_epoch


def plan(options: FinetuneOptions, rows: int, width: int, unlabelled: int = 0) -> Plan:
    """Return what the options come to.

    Args:
        options: see there.
        rows: how many there are to learn from.
        width: D of the encoder.
        unlabelled: how many of the rows have only what a teacher says.
    """
    recipe = recipe_for(options, rows - unlabelled, unlabelled)
    plenty = recipe == "labels" and _plenty(rows - unlabelled, unlabelled)
    if plenty and options.dropout is None:
        options = replace(options, dropout=0.0)
    per_epoch = math.ceil(rows / options.batch_size)
    epochs = options.epochs
    if epochs == "auto":
        epochs = _pair_epochs(rows, width) if recipe == "pairs" else _epochs(rows, _PLENTY_EPOCHS if plenty else 3)
    rate = options.learning_rate
    if rate == "auto":
        rate = 1e-4 * min(1.0, (384 / width) ** 2) * (LORA_FASTER if options.tune == "lora" else 1)
        rate *= _PLENTY_FASTER if plenty else 1
    steps = max(1, round(epochs * per_epoch))
    every = max(1, min(round(per_epoch / _EVALUATIONS), math.ceil(steps / 2)))
    return Plan(recipe, steps, per_epoch, every, options.tune, rate, options)


def recipe_for(options: FinetuneOptions, labelled: int, unlabelled: int = 0) -> Literal["labels", "pairs"]:
    """Return what the encoder is taught: pairs of few rows, unless a teacher labels plenty of text besides."""
    if options.recipe != "auto":
        return options.recipe
    told_plenty = _plenty(labelled, unlabelled) and labelled + unlabelled > FEW_ROWS
    return "pairs" if labelled <= FEW_ROWS and not told_plenty else "labels"


def _plenty(labelled: int, unlabelled: int) -> bool:
    return 0 < _PLENTY * labelled <= unlabelled


def _pair_epochs(rows: int, width: int) -> float:
    """More for wider encoders, since they learn at a lower rate, but where there is more than a handful of rows."""
    most = np.clip(_PAIR_EPOCHS * width / 384, _PAIR_EPOCHS, _MOST_PAIR_EPOCHS)
    return float(np.clip(rows, _PAIR_EPOCHS, most))


def _epochs(rows: int, least: int) -> float:
    """The least, of thousands of rows; the fewer there are, the more, up to 20."""
    return float(np.clip(6000 / rows, least, 20))


def fit_in(whole: Plan, seconds_per_step: float, fixed: float, layers: int) -> Plan | None:
    """Return what of a plan can be done in its time budget; None where that is too little to teach anything.

    As many steps of the whole as there is time for, if each row is seen once; else fewer layers, which cost less: a
    layer that learns takes three times the work of one that doesn't. LoRA learns beside all layers, however many steps.

    Args:
        whole: the plan without a limit.
        seconds_per_step: measured, its share of the evaluations included.
        fixed: seconds that go into other things.
        layers: L of the encoder.
    """
    if whole.options.time_budget is None:
        return whole
    left = whole.options.time_budget * _MARGIN - fixed
    asked = min(whole.tune, layers) if isinstance(whole.tune, int) else layers
    for share in (1.0, 0.5, 0.25):
        top = asked if whole.tune == "lora" else max(1, round(share * asked))
        cost = seconds_per_step * (layers + 2 * top) / (layers + 2 * asked)
        steps = min(whole.steps, int(left / cost))
        enough = steps >= whole.per_epoch or (share == 0.25 and steps >= max(_LEAST_STEPS, whole.per_epoch // 4))
        if enough:
            tune: Tune = whole.tune if top == asked else top
            every = max(1, min(whole.every, math.ceil(steps / 2)))
            return replace(whole, steps=steps, every=every, tune=tune)
    return None


def epoch_batches(lengths: npt.NDArray[np.int32], size: int, seed: int, epoch: int) -> list[npt.NDArray[np.intp]]:
    """Return the rows of each batch of an epoch: every row once, in random order, rows of like length together.

    Args:
        lengths: (N,) tokens of each row.
        size: rows of a batch; the last one of a pool may have fewer.
        seed, epoch: the same ones give the same batches.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    found = []
    for start in range(0, len(order), size * _POOL):
        pool = order[start : start + size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        found += [pool[k : k + size] for k in range(0, len(pool), size)]
    random.shuffle(found)
    return found


def mixed_batches(classes: npt.NDArray[np.intp], size: int, seed: int, epoch: int) -> list[npt.NDArray[np.intp]]:
    """Return the rows of each batch of an epoch: every row once, in random order, each class spread over all batches.

    Args:
        classes: (N,) a class of each row.
        size, seed, epoch: as for `epoch_batches`; batches differ in size by at most one row.

    With so many classes that a batch can't have two rows of each, two of a class stay side by side: pairs are to meet.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    counts = np.bincount(classes)
    side_by_side = 2 if 2 * np.count_nonzero(counts) > size else 1
    within = np.concatenate(
        [(np.arange(n) // side_by_side * side_by_side + side_by_side * random.random()) / n for n in counts if n]
    )
    return np.array_split(order[np.argsort(within, kind="stable")], math.ceil(len(order) / size))


def batch_at(ids: Sequence[Sequence[int]], rows: npt.NDArray[np.intp]) -> Batch:
    """Return some rows as a batch, the longest first, so that parts of it have little padding."""
    longest_first = rows[np.argsort([-len(ids[i]) for i in rows], kind="stable")]
    return batch_of(ids, longest_first)
