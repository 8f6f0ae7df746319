"""The measurements of the service: the load, what it makes of answers, what is run and kept, the page."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
MACHINE = {"family": "1/2/3", "cpu": "Some CPU", "cores": 2, "threads": 2, "memory_gb": 8.0, "python": "3.12.1"}
HEADER = {"machine": MACHINE, "versions": {"firstbert": {"numpy": "2"}, "peers": {}}, "quick": False,
          "encoders": ["minilm"]}  # fmt: skip
PEER = "LitServe"

# A server of few lines, each connection in a task of its own. How it answers is told by the request's body: a number
# of milliseconds, then the status; "hang" never, "drop" by closing; SIGTERM lets what is under way end.
SERVER = """
import asyncio, json, signal, sys

async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\\r\\n")[0])
            asked = json.loads(await reader.readexactly(length))["inputs"]
            if asked == "hang":
                await asyncio.sleep(60)
            if asked == "drop":
                return
            wait, status, label = asked.split()
            await asyncio.sleep(int(wait) / 1000)
            body = json.dumps([{"label": label, "score": 0.75}, {"label": "other", "score": 0.25}]).encode()
            last = b"Connection: close\\r\\n" if ending.is_set() else b""
            answer = b"HTTP/1.1 " + status.encode() + b" X\\r\\nContent-Length: " + str(len(body)).encode() + b"\\r\\n"
            answer += last + b"\\r\\n" + body
            writer.write(answer[:20])
            await asyncio.sleep(0)
            writer.write(answer[20:])
            if last:
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()

async def main():
    global ending
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ending.wait()
    server.close()
    await asyncio.sleep(0.2)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks import kept, serve, serve_answers, serve_load, serve_mixed, serve_process, serve_report

        yield SimpleNamespace(
            kept=kept, serve=serve, answers=serve_answers, load=serve_load, mixed=serve_mixed, process=serve_process,
            report=serve_report,
        )  # fmt: skip


@contextmanager
def running() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running() as (port, _):
        yield port


@pytest.fixture
def send(modules: SimpleNamespace, port: int) -> Callable[..., Any]:
    def send(*asked: str, **load: Any) -> Any:
        requests = [modules.load.Request("/predict", json.dumps({"inputs": one})) for one in asked]
        given = {"port": port, "seconds": 0.3, "patience": 0.5} | load
        return modules.load.send(modules.load.Load(**given), requests)

    return send


# ---------------------------------------------------------------- the load


def test_a_closed_loop_sends_the_next_request_when_it_has_an_answer(
    modules: SimpleNamespace, send: Callable[..., Any]
) -> None:
    found = send("20 200 good", "20 429 good", clients=4, seconds=30.0, limit=20)
    assert found.index.count(0) == found.index.count(1) == 10 and found.opened == 4
    assert sorted(set(zip(found.index, found.status, strict=True))) == [(0, 200), (1, 429)]
    assert all(seconds >= 0.02 for seconds in found.seconds)
    assert found.wall >= 5 * 0.02  # four at a time, twenty in all
    [(index, body, n)] = found.answers  # of 200 only, equal ones once
    assert (index, n) == (0, 10) and json.loads(body)[0]["label"] == "good"
    assert 0 < found.cpu <= found.wall


def test_an_open_loop_keeps_its_rate_beside_a_server_that_stalls(
    modules: SimpleNamespace, send: Callable[..., Any]
) -> None:
    found = send("hang", "0 200 good", rate=200.0, seconds=0.5)
    counts = modules.answers.counts(found.status)
    assert counts == {"200": 50, "no answer": 50}
    assert sorted(found.start) == pytest.approx([i / 200 for i in range(100)])


def test_what_finds_no_connection_is_counted_and_not_waited_for(
    modules: SimpleNamespace, send: Callable[..., Any]
) -> None:
    found = send("hang", rate=100.0, connections=5)
    assert modules.answers.counts(found.status) == {"no answer": 5, "unsent": 25}


def test_lost_and_refused_connections_are_told_apart(modules: SimpleNamespace, send: Callable[..., Any]) -> None:
    found = send("drop", "0 200 good", clients=1, seconds=30.0, limit=4)
    assert list(zip(found.index, found.status, strict=True)) == [(0, 0), (1, 200), (0, 0), (1, 200)]
    found = send("0 200 good", clients=1, port=modules.process.free_port(), limit=2)
    assert modules.answers.counts(found.status) == {"refused": 2}


def test_sigterm_under_load_is_sent_and_what_became_of_requests_is_counted(modules: SimpleNamespace) -> None:
    requests = [modules.load.Request("/predict", '{"inputs": "50 200 good"}')]
    with running() as (port, process):
        load = modules.load.Load(port=port, seconds=20.0, clients=4, term=process.pid, term_after=0.12)
        found = modules.load.send(load, requests)
        assert process.wait(5) == 0
    assert found.wall < 10  # clients that are refused end
    told = modules.answers.of_term(vars(found), found.termed)
    assert told["lost"] == 0 and told["under_way"] == {"200": 4}
    assert set(told["before"]) == {"200"} and told["after"]["refused"] == 4
    # The same figures with one request that got nothing.
    found.status[found.start.index(max(start for start in found.start if start < found.termed))] = modules.load.LOST
    assert modules.answers.of_term(vars(found), found.termed)["lost"] == 1


# ---------------------------------------------------------------- answers


def test_wrong_answers_are_noticed(modules: SimpleNamespace, send: Callable[..., Any]) -> None:
    found = send("0 200 good", "0 200 bad", clients=2, seconds=30.0, limit=10)
    right = [["good", 0.75], ["other", 0.25]]
    judged = modules.answers.judge(found.answers, [right, right])
    assert judged == {"checked": 10, "wrong": 5, "furthest": 0.0}
    judged = modules.answers.judge(found.answers, [[["good", 0.7499], ["other", 0.25]], None])
    assert judged["checked"] == judged["wrong"] == 5 and judged["furthest"] == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ('[[{"label": "a", "score": 1.0}], [{"label": "b", "score": 1.0}]]', 0),
        ('[[{"label": "b", "score": 1.0}], [{"label": "a", "score": 1.0}]]', 1),
        ('[[{"label": "a", "score": 1.0}]]', 1),
        ('[{"label": "a", "score": 1.0}, {"label": "b", "score": 1.0}]', 1),
        ('{"error": "no"}', 1),
        ("[[", 1),
    ],
)
def test_answers_to_lists_are_held_item_by_item(modules: SimpleNamespace, body: str, wrong: int) -> None:
    judged = modules.answers.judge([(0, body, 1)], [[[["a", 1.0]], [["b", 1.0]]]])
    assert (judged["checked"], judged["wrong"]) == (1, wrong)


def test_rates_count_what_ended_within_the_time_that_counts(modules: SimpleNamespace) -> None:
    found = {"index": [0] * 5, "status": [200, 200, 200, 429, -2], "start": [0.0, 1.0, 1.5, 1.5, 1.6],
             "seconds": [0.5, 0.5, 9.0, 0.1, 0.0], "cpu": 0.1, "wall": 10.5, "opened": 3}  # fmt: skip
    told = modules.answers.summary(found, 1.0, 3.0)
    assert told["rate"] == 0.5 and told["sent_rate"] == pytest.approx(4 / 3)
    assert told["latency"]["n"] == 2 and told["latency"]["p50"] == pytest.approx(4.75)
    assert told["statuses"] == {"429": 1, "200": 3, "unsent": 1}


def test_mixed_requests_end_as_they_should(modules: SimpleNamespace) -> None:
    sentences = [f"sentence {i}" for i in range(40)]
    asked: list[str] = []

    def answers(layer: str, texts: list[str]) -> dict[str, Any]:
        asked.extend(texts)
        return {"answers": [[[text, 1.0]] for text in texts]}

    serving = SimpleNamespace(sentences=lambda: sentences, size=lambda n, least: 300, answers=answers)
    requests, expected, kinds = modules.mixed.mixed(serving)
    assert len(requests) == len(expected) == len(kinds) == 300 and set(kinds) == set(modules.mixed.KINDS)
    assert len(asked) == len(set(asked))
    for request, right, kind in zip(requests, expected, kinds, strict=True):
        assert (right is None) == (kind in ("bad", "explain")) and request.kept == (right is not None)
        if right is not None:
            inputs = json.loads(request.body)["inputs"]
            lists, texts = (right, inputs) if kind == "list" else ([right], [inputs])
            assert [one[0][0] for one in lists] == texts and len(texts) <= modules.mixed.LISTED
    index = [kinds.index(kind) for kind in ("text", "bad", "bad")]
    told = modules.mixed.of_kinds({"index": index, "status": [503, 422, 200]}, kinds)
    assert told["text"] == {"statuses": {"503": 1}, "wrong": 1} and told["bad"]["wrong"] == 1
    assert told["list"] == {"statuses": {}, "wrong": 0}


# ---------------------------------------------------------------- servers


def test_a_server_is_waited_for_watched_and_ended(modules: SimpleNamespace, tmp_path: Path) -> None:
    code = """
import http.server, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
print("starts", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""
    port = modules.process.free_port()
    command = [sys.executable, "-c", code, port]
    with (
        modules.process.Server(command, port, {}, tmp_path / "log", "/ready") as server,
        modules.process.Watch(server, 0.01) as watch,
    ):
        assert server.alive and server.cpu() >= 0
        while len(watch.samples) < 3:
            time.sleep(0.01)
        assert server.stop() == -signal.SIGTERM and not server.alive
    assert 1e6 < watch.peak < 1e9 and "starts" in (tmp_path / "log").read_text()
    failing = modules.process.Server([sys.executable, "-c", "exit('broken')"], port, {}, tmp_path / "log", "/ready")
    with pytest.raises(modules.kept.BenchError, match="not ready: broken"), failing:
        pass


def test_memory_is_told_after_the_first_minute(modules: SimpleNamespace) -> None:
    samples = [(0.0, 9_000_000), *((60.0 + i, 1_000_000 + 10_000 * i) for i in range(61))]
    told = modules.serve.flatness(samples, 60.0)
    assert told["least"] == 1e6 and told["ratio"] == pytest.approx(1.6) and told["n"] == 61
    assert told["slope"] == pytest.approx(600_000)


# ---------------------------------------------------------------- what is run and kept


def run(rate: float, wrong: int = 0, **statuses: int) -> dict[str, Any]:
    counted = {name.removeprefix("s"): n for name, n in statuses.items()} or {"200": 1000}
    return {
        "rate": rate, "statuses": counted, "requests": 1000, "sent_rate": 2 * rate, "wall": 10.0, "load_cpu": 0.5,
        "latency": {"p50": 0.1, "p95": 0.2, "p99": 0.3, "n": 900}, "opened": 64, "peak": 3e8, "server_cpu": 19.0,
        "answers": {"checked": 1000, "wrong": wrong, "furthest": 1e-7},
    }  # fmt: skip


@pytest.fixture
def parts() -> dict[str, Any]:
    """All sections, with figures that are easy to reckon with."""
    runs = {"in-process": {"rate": 500.0}, "in-process, layer auto": {"rate": 800.0}, "firstbert": run(450.0),
            "firstbert, layer auto": run(600.0), PEER: run(300.0)}  # fmt: skip
    times = {"in-process": {"p50": 0.004, "p99": 0.005}, "served": {"p50": 0.006, "p99": 0.009}, "n": 1000}
    rss = {"before": 2e8, "peak": 3e8, "after": 2.5e8, "first_half": 3e8, "second_half": 3e8, "at_the_end": 2.5e8}
    flood = run(400.0, s200=300, s429=600, s503=100) | {"asked_rate": 4500.0}
    ends = {"before": {"200": 900}, "under_way": {"200": 64}, "after": {"200": 5, "refused": 64}, "lost": 0,
            "reset_after": 0, "last_answer": 0.3, "answers": {"checked": 905, "wrong": 0, "furthest": 0.0},
            "exit": 0}  # fmt: skip
    kinds = {"text": {"statuses": {"200": 60}, "wrong": 0}, "bad": {"statuses": {"422": 10}, "wrong": 0}}
    flat = {"least": 2e8, "most": 2.04e8, "ratio": 1.02, "slope": 1e4, "n": 100}
    return {
        "header": HEADER,
        f"throughput, settings of {PEER}": {"tried": {"one": run(200.0), "two": run(300.0)}, "best": "two"},
        "throughput, 0": {"runs": runs},
        "latency, 0": times,
        "overload, flood": {"before": run(450.0), "flood": flood, "after": run(440.0), "rss": rss, "alive": True,
                            "exit": 0},
        "overload, term 0": ends,
        "soak, mixed": {"load": run(90.0), "kinds": kinds, "answers": run(1.0)["answers"], "alive": True, "rss": flat,
                        "samples": []},
    }  # fmt: skip


def test_every_section_measures_and_is_shown(
    modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parts: dict[str, Any]
) -> None:
    serve = modules.serve
    made = {"settings": f"throughput, settings of {PEER}", "race": "throughput, 0", "one_at_a_time": "latency, 0",
            "flood": "overload, flood", "term": "overload, term 0", "soaked": "soak, mixed"}  # fmt: skip
    for name, part in made.items():
        monkeypatch.setattr(serve, name, lambda *_, part=part: json.loads(json.dumps(parts[part])))
    monkeypatch.setattr(serve, "chosen", lambda *_: {})
    nowhere = ["--peers", str(tmp_path / "none"), "--infinity", str(tmp_path / "none")]
    sections, options = serve.parse(["--quick", "--work", str(tmp_path), *nowhere])
    results = serve.measure(options, sections)
    assert results.failed == []
    assert {name.split(",")[0] for name in results.parts} == {"header", *serve.SECTIONS}
    shown = modules.report.render(results.parts)
    for title in ("Goals", "64 clients at once", "How the others were set", "One request at a time",
                  "Ten times too many", "SIGTERM under load", "Ten minutes of everything"):  # fmt: skip
        assert f"### {title}" in shown
    assert "**A quick run" in shown and str(tmp_path) not in shown


def test_what_can_be_asked_for(modules: SimpleNamespace, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sections, options = modules.serve.parse(["soak", "--quick", "--work", str(tmp_path)])
    assert sections == ["soak"] and options.force and options.results == tmp_path.resolve() / "quick"
    with pytest.raises(SystemExit):
        modules.serve.parse(["fast"])
    assert "no section 'fast'" in capsys.readouterr().err
    missing = modules.serve.parse(["--peers", str(tmp_path / "none"), "--work", str(tmp_path)])[1]
    serving = modules.serve.Serving(missing)
    with pytest.raises(modules.kept.BenchError, match=r"no .*none"):
        serving.peer(PEER, next(iter(modules.serve.SETTINGS[PEER])))


# ---------------------------------------------------------------- the page


def test_goals_are_reckoned_and_those_missed_are_shown(modules: SimpleNamespace, parts: dict[str, Any]) -> None:
    shown = modules.report.render(parts)
    assert "| rows/s, share of in-process bulk | ≥ 0.85 | 0.90 | yes |" in shown
    assert "| rows/s, share of in-process bulk, layer auto | ≥ 0.85 | 0.75 | **no** |" in shown
    assert f"| rows/s, times {PEER} | ≥ 2.00 | 1.50 | **no** |" in shown
    assert "| one request of an idle server: p50, ms above in-process | ≤ 3.00 | 2.00 | yes |" in shown
    assert "| flood: ended otherwise than by 200, 429, 503 | ≤ 0 | 0 | yes |" in shown
    assert "| soak: most memory after the first minute, times the least | ≤ 1.050 | 1.020 | yes |" in shown
    parts["overload, flood"]["flood"]["statuses"] |= {"500": 3, "connection lost": 2, "unsent": 7}
    parts["overload, term 0"]["lost"] = 1
    parts["soak, mixed"]["kinds"]["text"]["wrong"] = 4
    shown = modules.report.render(parts)
    assert "| flood: ended otherwise than by 200, 429, 503 | ≤ 0 | 5 | **no** |" in shown
    assert "| SIGTERM under load: requests sent before it and lost | ≤ 0 | 1 | **no** |" in shown
    assert "| soak: answers that are wrong, or of a wrong status | ≤ 0 | 4 | **no** |" in shown


def test_each_model_is_held_against_itself_inside_a_process(modules: SimpleNamespace, parts: dict[str, Any]) -> None:
    shown = modules.report.render(parts)
    assert "| firstbert | 450 | 0.90 | 100 |" in shown and "| firstbert, layer auto | 600 | 0.75 | 100 |" in shown


def test_what_is_not_measured_is_not_told(modules: SimpleNamespace, parts: dict[str, Any]) -> None:
    report = modules.report
    assert report.render({}) == report.render({"header": HEADER}) == report.NOTHING
    for name, part in parts.items():
        assert report.render({"header": HEADER, name: part})
    shown = report.render({"header": HEADER, "latency, 0": parts["latency, 0"]})
    assert "One request" in shown and "64 clients" not in shown and "SIGTERM" not in shown
