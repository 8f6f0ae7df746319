"""A batch → vectors, by ONNX Runtime.

After graph.py on the way of a sentence.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from firstbert.batches import Batch
from firstbert.errors import EncoderError
from firstbert.families import FloatArray
from firstbert.strict import reason


def usable_cores() -> int:
    """Return how many cores this process may use: affinity and the container's CPU quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota(cores)))


def _quota(cores: int) -> int:
    """Whole cores that the container's quota allows (cgroup v2, then v1); `cores` without one."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else int(quota) // int(period)
    with contextlib.suppress(OSError, ValueError):
        v1 = Path("/sys/fs/cgroup/cpu")
        quota_us = int((v1 / "cpu.cfs_quota_us").read_text())
        return cores if quota_us <= 0 else quota_us // int((v1 / "cpu.cfs_period_us").read_text())
    return cores


def onnx_runtime() -> Any:
    """Import ONNX Runtime with its telemetry off.

    Its wheels for Linux hold a client that reports usage to its makers (1.31), and leave a file among the temporary
    ones, unless this is set before the import.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def finite(outputs: list[FloatArray], source: Path) -> list[FloatArray]:
    """Return what an encoder has given.

    Args:
        outputs: one array per read.
        source: the file that the weights came from.

    Raises:
        EncoderError: it holds NaN or infinite numbers.
    """
    if not all(np.isfinite(output).all() for output in outputs):
        raise EncoderError(
            f"{source}: these weights make NaN or infinite numbers of a text; no answer follows from that."
        )
    return outputs


def session_options(threads: int) -> Any:
    """Return how ONNX Runtime is to run a graph: with so many threads a call, and as it is written.

    The graph is made of fused operators already, so only constants are left to fold, once.
    """
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # or it rounds a second time at each reshape
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return options


class Session:
    """A graph opened in ONNX Runtime; several threads may call it at once.

    Args:
        graph: path of the .onnx file; its weights lie beside it and are mapped, not read.
        threads: how many threads one call may use.
        source: the file that the weights came from, for messages.
    """

    def __init__(self, graph: Path, threads: int = 1, source: Path | None = None) -> None:
        self._source = source or graph
        options = session_options(threads)
        try:
            self._session = onnx_runtime().InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's errors share no base class of their own
            raise EncoderError(f"{graph}: ONNX Runtime can't open it ({reason(error)}).") from error

    def __call__(self, batch: Batch) -> list[FloatArray]:
        """Return one array per read of the graph: (B, D), or (B, T, D) for "tokens".

        Raises:
            EncoderError: there is no memory for it, or what comes out are no numbers.
        """
        try:
            outputs = self._session.run(None, {"ids": batch.ids, "lengths": batch.lengths})
        except Exception as error:
            size = "x".join(map(str, batch.ids.shape))
            raise EncoderError(f"{self._source}: can't be run on {size} tokens ({reason(error)}).") from error
        return finite([np.asarray(output) for output in outputs], self._source)

    @property
    def names(self) -> list[str]:
        """The outputs' names, in order."""
        return [output.name for output in self._session.get_outputs()]
