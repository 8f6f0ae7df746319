"""A trainable encoder, rows and a plan → the best weights that were met, and how it went.

After course.py on the way of a sentence. A loop of our own: docs/results.md has what it is worth against
transformers' Trainer. All that is random comes from the seed and the step, so that a run that goes on is the run that
wasn't interrupted, bit for bit on a CPU.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from firstbert.batches import Batch, batches
from firstbert.checkpoints import Checkpoints
from firstbert.course import Course, Ending, Exam, Lessons, Mark, measure
from firstbert.errors import EncoderError
from firstbert.plan import Plan, Training, batch_at, epoch_batches, mixed_batches
from firstbert.progress import progress
from firstbert.targets import DoubleArray
from firstbert.trainable import Trainable, micro_batches

_KEEP_EVERY_S = 60.0  # between states on disk, and never over a 20th of the time in writing them
_WRITING = 20
_LESS = "give a smaller max_length, a smaller batch_size, a smaller encoder, or fewer layers to learn (tune)"
_PARTS, _PART_TOKENS = 4, 128  # of a batch whose texts are compared: those of like length are encoded together


class Tuning:
    """One training.

    Args:
        model: what learns; afterwards it has the best weights.
        lessons: rows to learn from.
        exam: rows to stop by; None: the weights of the last step are taken.
        plan: how.
        checkpoints: where its state is kept; None: nowhere.
        say: takes a line about each evaluation.
        deadline: seconds of training and evaluating after which it ends; None: none.
    """

    def __init__(
        self, model: Trainable, lessons: Lessons, exam: Exam | None, plan: Plan, *,
        checkpoints: Checkpoints | None = None, say: Callable[[str], None] = lambda line: None,
        deadline: float | None = None,
    ) -> None:  # fmt: skip
        self.model, self.lessons, self.exam, self.plan = model, lessons, exam, plan
        self.checkpoints, self.say, self.deadline = checkpoints, say, deadline
        self.micro_tokens = plan.options.micro_tokens
        self.lengths = np.fromiter(map(len, lessons.ids), np.int32, len(lessons.ids))
        self.optimiser = _adamw(model, plan)
        self.autocast = _autocast(plan.options.precision, model.device)
        self.course = Course()
        self._best: dict[str, Any] = {}
        self._best_kept: int | None = None  # the step whose weights are on disk as the best
        self._until_kept = _KEEP_EVERY_S
        self._order: tuple[int, list[npt.NDArray[np.intp]]] = (-1, [])  # an epoch, and its batches
        self._average = self._copy()
        self._resume()

    # -- the loop

    def run(self) -> Course:
        """Train to the end.

        Raises:
            EncoderError: memory doesn't hold a single row, or not what is kept of each weight.
            ArtifactError: the state can't be kept.
        """
        try:
            return self._run()
        except RuntimeError as error:
            if "memory" not in str(error).lower():
                raise
            raise EncoderError(f"Memory ran out in training: {_LESS}.") from error

    def _run(self) -> Course:
        course, plan = self.course, self.plan
        kept_at = time.monotonic()
        begun = kept_at - course.seconds
        with progress("Fine-tuning", plan.steps * plan.options.batch_size) as advance:
            advance(course.rows)
            while not course.ended:
                started = time.monotonic()
                rows = self._rows(course.step)
                now = self.step(rows, course.step)
                course.step, course.rows = course.step + 1, course.rows + len(rows)
                course.seconds += time.monotonic() - started
                advance(len(rows))
                if not math.isfinite(now):
                    course.ended = "not finite"
                    break
                course.losses += now
                over = self.deadline is not None and time.monotonic() - begun > self.deadline
                last = course.step >= plan.steps or over
                if self.exam and (course.step % plan.every == 0 or last):
                    self._mark()
                course.ended = self._end(over=over)
                if not course.ended and time.monotonic() - kept_at > self._until_kept:
                    kept_at = self._keep()
        self._keep()
        self._put(self._best or self._average)
        return course

    def step(self, rows: npt.NDArray[np.intp], step: int) -> float:
        """Learn from some rows, and return their mean loss; NaN, and nothing has changed, where that isn't finite."""
        import torch

        torch.manual_seed(_seed(self.plan.options.seed, step))
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate(step) * group["share"]
        while True:
            try:
                self.optimiser.zero_grad()
                loss = self._backward(batch_at(self.lessons.ids, rows))
                break
            except RuntimeError as error:  # a GPU's out-of-memory error is one too
                self._with_less_memory(error, rows)
        norm = torch.nn.utils.clip_grad_norm_(list(self.model.learning.values()), self.plan.options.clip)
        if not math.isfinite(loss) or not bool(torch.isfinite(norm)):
            return math.nan
        self.optimiser.step()
        self._follow(step)
        return loss

    def _follow(self, step: int) -> None:
        """Keep the mean of the weights over the last half epoch or so: it is what is examined and taken.

        An exponential one (Polyak & Juditsky 1992, and as all have it since): where single steps still jump about, it
        stands in their middle. At the start, it is over the steps that there were.
        """
        import torch

        share = max(2 / self.plan.per_epoch, 9 / (step + 10))
        with torch.no_grad():
            for name, parameter in self.model.learning.items():
                self._average[name].lerp_(parameter, min(1.0, share))

    def _backward(self, batch: Batch) -> float:
        self.model.module.train()
        total = 0.0
        if self.plan.recipe == "pairs":
            return self._backward_of_pairs(batch)
        for part in micro_batches(batch, self.micro_tokens):
            with self.autocast():
                vectors = self.model.vectors(part)
                loss = self._loss(self.model.scored(vectors).float(), part.rows)
                if self.lessons.hints is not None:
                    loss = loss + self._off_hints(self.model.pointed(vectors).float(), part.rows)
            loss = loss / len(batch.rows)
            loss.backward()
            total += float(loss.detach())
        return total

    def _loss(self, scores: Any, rows: npt.NDArray[np.intp]) -> Any:
        """The sum over rows of the cross-entropy between what they should be and what they are."""
        import torch

        goals = torch.from_numpy(self.lessons.goals[rows]).to(scores.device)
        weights = torch.from_numpy(self.lessons.weights[rows]).to(scores.device)
        if self.lessons.many:
            each = torch.nn.functional.binary_cross_entropy_with_logits(scores, goals, reduction="none") * weights
            return each.mean(1).sum()
        return -(torch.log_softmax(scores, 1) * goals * weights).sum()

    def _off_hints(self, pointed: Any, rows: npt.NDArray[np.intp]) -> Any:
        """The sum over rows of what the cosine to their hint lacks to 1."""
        import torch

        assert self.lessons.hints is not None
        hints = torch.from_numpy(self.lessons.hints[rows]).to(pointed.device)
        return (1 - (torch.nn.functional.normalize(pointed, dim=1) * hints).sum(1)).sum()

    def _backward_of_pairs(self, batch: Batch) -> float:
        """Of all pairs in the batch: texts of a label should point the same way, others be at right angles.

        The loss is SetFit's (Tunstall et al. 2022), the cosine's squared distance from 1 or 0, but each text is encoded
        once for all its pairs. Pairs alike and pairs unlike count the same in sum; where texts carry many labels,
        or what a teacher says, it is the share of labels that two have in common.
        """
        import torch

        parts = micro_batches(batch, max(_PART_TOKENS, batch.ids.size // _PARTS))  # less padding; the loss is over all
        with self.autocast():
            vectors = torch.cat([self.model.vectors(part) for part in parts])
        goals = torch.from_numpy(self.lessons.goals[batch.rows]).to(vectors.device)
        unit = torch.nn.functional.normalize(vectors.float(), dim=1)
        one, other = goals[:, None], goals[None]
        alike = torch.minimum(one, other).sum(2) / torch.maximum(one, other).sum(2).clamp_min(1e-9)
        pairs = 1 - torch.eye(len(goals), device=vectors.device)
        off = (unit @ unit.T - alike) ** 2
        sides = [weight / weight.sum().clamp_min(1) for weight in (alike * pairs, (1 - alike) * pairs)]
        loss = (off * (sides[0] + sides[1])).sum() / 2
        loss.backward()
        return float(loss.detach())

    def _with_less_memory(self, error: RuntimeError, rows: npt.NDArray[np.intp]) -> None:
        if "memory" not in str(error).lower():
            raise error
        longest = int(self.lengths[rows].max())
        if self.micro_tokens <= longest or self.plan.recipe == "pairs":
            raise EncoderError(f"Texts of {longest} tokens don't fit into memory for training: {_LESS}.") from error
        self.micro_tokens = max(longest, min(self.micro_tokens, longest * len(rows)) // 2)
        self.say(f"Memory ran out; from here on at most {self.micro_tokens:,} tokens go through the encoder at once.")

    def _rows(self, step: int) -> npt.NDArray[np.intp]:
        epoch, k = divmod(step, self.plan.per_epoch)
        if epoch != self._order[0]:
            size, seed = self.plan.options.batch_size, self.plan.options.seed
            if self.plan.recipe == "pairs":
                self._order = epoch, mixed_batches(self.lessons.goals.argmax(axis=1), size, seed, epoch)
            else:
                self._order = epoch, epoch_batches(self.lengths, size, seed, epoch)
        return self._order[1][k]

    # -- marks

    def scores(self, ids: Sequence[Sequence[int]]) -> DoubleArray:
        """Return the scores of N rows as they are now, (N, C)."""
        return self._told(self.model.scores, ids, self.lessons.goals.shape[1])

    def vectors(self, ids: Sequence[Sequence[int]], *, exactly: bool = False) -> DoubleArray:
        """Return the vectors of N rows as they are now, (N, D); in fp32, if exactly."""
        return self._told(self.model.vectors, ids, self.model.module["head"].in_features, exactly=exactly)

    def _told(
        self, what: Callable[[Batch], Any], ids: Sequence[Sequence[int]], width: int, *, exactly: bool = False
    ) -> DoubleArray:
        import torch

        self.model.module.eval()
        found = np.empty((len(ids), width))
        with torch.inference_mode(), contextlib.nullcontext() if exactly else self.autocast():
            for batch in batches(ids, 1024):
                found[batch.rows] = what(batch).float().cpu().numpy()
        return found

    def _mark(self) -> None:
        assert self.exam
        course = self.course
        since = course.step - (course.marks[-1].step if course.marks else 0)
        loss, course.losses = course.losses / since, 0.0
        now = self._copy()
        self._put(self._average)
        scores = self.scores(self.exam.ids)
        self._put(now)
        if not np.isfinite(scores).all():
            self.course.ended = "not finite"
            return
        mark = Mark(self.course.step, *measure(scores, self.exam.targets), loss, self.course.seconds)
        self.course.marks.append(mark)
        best = self.course.best
        better = best is None or mark.log_loss < best.log_loss
        if better:
            self.course.best = mark
            self._best = {name: p.clone() for name, p in self._average.items()}
        self.say(
            f"Epoch {mark.step / self.plan.per_epoch:.1f} of {self.plan.epochs:.1f}: {mark.accuracy:.1%} of the "
            f"validation rows right, log-loss {mark.log_loss:.3f}{' (best so far)' if better else ''}."
        )

    def _end(self, *, over: bool) -> Ending:
        course = self.course
        if course.ended or course.step >= self.plan.steps:
            return course.ended or "done"
        if over:
            return "time"
        behind = sum(mark.step > course.best.step for mark in course.marks) if course.best else 0
        return "patience" if behind >= self.plan.options.patience else ""

    # -- keeping

    def _keep(self) -> float:
        if self.checkpoints is None:
            return time.monotonic()
        started = time.monotonic()
        learning = {name: p.detach() for name, p in self.model.learning.items()}
        best = self.course.best
        new = best is not None and best.step != self._best_kept
        self.checkpoints.save(
            self.course.as_facts() | {"micro_tokens": self.micro_tokens},
            {"weights": learning, "average": self._average, "optimiser": self._moments()}
            | ({"best": self._best if new else None} if best else {}),
        )
        self._best_kept = best.step if best else None
        ended = time.monotonic()
        self._until_kept = max(_KEEP_EVERY_S, _WRITING * (ended - started))
        return ended

    def _moments(self) -> dict[str, Any]:
        names = {id(p): name for name, p in self.model.learning.items()}
        state = self.optimiser.state
        return {f"{names[id(p)]}/{key}": value for p, found in state.items() for key, value in found.items()}

    def _resume(self) -> None:
        state = self.checkpoints and self.checkpoints.load(self.model.device)
        if not state:
            return
        self.micro_tokens = state.facts.pop("micro_tokens")
        self.course = Course.from_facts(state.facts)
        self._put(state.parts["weights"])
        self._average, self._best = state.parts["average"], state.parts.get("best", {})
        self._best_kept = self.course.best.step if self.course.best else None
        moments = state.parts["optimiser"]  # of what has had a gradient: where pairs are learned, not the head
        for place, moment in moments.items():
            name, _, key = place.rpartition("/")
            self.optimiser.state[self.model.learning[name]][key] = moment
        self.say(
            f"Going on after step {self.course.step:,} of {self.plan.steps:,}, where the run before this was stopped."
        )

    def _copy(self) -> dict[str, Any]:
        return {name: p.detach().clone() for name, p in self.model.learning.items()}

    def _put(self, weights: dict[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in self.model.learning.items():
                parameter.copy_(weights[name])


def _adamw(model: Trainable, plan: Plan) -> Any:
    """AdamW; lower layers learn slower, and neither norms nor biases decay."""
    import torch

    groups: dict[tuple[float, float], list[Any]] = {}
    top = len(model.layers)
    for name, parameter in model.learning.items():
        depth = model.depth_of(name)
        # A head begins at random, and has more to learn than what is pretrained.
        share = max(1.0, 1e-3 / plan.learning_rate) if depth > top else plan.options.layer_decay ** (top - depth)
        decay = plan.options.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((share, decay), []).append(parameter)
    made = [{"params": ps, "share": share, "weight_decay": decay} for (share, decay), ps in groups.items()]
    return torch.optim.AdamW(made, lr=plan.learning_rate, fused=True)


def _autocast(precision: Training, device: str) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    import torch

    if precision == "fp32" or (precision == "auto" and not multiplies_bf16(device)):
        return contextlib.nullcontext
    return lambda: torch.autocast(device, torch.bfloat16)


def multiplies_bf16(device: str) -> bool:
    """Whether the processor multiplies bf16 itself, and faster than fp32.

    Intel's do it in matrix units (AMX) alone: by AVX-512 they are half as fast in bf16, which AMD's multiply by it at
    nearly twice the rate of fp32 (docs/decisions.md).
    """
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    by_vectors = bool(able.get("avx512_bf16")) and "Intel" not in str(able.get("cpu_name"))
    return by_vectors or bool(able.get("amx_bf16"))


def _seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])
