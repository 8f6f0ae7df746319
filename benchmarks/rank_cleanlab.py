"""What cleanlab makes of out-of-fold probabilities: `python rank_cleanlab.py IN.npz OUT.npz`, where it is installed.

IN holds `labels` (N,) and `probabilities` (N, C). OUT gets, for each of its scores, `rank_…`: rows, the most doubted
first; `issues`: the rows that it takes for mistaken, by its own rule; and `version`. Imports nothing of firstbert.
"""

from __future__ import annotations

import sys

import cleanlab
import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")

if __name__ == "__main__":
    given = np.load(sys.argv[1])
    labels, probabilities = given["labels"], given["probabilities"]
    ranks = {
        f"rank_{score}": np.argsort(get_label_quality_scores(labels, probabilities, method=score), kind="stable")
        for score in SCORES
    }
    issues = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    np.savez(sys.argv[2], issues=issues, version=np.array(cleanlab.__version__), **ranks)
