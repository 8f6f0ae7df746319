"""A model's facts → its card, the README.md of a model folder.

After fitting.py on the way of a sentence. The parts are those of Hugging Face's model cards (Mitchell et al. 2019,
"Model cards for model reporting"), the head in YAML is what its hub reads. All it tells is in model.json, or in the
catalogue about the encoder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from firstbert.catalog import EncoderEntry, encoders
from firstbert.predictor import is_finetuned, label_text

_MOST_LABELS = 50
_MEASURES = (
    ("accuracy", "Accuracy", True),
    ("balanced_accuracy", "Balanced accuracy", True),
    ("macro_f1", "Macro F1", True),
    ("roc_auc", "ROC area", False),
    ("pr_auc", "Precision-recall area", False),
    ("log_loss", "Log-loss (lower is better)", False),
    ("brier", "Brier score (lower is better)", False),
    ("ece", "Calibration error (lower is better)", True),
)


def card(facts: dict[str, Any]) -> str:
    """Return what the model is, in Markdown, from the facts in model.json and the catalogue."""
    parts: list[tuple[str, Callable[[dict[str, Any]], list[str]]]] = [
        ("How to use it", _use),
        ("What it is for", _purpose),
        ("Labels", _labels),
        ("How it was trained", _training),
        ("What it is worth", _worth),
        ("When it is unsure", _unsure),
        ("Limits", _limits),
        ("Licence", _licence),
        ("How to get the same again", _reproduce),
    ]
    lines = [*_head(facts), "", "# A sentence classifier", "", _opening(facts), ""]
    for title, content in parts:
        if found := content(facts):
            lines += [f"## {title}", "", *found, ""]
    return "\n".join(lines)


def _head(facts: dict[str, Any]) -> list[str]:
    """What machines read; of our own words and the catalogue's alone, so that no label can break out of it."""
    lines = ["library_name: firstbert", "pipeline_tag: text-classification", "tags:", "- text-classification"]
    if known := _known(facts):
        lines += [f"base_model: {known.hub_id}", "language:", *(f"- {language}" for language in known.languages)]
    return ["---", *lines, "---"]


def _known(facts: dict[str, Any]) -> EncoderEntry | None:
    """The catalogue's entry of the encoder it began with."""
    return next((entry for entry in encoders() if entry.name == facts["encoder"]["made_with"]), None)


def _opening(facts: dict[str, Any]) -> str:
    many, n = facts.get("many_labels"), len(facts["labels"])
    learned = ", both fine-tuned on labelled rows" if is_finetuned(facts["training"]) else ""
    what = f"Gives a sentence any number of {n} labels" if many else f"Gives a sentence one of {n} labels"
    return (
        f"{what}, with a probability. A pretrained encoder turns the sentence into a vector, and a logistic "
        f"regression turns that into the answer{learned}. Made with firstbert {facts['firstbert']}."
    )


def _use(facts: dict[str, Any]) -> list[str]:
    return [
        "In this folder, with `pip install firstbert`:",
        "",
        *("```sh", 'firstbert predict . --text "…"', "firstbert doctor .", "```", ""),
        *("```python", "from firstbert import load", "", 'print(load(".").predict_proba(["…"]))', "```", ""),
        "The second line says whether this machine gives the answers that it gave where it was saved.",
    ]


def _purpose(facts: dict[str, Any]) -> list[str]:
    about = "subjects" if facts.get("many_labels") else "kinds"
    known = _known(facts)
    tongue = f" The encoder was pretrained on {_languages(known)}." if known else ""
    return [
        f"- Made for: sorting texts of the kind that it was trained on into these {about}, where a wrong answer can be "
        f"borne or is looked at by a person.{tongue}",
        "- Not made for: texts of another kind or language, deciding about people without a person, or taking part in "
        "a system that must not err. Whoever uses it so has to measure it there first: `firstbert evaluate`.",
    ]


def _languages(known: EncoderEntry) -> str:
    names = {"en": "English"}
    return ", ".join(names.get(language, language) for language in known.languages)


def _labels(facts: dict[str, Any]) -> list[str]:
    labels, training = facts["labels"], facts["training"]
    counts = training.get("rows_per_label") or [None] * len(labels)
    thresholds = (facts.get("thresholds") or {}).get("labels")
    scores = (training.get("test") or {}).get("per_class") or {}
    head = ["Label", "Rows trained on"] + ["Threshold"] * bool(thresholds)
    head += ["Precision", "Recall", "F1", "Test rows"] if scores else []
    rows = []
    for i, label in enumerate(labels[:_MOST_LABELS]):
        row = [_code(label_text(label)).replace("|", "\\|"), "–" if counts[i] is None else f"{counts[i]:,}"]
        row += [f"{thresholds[i]:.3f}"] if thresholds else []
        if found := scores.get(label_text(label)):
            row += [_percent(found[name]) for name in ("precision", "recall", "f1")] + [f"{found['support']:,}"]
        rows.append(row)
    more = ["", f"… and {len(labels) - _MOST_LABELS:,} more."] if len(labels) > _MOST_LABELS else []
    return [*_table(head, rows), *more, *(["", _about_thresholds(facts)] if thresholds else [])]


def _about_thresholds(facts: dict[str, Any]) -> str:
    if facts.get("many_labels"):
        return (
            "A label is answered where its probability reaches its threshold. These were chosen for the best macro F1."
        )
    return (
        "The answer is the label whose probability is the largest multiple of its threshold; they were chosen for the "
        "best macro F1."
    )


def _training(facts: dict[str, Any]) -> list[str]:
    training, encoder = facts["training"], facts["encoder"]
    layer = facts["layer"]
    layers = f"layer {layer}" if isinstance(layer, int) else f"layers {' + '.join(map(str, layer))} side by side"
    learned, head = "unchanged", [f"- Head: logistic regression, C = {training.get('C')}."]
    if is_finetuned(training):
        learned, head = "fine-tuned", _finetuned(training["finetune"])
    lines = [
        f"- Encoder, {learned}: {encoder['made_with']} ({encoder['family']}), {layers}, {facts['pooling']} pooling, "
        f"at most {facts['max_length']} tokens a text, {facts['precision']} by {facts['backend']}.",
        *_why(training.get("layers") or []),
        *head,
        f"- Trained on {training.get('rows')} rows, seed {training.get('seed')}.",
    ]
    if training.get("truncated_rows"):
        lines.append(f"- {training['truncated_rows']:,} of them were longer than that and lost their ends.")
    lines += _calibration((facts.get("calibration") or {}).get("temperature"), training)
    if training.get("cv_accuracy") is not None:
        lines.append(f"- Accuracy in cross-validation on the training rows: {_percent(training['cv_accuracy'])}.")
    return lines


def _calibration(temperature: float | None, training: dict[str, Any]) -> list[str]:
    """How the probabilities came to be."""
    if temperature is None:
        return []
    if temperature != 1:
        return [
            f"- Its scores are divided by a temperature of {temperature:.3g}, found on rows not fitted on, so that its "
            "probabilities come true as often as they say."
        ]
    validated = is_finetuned(training) and training["finetune"].get("validation_rows")
    if validated or training.get("cv_accuracy") is not None:
        return ["- Its probabilities are left as they are: on rows not fitted on, nothing made them surely truer."]
    return ["- Its probabilities are left as they are; no rows were left to check them on."]


def _finetuned(how: dict[str, Any]) -> list[str]:
    """How the encoder and its head learned."""
    what = "Pairs of texts of the same and of different labels" if how["recipe"] == "pairs" else "Labels"
    lines = [
        f"- {what} were learned for {how['epochs']:.1f} epochs (peak learning rate {how['learning_rate']:.2g}, "
        f"{how['batch_size']} rows a step, {how['precision']} on {how['device']}, {how['tune']} layers)."
    ]
    if how["teacher"]:
        more = f" and {how['unlabelled']:,} texts without labels" if how["unlabelled"] else ""
        lines.append(f"- A larger model’s probabilities of the training rows{more} were learned from as well.")
    if how.get("frozen"):
        before, after = (_percent(how[name]["accuracy"]) for name in ("frozen", "finetuned"))
        lines.append(f"- On {how['validation_rows']:,} validation rows: frozen {before} right, fine-tuned {after}.")
    return lines


def _why(places: Sequence[dict[str, Any]]) -> list[str]:
    chosen = next((place for place in places if place["chosen"]), None)
    if chosen is None:
        return []
    if len(chosen["layers"]) > 1:
        why = "side by side they have the least log-loss"
    elif any(place["log_loss"] < chosen["log_loss"] for place in places if len(place["layers"]) == 1):
        why = "the lowest layer that is level with the one of the least log-loss, by one standard error"
    else:
        why = "the least log-loss"
    return [
        f"- Chosen among {len(places)} ways of reading it by cross-validation on the training rows: {why} "
        f"({chosen['log_loss']:.3f}; accuracy {_percent(chosen['accuracy'])} ± {_percent(chosen['accuracy_se'])})."
    ]


def _worth(facts: dict[str, Any]) -> list[str]:
    test = facts["training"].get("test")
    if not test:
        return ["Nobody has measured it on rows that it wasn’t trained on."]
    held = f"{100 * (test.get('bootstrap') or {}).get('confidence', 0.95):g} % interval"
    rows = []
    for name, title, share in _MEASURES:
        value, bounds = test.get(name), (test.get("intervals") or {}).get(name)
        if value is not None:
            rows.append([title, _shown(value, share), "" if bounds is None else _span(bounds, share)])
    what = "set of labels" if facts.get("many_labels") else "label"
    return [
        f"On {test['n']:,} rows that it wasn’t trained on. Always giving the most frequent {what} would be right for "
        f"{_percent(test['baseline_accuracy'])} of them.",
        "",
        *_table(["Measure", "Value", held], rows),
    ]


def _unsure(facts: dict[str, Any]) -> list[str]:
    promise, found = facts["training"].get("promise"), (facts["training"].get("test") or {}).get("abstention")
    accept = (facts.get("thresholds") or {}).get("accept")
    if accept is None:
        return []
    if not promise:
        return [f"Answers with a probability below {_percent(accept)} are marked unsure."]
    asked, sure = _percent(promise["max_error"]), _percent(promise["confidence"])
    if promise["error"] is None:
        return [
            f"Every answer is marked unsure: on {promise['rows']:,} rows held out, no threshold could be shown to keep "
            f"errors within {asked} with a confidence of {sure}."
        ]
    lines = [
        f"Answers with a probability below {_percent(accept)} are marked unsure. With a confidence of {sure}, at most "
        f"{asked} of the others are wrong, for texts that come from where its training rows came from: "
        f"{promise['rows']:,} of these, held out, show that (Geifman and El-Yaniv 2017)."
    ]
    if found and found["error"] is not None:
        lines += [
            "",
            f"Of the test rows it answered {_percent(found['coverage'])}, {_percent(found['error'])} of those wrongly "
            f"({_span(found['error_interval'], True)}).",
        ]
    return lines


def _limits(facts: dict[str, Any]) -> list[str]:
    lines = [
        "- It knows what its training rows showed it. Texts of another kind, or in another language, can get confident "
        "wrong answers.",
        f"- It reads the first {facts['max_length']} tokens of a text; the rest is cut, and that is told.",
        "- What is unfair in the training rows, or in what the encoder was pretrained on, is in its answers too.",
    ]
    if kept := facts.get("neighbours"):
        lines.append(f"- Its folder holds {kept['rows']:,} of its training sentences, readable by whoever has it.")
    if not facts.get("many_labels"):
        lines.append("- It answers one of its labels, also where none of them fits.")
    return lines


def _licence(facts: dict[str, Any]) -> list[str]:
    made_with, known = facts["encoder"]["made_with"], _known(facts)
    if known:
        of = f"The encoder, [{known.hub_id}](https://huggingface.co/{known.hub_id}), is under {known.licence}."
    else:
        of = f"The encoder, {_code(made_with)}, is under the licence that its publisher gave it."
    return [f"{of} What was learned from the training rows is its maker's to license; nothing is said of that here."]


def _reproduce(facts: dict[str, Any]) -> list[str]:
    training = facts["training"]
    found = [
        ("Data", training.get("data") and _code(training["data"])),
        ("Data, sha256", training.get("data_sha256") and _code(training["data_sha256"])),
        ("Encoder’s weights, sha256", _code(facts["encoder"]["weights_sha256"])),
        ("Seed", training.get("seed")),
        ("Versions", ", ".join(f"{name} {version}" for name, version in (training.get("versions") or {}).items())),
    ]
    return [f"- {name}: {value}" for name, value in found if value not in (None, "")]


# ---------------------------------------------------------------- Markdown


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    line = ["---"] + ["--:"] * (len(head) - 1)
    return [f"| {' | '.join(cells)} |" for cells in (head, line, *rows)]


def _code(text: object) -> str:
    """Text as it is, whatever it holds; CommonMark: a fence is longer than any run of backticks within."""
    shown = " ".join(str(text).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in shown else f"{fence}{shown}{fence}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _shown(value: float, share: bool) -> str:
    return _percent(value) if share else f"{value:.3f}"


def _span(bounds: Sequence[float], share: bool) -> str:
    low, high = (_shown(bound, share) for bound in bounds)
    return f"{low.removesuffix(' %') if share else low}–{high}"
