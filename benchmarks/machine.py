"""What a run must say of its machine, and how fast the machine can multiply."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
LIBRARIES = (
    "firstbert", "numpy", "scikit-learn", "onnxruntime", "onnx", "tokenizers", "torch", "transformers",
    "sentence-transformers", "ctranslate2", "openvino", "nncf", "fastembed", "optimum", "optimum-onnx", "optimum-intel",
    "setfit", "accelerate", "datasets", "pyarrow", "ray",
    "fastapi", "uvicorn", "uvloop", "httptools", "litserve", "infinity-emb",
)  # fmt: skip
SIZES = (1024, 2048)  # of the square products


def facts(threads: int) -> dict[str, Any]:
    """Return processor, flags, cores, memory, load."""
    info = _cpu_info()
    return {
        "cpu": info.get("model name", platform.processor()),
        "family": "/".join(info.get(key, "?") for key in ("cpu family", "model", "stepping")),
        "flags": [flag for flag in FLAGS if flag in info.get("flags", "").split()],
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _cpu_info() -> dict[str, str]:
    """The first processor of /proc/cpuinfo."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return {}


def flags() -> set[str]:
    """Return the instruction sets of this processor that matter here."""
    return set(_cpu_info().get("flags", "").split())


def others() -> dict[str, float]:
    """Return what else the machine does: load of the last minute, and seconds taken by other guests since boot."""
    stolen = 0.0
    with contextlib.suppress(OSError, IndexError):
        stolen = int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")
    return {"load": os.getloadavg()[0], "stolen_seconds": stolen}


def variables() -> dict[str, str]:
    """Return this process's environment for others; they may keep the bytecode of what they import, as is usual."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def versions() -> dict[str, str]:
    """Return library → version, of those installed where this runs."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def peak_rss() -> int:
    """Return the most bytes of memory this process has held so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def sgemm(repeats: int) -> dict[str, float]:
    """Return product → the best GFLOP/s of a few tries, for each library and size."""
    rates = {}
    for size in SIZES:
        for name, product in _products(size).items():
            rates[f"{name} {size}"] = 2e-9 * size**3 / min(_seconds(product) for _ in range(repeats))
    return rates


def _products(size: int) -> dict[str, Callable[[], Any]]:
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = rng.random((size, size), np.float32), rng.random((size, size), np.float32)
    products: dict[str, Callable[[], Any]] = {"numpy": lambda: a @ b}
    with contextlib.suppress(ImportError):
        import torch

        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        products["torch"] = lambda: ta @ tb
    for product in products.values():
        product()
    return products


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
