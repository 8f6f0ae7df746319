"""A model's facts → its card, the README.md of a model folder.

After fitting.py on the way of a sentence.
"""

from __future__ import annotations

from typing import Any

from firstbert.predictor import label_text


def card(facts: dict[str, Any]) -> str:
    """Return what the model is, in Markdown, from the facts in model.json and nothing else."""
    training, encoder = facts["training"], facts["encoder"]
    labels = ", ".join(f"`{label_text(label)}`" for label in facts["labels"][:50])
    lines = [
        "# A sentence classifier",
        "",
        f"Tells apart {len(facts['labels'])} labels: {labels}. Made with firstbert {facts['firstbert']}.",
        "",
        f"- Encoder: {encoder['made_with']} ({encoder['family']}), layer {facts['layer']}, {facts['pooling']} pooling, "
        f"at most {facts['max_length']} tokens a text, {facts['precision']} by {facts['backend']}.",
        f"- Head: logistic regression, C = {training.get('C')}.",
        f"- Trained on {training.get('rows')} rows (sha256 of the data {str(training.get('data_sha256'))[:16]}…), "
        f"seed {training.get('seed')}.",
    ]
    if training.get("cv_accuracy") is not None:
        lines.append(f"- Accuracy in cross-validation on the training rows: {100 * training['cv_accuracy']:.1f} %.")
    if test := training.get("test"):
        lines.append(
            f"- Accuracy on {test['n']} test rows: {100 * test['accuracy']:.1f} % "
            f"(always the most frequent label: {100 * test['baseline_accuracy']:.1f} %)."
        )
    lines += [
        "",
        "It knows what its training rows showed it. Texts of another kind can get confident wrong answers.",
        "",
    ]
    lines += ["```python", "from firstbert import load", "", 'load("this folder").predict(["…"])', "```", ""]
    return "\n".join(lines)
