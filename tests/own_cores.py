"""Tests side by side, each worker on cores of its own: threads of two on the same ones slow each other to a tenth.

To be imported before any library counts the cores.
"""

import os

if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    mine = cores[int(os.environ["PYTEST_XDIST_WORKER"][2:]) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]
    os.sched_setaffinity(0, mine or cores)
