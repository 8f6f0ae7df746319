"""A command's seconds from start to end, and the most memory it held: `python -I timed.py OUT.json COMMAND …`.

A process of its own, and a small one: the kernel counts what the starting process holds as the started one's peak.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main(out: str, command: list[str]) -> int:
    start = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    facts = {"wall": time.perf_counter() - start, "peak": usage.ru_maxrss * 1024}
    facts["cpu"] = usage.ru_utime + usage.ru_stime
    Path(out).write_text(json.dumps(facts))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
