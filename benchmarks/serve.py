"""`firstbert serve` measured: `python -m benchmarks.serve [SECTION …]`. `make serve-bench` makes what it needs first.

Rows a second against in-process bulk and other servers, one request at a time, more requests than can be answered,
SIGTERM under load, ten minutes of all kinds of requests. Figures go to results/serve.json, part by part, and from there
to docs/serving.md (serve_report.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import commands, serve_report
from benchmarks.kept import ROOT, BenchError, Results, note
from benchmarks.serve_answers import judge, of_term, summary
from benchmarks.serve_mixed import mixed, of_kinds
from benchmarks.serve_process import ENDS, Server, Watch
from benchmarks.serve_servers import SETTINGS, Contender, Options, Serving

ROUNDS = 3
CLIENTS = 64
SECONDS, TRIAL_S, WARM_S = 60.0, 10.0, 5.0  # of a run; of a setting that is tried; not counted at the beginning
BLOCKS, REQUESTS = 5, 200  # one request at a time: blocks in turns, requests of each
TIMES, TERMS = 10, 5  # the capacity, sent; servers that are ended under load
SOAK_S, SOAK_CLIENTS, FIRST_S, LOOK_S = 600.0, 16, 60.0, 5.0
_OURS, _PEERS = 1e-6, 1e-4  # how far a score may be off: the same arithmetic; another library's


def closed(
    serving: Serving, contender: Contender, server: Server, seconds: float, clients: int = CLIENTS, **more: Any
) -> Any:
    """Load a server by a closed loop; return what was counted, and its answers judged."""
    warm = min(WARM_S, seconds / 5)
    before = server.cpu()
    found = serving.load(contender, port=server.port, clients=clients, seconds=seconds, **more)
    tolerance = _OURS if contender.ours else _PEERS
    judged = {"answers": judge(found["answers"], contender.expected, tolerance)} if contender.expected else {}
    return summary(found, warm, seconds) | judged | {"server_cpu": server.cpu() - before}


# ---------------------------------------------------------------- rows a second


def throughput(serving: Serving, results: Results) -> None:
    """The settings that suit each of the others best; then all, round after round, each begun by the next."""
    for system in SETTINGS:
        results.part(f"throughput, settings of {system}", partial(settings, serving, system))
    for turn in serving.seeds(ROUNDS):
        results.part(f"throughput, {turn}", partial(race, serving, turn, chosen(serving, results)))


def settings(serving: Serving, system: str) -> dict[str, Any]:
    """Try each setting for a while."""
    tried = {}
    for name in SETTINGS[system]:
        note(f"  {name}")
        tried[name] = measured(serving, serving.peer(system, name), serving.seconds(TRIAL_S))
    return {"tried": tried, "best": max(tried, key=lambda name: tried[name]["rate"])}


def chosen(serving: Serving, results: Results) -> dict[str, Contender]:
    """Return the systems that serve, others at their best setting; those that can't be had are left out."""
    found = {"firstbert": serving.ours("last"), "firstbert, layer auto": serving.ours("auto")}
    for system in SETTINGS:
        if part := results.parts.get(f"throughput, settings of {system}"):
            found[system] = serving.peer(system, part["best"])
    return found


def race(serving: Serving, turn: int, contenders: dict[str, Contender]) -> dict[str, Any]:
    """Answer the same texts by each, and inside a process."""
    seconds = serving.seconds(SECONDS)
    ways: dict[str, Callable[[], Any]] = {
        "in-process": partial(serving.step, "bulk", layer="last", seconds=seconds),
        "in-process, layer auto": partial(serving.step, "bulk", layer="auto", seconds=seconds),
    }
    ways |= {name: partial(measured, serving, one, seconds) for name, one in contenders.items()}
    names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
    runs = {}
    for name in names:
        note(f"  {name}")
        runs[name] = ways[name]()
    return {"runs": {name: runs[name] for name in ways}}


def measured(serving: Serving, contender: Contender, seconds: float) -> dict[str, Any]:
    """Start a server, load it, end it."""
    with serving.server(contender) as server, Watch(server, 1.0) as watch:
        found: dict[str, Any] = closed(serving, contender, server, seconds)
    return found | {"peak": watch.peak, "start_seconds": server.start_seconds}


# ---------------------------------------------------------------- one request at a time


def latency(serving: Serving, results: Results) -> None:
    """Round after round."""
    for turn in serving.seeds(ROUNDS):
        results.part(f"latency, {turn}", partial(one_at_a_time, serving))


def one_at_a_time(serving: Serving) -> dict[str, Any]:
    """One client of an idle server, and calls inside a process, in turns."""
    n, ours = serving.size(REQUESTS, 20), serving.ours("last")
    inside: list[float] = []
    served: list[float] = []
    with serving.server(ours) as server:
        serving.load(ours, port=server.port, seconds=60.0, limit=n)
        for block in range(2 if serving.options.quick else BLOCKS):
            inside += serving.step("one_by_one", layer="last", n=n, first=block * n)["seconds"]
            found = serving.load(ours, port=server.port, seconds=60.0, limit=n, first=block * n)
            if set(found["status"]) != {200} or len(found["status"]) != n:
                raise BenchError(f"{n} requests, one at a time: statuses {found['status']}")
            served += found["seconds"]
    both = {"in-process": inside, "served": served}
    return {name: {f"p{q}": float(np.percentile(one, q)) for q in (50, 99)} for name, one in both.items()} | {
        "n": len(served)
    }


# ---------------------------------------------------------------- too many requests, and the end


def overload(serving: Serving, results: Results) -> None:
    """Ten times what can be answered; then SIGTERM under load."""
    results.part("overload, flood", partial(flood, serving))
    for turn in serving.seeds(TERMS):
        results.part(f"overload, term {turn}", partial(term, serving))


def flood(serving: Serving) -> dict[str, Any]:
    """Measure the capacity, send ten times as many requests, measure it again."""
    ours, seconds, trial = serving.ours("last"), serving.seconds(SECONDS), serving.seconds(TRIAL_S)
    with serving.server(ours) as server:
        before = closed(serving, ours, server, trial)
        rss = {"before": server.rss()}
        with Watch(server, 1.0) as watch:
            found = serving.load(ours, port=server.port, seconds=seconds, rate=TIMES * before["rate"])
        time.sleep(serving.seconds(TRIAL_S) / 2)
        rss |= {"peak": watch.peak, "after": server.rss()} | _halves(watch, seconds)
        alive = server.alive
        after = closed(serving, ours, server, trial)
        rss["at_the_end"] = server.rss()
        code = server.stop()
    flooded = summary(found, min(WARM_S, seconds / 5), seconds)
    flooded["answers"] = judge(found["answers"], ours.expected or [], _OURS)
    flooded["asked_rate"] = TIMES * before["rate"]
    return {"before": before, "flood": flooded, "after": after, "rss": rss, "alive": alive, "exit": code}


def _halves(watch: Watch, seconds: float) -> dict[str, int]:
    """The most memory in the first half of the flood and in the second one."""
    halves = ([rss for at, rss in watch.samples if (at >= seconds / 2) == late] or [0] for late in (False, True))
    return dict(zip(("first_half", "second_half"), map(max, halves), strict=True))


def term(serving: Serving) -> dict[str, Any]:
    """End a server while all clients wait for answers."""
    ours, after = serving.ours("last"), serving.seconds(TRIAL_S) / 2
    with serving.server(ours) as server:  # clients end as they are refused, long before the load's time is over
        found = serving.load(
            ours, port=server.port, clients=CLIENTS, seconds=after + ENDS, term=server.process.pid, term_after=after
        )
        code = server.wait()
    judged = judge(found["answers"], ours.expected or [], _OURS)
    return of_term(found, found["termed"]) | {"answers": judged, "exit": code}


# ---------------------------------------------------------------- ten minutes


def soak(serving: Serving, results: Results) -> None:
    """All kinds of requests for a long time."""
    results.part("soak, mixed", partial(soaked, serving))


def soaked(serving: Serving) -> dict[str, Any]:
    """Send short texts and long ones, lists, bad requests, requests to explain; watch the memory."""
    ours, seconds = serving.ours("last"), serving.seconds(SOAK_S)
    requests, expected, kinds = mixed(serving)
    ours = ours.asked(serving.file_of("mixed", requests), expected)
    with serving.server(ours) as server, Watch(server, seconds * LOOK_S / SOAK_S) as watch:
        found = serving.load(ours, port=server.port, clients=SOAK_CLIENTS, seconds=seconds)
        alive = server.alive
    return {
        "load": summary(found, 0.0, seconds),
        "kinds": of_kinds(found, kinds),
        "answers": judge(found["answers"], expected, _OURS),
        "alive": alive,
        "rss": flatness(watch.samples, seconds * FIRST_S / SOAK_S),
        "samples": [[round(at, 1), rss] for at, rss in watch.samples],
    }


def flatness(samples: Sequence[tuple[float, int]], since: float) -> dict[str, float]:
    """Return least and most bytes after the first minute, their ratio, and the slope in bytes a minute."""
    kept = [(at, rss) for at, rss in samples if at >= since]
    times, sizes = np.array(kept, float).T
    slope = float(np.polyfit(times, sizes, 1)[0]) * 60 if len(kept) > 1 else 0.0
    least, most = float(sizes.min()), float(sizes.max())
    return {"least": least, "most": most, "ratio": most / least, "slope": slope, "n": len(kept)}


SECTIONS: dict[str, Callable[[Serving, Results], None]] = {
    "throughput": throughput, "latency": latency, "overload": overload, "soak": soak,
}  # fmt: skip


def measure(options: Options, sections: Sequence[str]) -> Results:
    """Measure sections, part by part; what is there is kept, unless it is to be measured anew."""
    return commands.measure(Serving(options), "serve", SECTIONS, sections)


def parse(arguments: Sequence[str]) -> tuple[list[str], Options]:
    """Return the sections asked for, and the options."""
    parser = commands.parser("serve", __doc__, SECTIONS, mpnet=None)
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-serve" / "bin" / "python")
    parser.add_argument("--infinity", type=Path, default=ROOT / ".venv-infinity" / "bin" / "python")
    names, given, shared = commands.asked(parser, SECTIONS, arguments)
    return names, Options(**shared, peers=given.peers.absolute(), infinity=given.infinity.absolute())


def main() -> None:
    sections, options = parse(sys.argv[1:])
    commands.tell(measure(options, sections), options, serve_report.write, serve_report.render)


if __name__ == "__main__":
    main()
