"""Texts and labels → a classifier whose encoder has learned from them too, or the frozen one where that is better.

After tuned.py on the way of a sentence. The frozen encoder is fitted first; then encoder and head learn together; the
better of the two on the validation rows is what comes out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np
from sklearn.base import clone

from firstbert import plan as planning
from firstbert.cache import encode
from firstbert.classifier import SentenceClassifier
from firstbert.decision import Promise
from firstbert.encoder import warn_of_truncation
from firstbert.fitting import bound_errors, check_fit, versions
from firstbert.material import Finetuning, Material
from firstbert.predictor import Predictor
from firstbert.targets import ClassIndex
from firstbert.trainable import require
from firstbert.tuned import EncoderTraining

__all__ = ["Finetuning", "finetune"]

_MEASURED = ("accuracy", "log_loss")


def finetune(
    classifier: SentenceClassifier, job: Finetuning, say: Callable[[str], None] = lambda line: None
) -> SentenceClassifier:
    """Fine-tune an encoder, and return a fitted classifier: that one, or the frozen one where it is as good.

    Args:
        classifier: says which encoder and head; it isn't changed.
        job: see there.
        say: takes a line about what is done and found.

    Raises:
        DataError: fewer than two labels, or too few rows to hold some out.
        UsageError: an option makes no sense, or the extra "finetune" isn't installed.
        EncoderError, SourceError: the encoder can't be used or had, or memory doesn't hold a single text.
        ArtifactError: the work folder can't be written.
    """
    require()
    planning.check(job.options)
    check_fit(classifier.fit_options())
    return _Run(classifier, job, say).run()


class _Run:
    """One call of `finetune`."""

    def __init__(self, classifier: SentenceClassifier, job: Finetuning, say: Callable[[str], None]) -> None:
        self.classifier, self.job, self.say = classifier, job, say
        self.started = time.monotonic()
        self.material = Material(classifier, job, say)
        self.training = EncoderTraining(self.material, self.started)

    def run(self) -> SentenceClassifier:
        facts: dict[str, Any] = {"encoder": self.material.files.title, "recipe": self.material.recipe}
        result, more = self._untested() if self.material.exam is None else self._tested()
        result.facts_["finetune"] = facts | more | {"seconds": round(time.monotonic() - self.started, 1)}
        return result

    def _untested(self) -> tuple[SentenceClassifier, dict[str, Any]]:
        """With no rows to compare on: there are too few to spare any, or it is pairs that are learned."""
        n, few = len(self.material.learn), len(self.job.rows.texts) <= planning.FEW_ROWS
        why = f"{n:,} rows are too few to hold some out" if few else f"Pairs are learned of all {n:,} rows"
        self.say(
            f"{why}, so whether fine-tuning helps isn't measured. With --validation FILE it is (in Python: validation)."
        )
        self._say_what_is_not_done()
        truncated = self.material.tokens(self.material.texts(self.material.learn)).truncated
        warn_of_truncation(np.array(truncated, np.bool_), self.classifier.max_length)
        found = self.training.run()
        if found is None:
            return self._frozen(self.material.learn), {"saved": "frozen"}
        return self._fitted(found[0]), found[1] | {"saved": "finetuned"}

    def _say_what_is_not_done(self) -> None:
        """Of what was asked for, without rows to measure on."""
        if self.classifier.precision == "int8":
            self.say("What int8 costs can't be measured either: the model is kept in fp32.")
        if self.classifier.thresholds != "equal":
            self.say("Nor can thresholds be chosen: they stay equal.")

    def _tested(self) -> tuple[SentenceClassifier, dict[str, Any]]:
        """Against the frozen encoder, on the validation rows."""
        frozen = self._frozen(self.material.learn)
        before = self._measured(frozen.predictor_)
        rows = self.material.exam_targets
        facts: dict[str, Any] = {"validation_rows": len(rows.y) if rows else 0}
        facts["frozen"] = dict(zip(_MEASURED, before, strict=True))
        self.say(
            f"Frozen, the encoder gets {before[0]:.1%} of {facts['validation_rows']:,} validation rows right (log-loss "
            f"{before[1]:.3f}). Fine-tuning has to do better."
        )
        found = self.training.run()
        if found is None:
            self.say("Nothing came of fine-tuning: the frozen encoder is taken.")
            return self._whole_frozen(frozen), facts | {"saved": "frozen"}
        predictor = self._in_int8(found[0])
        after = self._measured(predictor)
        facts |= {"finetuned": dict(zip(_MEASURED, after, strict=True))} | found[1]
        if (after[0], -after[1]) <= (before[0], -before[1]):
            self.say(f"Fine-tuned, it gets {after[0]:.1%} right, which is no better: the frozen encoder is taken.")
            return self._whole_frozen(frozen), facts | {"saved": "frozen"}
        self.say(f"Fine-tuned, it gets {after[0]:.1%} right (log-loss {after[1]:.3f}): that is what is taken.")
        return self._fitted(predictor), facts | {"saved": "finetuned"}

    def _measured(self, predictor: Predictor) -> tuple[float, float]:
        """Accuracy and log-loss on the validation rows, as it would answer."""
        exam, targets = self.material.exam, self.material.exam_targets
        assert exam and targets
        predictions = predictor.predict(exam.texts, cache=self.classifier.cache)
        right = (predictions.chosen == targets.carried).all(axis=1).mean()
        p = np.clip(predictions.probabilities, 1e-12, 1 - 1e-12)
        scores = np.log(p) - np.log1p(-p) if predictor.decision.many else np.log(p)
        return float(right), float(targets.losses(scores).mean())

    def _in_int8(self, predictor: Predictor) -> Predictor:
        """The same with int8 arithmetic, where that is asked for and costs no more than it may."""
        if self.classifier.precision != "int8":
            return predictor
        other = replace(predictor, encoder=replace(predictor.encoder, precision="int8"))
        fp32, int8 = (self._measured(each)[0] for each in (predictor, other))
        cost = f"int8 brings the accuracy on the validation rows from {fp32:.1%} to {int8:.1%}"
        if 100 * (fp32 - int8) > self.job.max_int8_loss:
            self.say(f"{cost}, over the {self.job.max_int8_loss:g} points it may cost: the model is kept in fp32.")
            return predictor
        self.say(f"{cost}.")
        return other

    # -- frozen

    def _frozen(self, rows: ClassIndex) -> SentenceClassifier:
        """The same classifier without fine-tuning, on some of the rows."""
        plain = clone(self.classifier).set_params(max_error=None, precision="fp32")
        return cast("SentenceClassifier", plain.fit_examples(self.job.rows.take(rows.tolist())))

    def _whole_frozen(self, frozen: SentenceClassifier) -> SentenceClassifier:
        """What was held out of the rows for stopping is learned from too, now that there is nothing to stop."""
        asked = self.classifier
        if asked.precision == "int8":
            asked = clone(asked).set_params(precision=self._in_int8(frozen.predictor_).encoder.precision)
        plain = asked.max_error is None and asked.precision == "fp32"
        if not len(self.material.spared) and not self.job.left_out and plain:
            return frozen
        whole = clone(asked).fit_examples(self.job.rows, left_out=self.job.left_out)
        return cast("SentenceClassifier", whole)

    # -- fine-tuned

    def _fitted(self, predictor: Predictor) -> SentenceClassifier:
        """The classifier of a fine-tuned encoder, with its bound on errors and the facts of its training."""
        material, asked = self.material, self.classifier
        if asked.precision == "bf16":
            self.say("What was fine-tuned is kept in fp32, not bf16.")
        bound = self._bound(predictor)
        if bound is not None:
            predictor = replace(predictor, decision=replace(predictor.decision, accept=bound.threshold))
        facts = {
            "rows": len(material.learn),
            "rows_per_label": material.learn_targets.carried.sum(axis=0).tolist(),
            "left_out": len(self.job.left_out),
            "truncated_rows": sum(material.tokens(material.texts(material.learn)).truncated),
            "data_sha256": self.job.rows.sha256,
            "seed": self.job.options.seed,
            "C": None,
            "cv_accuracy": None,
            "layers": None,
            "thresholds": asked.thresholds if material.exam else "equal",
            "promise": None if bound is None else asdict(bound),
            "versions": versions(dict.fromkeys((*predictor.engine.prepared.libraries, "torch", "transformers"))),
        }
        result = clone(asked).set_params(layer=self.training.layer).take_over(predictor, facts)
        return cast("SentenceClassifier", result)

    def _bound(self, predictor: Predictor) -> Promise | None:
        material, asked = self.material, self.classifier
        if asked.max_error is None:
            return None
        assert material.exam and material.exam_targets
        texts = (material.texts(material.held), material.exam.texts)
        unseen, seen = (predictor.head.scores(encode(predictor.engine, each, asked.cache).joined) for each in texts)
        carried = material.targets(material.y[material.held]).carried
        return bound_errors(
            predictor, (unseen, carried), (seen, material.exam_targets.carried), asked.max_error, asked.confidence
        )
