"""Classify sentences with an exported model; needs onnxruntime, tokenizers and numpy, nothing else.

python classify.py model.onnx "What a joy." "Never again."
"""

import json
import sys

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Model:
    """A file that `firstbert export` has written."""

    def __init__(self, path: str) -> None:
        self.session = onnxruntime.InferenceSession(path)
        facts = self.session.get_modelmeta().custom_metadata_map
        self.labels = json.loads(facts["labels"])
        self.tokenizer = Tokenizer.from_str(facts["tokenizer.json"])  # cuts long texts and pads batches

    def probabilities(self, texts: list[str]) -> np.ndarray:
        """Return the calibrated probabilities, a row for each text and a column for each label."""
        encoded = self.tokenizer.encode_batch(texts)
        ids = np.array([each.ids for each in encoded], np.int64)
        mask = np.array([each.attention_mask for each in encoded], np.int64)
        return self.session.run(["probabilities"], {"input_ids": ids, "attention_mask": mask})[0]


if __name__ == "__main__":
    model = Model(sys.argv[1])
    for text, row in zip(sys.argv[2:], model.probabilities(sys.argv[2:]), strict=True):
        best = row.argmax()
        print(f"{model.labels[best]}\t{row[best]:.3f}\t{text}")
