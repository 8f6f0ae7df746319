"""A batch → vectors, by ONNX Runtime.

After graph.py on the way of a sentence.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from firstbert.batches import Batch
from firstbert.errors import EncoderError
from firstbert.families import FloatArray
from firstbert.strict import reason

_OURS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")  # which control groups we are in, and all of them


def usable_cores() -> int:
    """Return how many cores this process may use: affinity and the CPU quotas of its control groups, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([cores, *map(_quota, _groups())])))


def _groups() -> Iterator[Path]:
    """The control groups that may limit our CPU time: in v2 and v1, the process's own and all above it."""
    try:
        lines = _OURS.read_text().splitlines()
    except OSError:
        lines = ["0::/", "1:cpu:/"]
    for line in lines:
        _, kinds, path = line.split(":", 2)
        parts = path.strip("/").split("/")
        roots = {_GROUPS / "cpu", _GROUPS / kinds} if "cpu" in kinds.split(",") else () if kinds else {_GROUPS}
        yield from (root.joinpath(*parts[:n]) for root in roots for n in range(len(parts) + 1))


def _quota(group: Path) -> float:
    """How many cores a control group may keep busy (v2, then v1); infinite without a quota."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):
            quota, period = map(int, " ".join((group / name).read_text() for name in names).split())  # not "max"
            return quota / period if quota > 0 else math.inf
    return math.inf


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
