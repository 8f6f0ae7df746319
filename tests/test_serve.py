"""The service: a real server on loopback, real clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Outcome
from firstbert import SentenceClassifier, UsageError, load
from firstbert.serve import server
from firstbert.serve.options import ServeOptions, api_keys
from serving import Reply, Service, ask, serve

Cli = Callable[..., Outcome]
KEY = "a-key-for-the-tests-0123456789"
LONG = "It goes on " + "and on " * 400
TEXTS = ["What a joy.", "Two hours I will never get back.", "Ünïcödé 电影 🎬", LONG]


@pytest.fixture(scope="module")
def service(model: Path, quick: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve([f"films={model}", f"quick={quick}"], tmp_path_factory.mktemp("service")) as running:
        yield running


# ---------------------------------------------------------------- the wire


def test_hugging_face_client(service: Service, model: Path) -> None:
    from huggingface_hub import InferenceClient

    found = InferenceClient(service.url).text_classification(TEXTS[0])
    expected = load(model).predictions(TEXTS[:1]).records()[0]
    assert [(each.label, each.score) for each in found] == sorted(expected["scores"].items(), key=lambda kv: -kv[1])
    top = InferenceClient(f"{service.url}/models/films").text_classification(TEXTS[1], top_k=1)
    assert [each.label for each in top] == ["bad"]


def test_predict_as_text_embeddings_inference_answers(service: Service, model: Path) -> None:
    expected = load(model).predictions(TEXTS).probabilities
    one = ask(service, "/predict", {"inputs": TEXTS[0], "truncate": True, "raw_scores": False}).json
    assert [set(each) for each in one] == [{"label", "score"}] * 2
    assert [each["score"] for each in one] == sorted(expected[0], reverse=True)
    many = ask(service, "/predict", {"inputs": [[text] for text in TEXTS]})
    assert [row[0]["score"] for row in many.json] == expected.max(axis=1).tolist()
    assert many.headers["x-truncated"] == "3"
    assert ask(service, "/predict", {"inputs": TEXTS}).body == many.body
    refused = ask(service, "/predict", {"inputs": TEXTS, "truncate": False})
    assert (refused.status, refused.json["error_type"]) == (413, "too_large")
    assert "inputs 3" in refused.json["error"]


def test_scores_before_they_become_probabilities(service: Service, model: Path) -> None:
    raw = ask(service, "/predict", {"inputs": TEXTS[0], "raw_scores": True}).json
    also = ask(service, "/", {"inputs": TEXTS[0], "parameters": {"function_to_apply": "none"}}).json
    assert also == [raw]
    predictor = load(model).predictor_
    scores = predictor.head.scores(predictor.engine.encode(TEXTS[:1]).joined)[0]
    assert [each["score"] for each in raw] == sorted(scores, reverse=True)
    each = ask(service, "/predict", {"inputs": TEXTS[0], "parameters": {"function_to_apply": "sigmoid"}}).json
    assert sum(one["score"] for one in each) == pytest.approx(1, abs=0.5) and each[0]["score"] != raw[0]["score"]


def test_same_answers_through_every_door(service: Service, model: Path, tmp_path: Path, cli: Cli) -> None:
    """Library, command line, files, service: the same to the last bit."""
    library = load(model).predictions(TEXTS).records()
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    assert cli("predict", model, tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", "--per-class").code == 0
    files = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    alone = [ask(service, "/predict", {"inputs": t, "parameters": {"details": True}}).json for t in TEXTS]
    together = ask(service, "/predict", {"inputs": TEXTS, "parameters": {"details": True}}).json
    assert alone == together == library
    flags = [flag for text in TEXTS for flag in ("--text", text)]
    assert cli("predict", model, *flags, "--json").json == library
    for found, expected in zip(files, library, strict=True):
        assert (found["label"], found["truncated"]) == (expected["label"], expected["truncated"])
        assert found["probability"] == expected["score"]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"inputs": ["fine", "", "\u200b"]}, 422, "inputs[1]: without a text; inputs[2]: without a text"),
        ({"inputs": ["fine", 3]}, 422, "inputs[1]"),
        ({"inputs": []}, 422, "inputs"),
        ({"inputs": [["a", "b"]]}, 422, "inputs[0]"),
        ({"input": "a"}, 422, "inputs: Field required; input: unknown"),
        ({"inputs": "a", "parameters": {"topk": 1}}, 422, "parameters.topk: unknown"),
        ({"inputs": "a", "parameters": {"top_k": 0}}, 422, "parameters.top_k"),
        ({"inputs": "a\0b"}, 422, "inputs: with a NUL character"),
        (b'{"inputs": "\\ud83d"}', 422, "no valid JSON"),
        (b'{"inputs": NaN}', 422, "inputs"),
        (b"\xff\xfe", 422, "no valid JSON"),
        (b"", 422, "no valid JSON"),
        (b'{"inputs": ' + b"[" * 100_000, 422, "no valid JSON"),
        (b'{"a": ' * 50_000 + b"1" + b"}" * 50_000, 422, "no valid JSON"),
        ({"inputs": ["a"] * 10_000}, 413, "10,000 inputs are too many: at most 1,024"),
        (b'{"inputs": "' + b"a" * 100_000_000 + b'"}', 413, "The body is too large: at most 4,000,000 bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_by_name(service: Service, body: object, status: int, told: str) -> None:
    reply = ask(service, "/predict", body)
    assert reply.status == status
    assert told in reply.json["error"]
    assert reply.headers["content-type"] == "application/json"
    assert ask(service, "/predict", {"inputs": "still there"}).status == 200


def test_a_body_in_pieces_is_bounded_too(service: Service) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(80):
            yield b" " * 100_000

    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.request("POST", "/predict", pieces(), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_routes_that_are_not_there(service: Service) -> None:
    assert ask(service, "/nothing").json == {"error": "Not Found", "error_type": "not_found"}
    wrong = ask(service, "/predict", method="PUT")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    unknown = ask(service, "/models/other/predict", {"inputs": "a"})
    assert (unknown.status, unknown.json["error"]) == (404, "No model is called 'other' here; there are films, quick.")


def test_what_it_says_of_itself(service: Service, model: Path) -> None:
    info = ask(service, "/info").json
    assert [each["name"] for each in info["models"]] == ["films", "quick"]
    assert (info["model_id"], info["max_input_length"]) == ("films", 256)
    assert ask(service, "/ready").json == {"ready": True, "draining": False, "models": {"films": True, "quick": True}}
    assert ask(service, "/health").json == {"status": "ok"}
    docs = ask(service, "/docs").body.decode()
    assert "https://" not in docs.replace("https://fastapi", "")
    assert ask(service, "/docs/static/swagger-ui-bundle.js").status == 200
    assert ask(service, "/models/quick/predict", {"inputs": "a"}).status == 200


def test_metrics_count_what_was_asked(service: Service) -> None:
    def counted(name: str) -> float:
        lines = ask(service, "/metrics").body.decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " ")), 0.0)

    names = [
        'firstbert_texts_total{model="films"}',
        'firstbert_requests_total{route="/predict",status="200"}',
        'firstbert_truncated_total{model="films"}',
        'firstbert_stage_seconds_count{model="films",stage="queue"}',
    ]
    before = [counted(name) for name in names]
    ask(service, "/predict", {"inputs": TEXTS})
    assert [counted(name) - b for name, b in zip(names, before, strict=True)] == [4, 1, 1, 4]
    assert counted('firstbert_queue_texts{model="films"}') == 0


def test_explanation(service: Service, model: Path) -> None:
    from firstbert.explain import explain

    found = ask(service, "/explain", {"inputs": TEXTS[0]}).json
    expected = explain(load(model), TEXTS[0]).as_dict()
    found["model"].pop("name"), expected["model"].pop("name")
    assert found == json.loads(json.dumps(expected))
    assert ask(service, "/explain", {"inputs": TEXTS[0], "method": "magic"}).status == 422


def test_against_its_own_description(service: Service) -> None:
    """Schemathesis makes requests, right and wrong ones, out of the OpenAPI description, and checks the answers."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", "--max-examples", "12",
        "--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--no-color", "--exclude-path-regex",
        "^/metrics|^/info",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


# ---------------------------------------------------------------- who may ask, and what is written down


def test_keys(quick: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# ours\n{KEY}\n")
    secret = "Nobody should read this sentence in a log."
    with serve([quick], tmp_path, "--api-keys", tmp_path / "keys", FIRSTBERT_API_KEYS="another-key-0123456789") as held:
        for sent in (None, "Bearer wrong-key-0123456789", KEY, f"Basic {KEY}", "Bearer ", "Bearer \xe9" * 5):
            reply = ask(held, "/predict", {"inputs": secret}, {"Authorization": sent} if sent else {})
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        for key in (KEY, "another-key-0123456789"):
            assert ask(held, "/predict", {"inputs": secret}, {"Authorization": f"Bearer {key}"}).status == 200
        assert [ask(held, path).status for path in ("/health", "/ready", "/", "/docs", "/info", "/metrics")] == [
            200, 200, 200, 200, 401, 401,
        ]  # fmt: skip
        named = ask(
            held, "/predict", {"inputs": [secret, ""]}, {"Authorization": f"Bearer {KEY}", "X-Request-Id": "my-1"}
        )
        assert (named.status, named.headers["x-request-id"]) == (422, "my-1")
        odd = ask(held, "/predict", {"inputs": secret}, {"Authorization": f"Bearer {KEY}", "X-Request-Id": "a b\tc"})
        assert odd.headers["x-request-id"] not in ("", "a b\tc")
        time.sleep(0.3)
        log = held.log.read_text()
        requests = held.events("request")
    assert "sentence" not in log and KEY not in log and "wrong-key" not in log and "another-key" not in log
    assert {"id": "my-1", "status": 422, "route": "/predict", "method": "POST"}.items() <= next(
        line for line in requests if line["id"] == "my-1"
    ).items()


def test_texts_in_the_log_where_that_is_wanted(quick: Path, tmp_path: Path) -> None:
    with serve([quick], tmp_path, "--log-texts", "--cors-origin", "https://example.org") as held:
        reply = ask(held, "/predict", {"inputs": "Write this down."}, {"Origin": "https://example.org"})
        assert reply.headers["access-control-allow-origin"] == "https://example.org"
        other = ask(held, "/predict", {"inputs": "x"}, {"Origin": "https://example.com"})
        assert "access-control-allow-origin" not in other.headers
        time.sleep(0.3)
        assert held.events("request")[-2]["texts"] == ["Write this down."]


# ---------------------------------------------------------------- more than it can do


def crowd(service: Service, clients: int, stop: threading.Event, inputs: list[str]) -> tuple[list[Any], list[Any]]:
    """Closed loops until `stop`: (text, reply) of each request, and errors of connections with a request on its way."""
    import http.client

    replies: list[Any] = []
    broken: list[Any] = []

    def loop(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        n = number
        while not stop.is_set():
            text = inputs[n % len(inputs)]
            n += clients
            try:
                connection.connect() if connection.sock is None else None
            except OSError:
                return  # it takes no more connections
            try:
                connection.request("POST", "/predict", json.dumps({"inputs": text}).encode())
                response = connection.getresponse()
                replies.append((text, Reply(response.status, dict(response.getheaders()), response.read())))
            except (OSError, http.client.HTTPException) as error:
                broken.append(repr(error))
                connection.close()
        connection.close()

    threads = [threading.Thread(target=loop, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies, broken


def test_overload_is_refused_and_what_is_accepted_is_right(model: Path, tmp_path: Path) -> None:
    texts = [f"Number {i}: " + "a long way to go " * 25 for i in range(40)]
    expected = {t: p.max() for t, p in zip(texts, load(model).predictions(texts).probabilities, strict=True)}
    stop = threading.Event()
    with serve([model], tmp_path, "--deadline", "0.6") as held:
        threading.Timer(3, stop.set).start()
        replies, broken = crowd(held, 60, stop, texts)
        statuses = Counter(reply.status for _, reply in replies)
        assert not broken
        assert set(statuses) <= {200, 429, 504}
        assert statuses[200] > 10 and statuses[429] > 10
        assert all(reply.json[0]["score"] == expected[text] for text, reply in replies if reply.status == 200)
        refused = next(reply for _, reply in replies if reply.status == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert ask(held, "/predict", {"inputs": texts[0]}).status == 200  # and when they have gone, all is well


def test_too_many_connections(quick: Path, tmp_path: Path) -> None:
    """The first to come are served as if nothing were; the others are told so, counted and written down."""
    with serve([quick], tmp_path, "--max-connections", "5") as held:
        early = [http.client.HTTPConnection("127.0.0.1", held.port) for _ in range(5)]
        for each in early:
            each.connect()
        time.sleep(0.2)
        for length in (1, 100, 3_000_000):  # the last is still being sent when it has been refused
            reply = ask(held, "/predict", {"inputs": "a" * length}, {"Connection": "close"})
            assert (reply.status, reply.json["error_type"], reply.headers["retry-after"]) == (503, "unavailable", "1")
            for each in early:
                each.request("POST", "/predict", b'{"inputs": "a"}')
                assert each.getresponse().read().startswith(b'[{"label"')
        assert ask(held, "/health").status == ask(held, "/ready").status == 200
        assert b'firstbert_requests_total{route="refused",status="503"} 3.0' in ask(held, "/metrics").body
        early.pop().close()
        time.sleep(0.2)
        assert ask(held, "/predict", {"inputs": "a"}).status == 200
        for each in early:
            each.close()
    assert len(held.lines()) == len(held.log.read_text().splitlines())  # all of it is JSON
    refused = [line for line in held.events("request") if line["route"] == "refused"]
    assert [(line["status"], line["method"], line["level"]) for line in refused] == [(503, "POST", "info")] * 3


def test_a_crowd_beyond_the_most_connections_is_answered_one_and_all(quick: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    with serve([quick], tmp_path, "--max-connections", "10") as held:
        threading.Timer(1.5, stop.set).start()
        replies, broken = crowd(held, 40, stop, ["a", "b c", "d e f"])
    statuses = Counter(reply.status for _, reply in replies)
    assert not broken and set(statuses) == {200, 503}
    assert statuses[200] > 50 and statuses[503] > 50


@pytest.mark.parametrize("size", [5_000_000, 30_000_000])
def test_a_client_that_sends_too_much_and_then_reads_is_told_so(service: Service, size: int) -> None:
    """It announces that it will close; whoever closes on unread bytes takes the answer back."""
    for _ in range(5):
        reply = ask(service, "/predict", b"a" * size, {"Connection": "close"})
        assert reply.status == 413 and "too large" in reply.json["error"]
    for start in (b"GET / HTTP/1.1\r\nX: ", b"\x16\x03\x01 no HTTP"):
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as s:
            s.sendall(start)
            time.sleep(0.05)
            s.sendall(b"a" * size)
            assert s.recv(100).startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


def test_clients_that_dawdle(quick: Path, tmp_path: Path) -> None:
    """Half-open connections, heads and bodies that come byte by byte, heads without an end: each ends, none blocks."""
    with serve([quick], tmp_path, "--read-timeout", "0.5") as held:

        def left_with(start: bytes, then: bytes = b"") -> bytes:
            with socket.create_connection(("127.0.0.1", held.port), timeout=10) as s:
                s.sendall(start)
                got = b""
                s.settimeout(0.1)
                until = time.monotonic() + 8
                while time.monotonic() < until:
                    try:
                        if then:
                            s.sendall(then)
                        piece = s.recv(65536)
                        if not piece:
                            return got
                        got += piece
                    except TimeoutError:
                        continue
                    except OSError:
                        return got
            raise AssertionError("still open")

        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n"
        assert b" 408 " in left_with(b"")
        assert b" 408 " in left_with(b"POST /predict HTTP/1.1\r\nHost:", b"x")
        assert b" 408 " in left_with(head, b" ")
        assert b" 431 " in left_with(b"GET / HTTP/1.1\r\nX: ", b"a" * 20_000)
        assert b" 400 " in left_with(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        with socket.create_connection(("127.0.0.1", held.port), timeout=10) as greedy:  # asks, and doesn't read
            greedy.settimeout(3)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                while True:
                    greedy.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        reset = socket.create_connection(("127.0.0.1", held.port))
        reset.sendall(head[:-2] + b"\r\n{")
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        reset.close()  # with a reset, in the middle of a request
        assert ask(held, "/predict", {"inputs": "a"}).status == 200


# ---------------------------------------------------------------- the end, and new models


def test_end_under_load_loses_nothing(quick: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    with serve([quick], tmp_path) as held:
        threading.Timer(1.0, held.process.send_signal, [signal.SIGTERM]).start()
        threading.Timer(20.0, stop.set).start()
        replies, broken = crowd(held, 12, stop, ["a", "b c", "d e f"])
        assert held.process.wait(20) == 0
        assert not broken
        assert {reply.status for _, reply in replies} == {200}
        assert len(replies) > 100
        assert held.events("ended")


def test_a_new_model_takes_the_place_of_the_old_one_without_a_request_lost(quick: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(quick, folder)
    old = load(quick)
    new = SentenceClassifier(old.encoder, layer=1).fit(["yes it is", "no it is not"] * 6, ["yes", "no"] * 6)
    stop = threading.Event()
    with serve([folder], tmp_path) as held:

        def change() -> None:
            time.sleep(0.5)
            new.save(folder)
            os.kill(held.process.pid, signal.SIGHUP)
            while not held.events("reloaded") and held.process.poll() is None:
                time.sleep(0.05)
            time.sleep(0.5)
            stop.set()

        threading.Thread(target=change).start()
        replies, broken = crowd(held, 8, stop, ["yes it is"])
        assert not broken
        assert {reply.status for _, reply in replies} == {200}
        labels = [{each["label"] for each in reply.json} for _, reply in replies]
        assert labels[0] == {str(label) for label in old.classes_.tolist()}
        assert labels[-1] == {"yes", "no"}

        facts = json.loads((folder / "model.json").read_text())
        facts["golden"][0]["probabilities"] = [0.5, 0.5]
        (folder / "model.json").write_text(json.dumps(facts))
        os.kill(held.process.pid, signal.SIGHUP)
        until = time.monotonic() + 20
        while not (failed := held.events("reload failed, the model before stays")) and time.monotonic() < until:
            time.sleep(0.05)
        assert "golden texts" in failed[0]["why"]
        assert ask(held, "/ready").status == 200
        assert ask(held, "/predict", {"inputs": "yes it is"}).json[0]["label"] == "yes"


def test_not_ready_where_it_answers_otherwise_than_where_it_was_saved(quick: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(quick, folder)
    facts = json.loads((folder / "model.json").read_text())
    facts["golden"][0]["probabilities"] = facts["golden"][0]["probabilities"][::-1]
    (folder / "model.json").write_text(json.dumps(facts))
    with serve([folder], tmp_path, ready=False) as held:
        until = time.monotonic() + 20
        while not held.events("not ready") and time.monotonic() < until:
            time.sleep(0.02)
        ready = ask(held, "/ready")
        assert ready.status == 503 and "golden texts" in ready.json["models"]["model"]
        reply = ask(held, "/predict", {"inputs": "a"})
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert ask(held, "/health").status == 200


# ---------------------------------------------------------------- what it refuses to start with


def test_wrong_starts(quick: Path, tmp_path: Path, cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = cli("serve", quick, "--port", taken.getsockname()[1])
    assert busy.code == 2 and "can't be listened at" in busy.err
    assert cli("serve", tmp_path / "none", "--port", "0").code == 2
    assert "Name a model folder" in cli("serve").err
    (tmp_path / "empty").write_text("# none yet\n")
    assert "holds no API key" in cli("serve", quick, "--api-keys", tmp_path / "empty").err
    with pytest.raises(UsageError, match="Two models are called"):
        ServeOptions(("x/model", "y/model"))
    with pytest.raises(UsageError, match="Give it one: name="):
        ServeOptions(("x/my model",))
    with pytest.raises(UsageError, match="--deadline must be in"):
        ServeOptions(("x",), deadline_s=0)


def test_keys_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTBERT_API_KEYS", "short")
    with pytest.raises(UsageError, match="16 or more"):
        api_keys(None)
    monkeypatch.setenv("FIRSTBERT_API_KEYS", "")
    assert api_keys(None) == ()
    with pytest.raises(UsageError, match="can't be read"):
        api_keys(tmp_path / "none")


def connect(address: Any, stop: threading.Event, through: list[socket.socket]) -> None:
    """Connect again and again until `stop`, and keep the connections that were made."""
    while not stop.is_set():
        with contextlib.suppress(OSError):
            through.append(socket.create_connection(address, timeout=0.2))
            time.sleep(0.001)


@pytest.mark.skipif(sys.platform != "linux", reason="what it tries only Linux can")
def test_a_held_listener_loses_no_connection() -> None:
    for _ in range(5):
        listener, stop = socket.create_server(("127.0.0.1", 0), backlog=100), threading.Event()
        through: list[socket.socket] = []
        given = (listener.getsockname(), stop, through)
        clients = [threading.Thread(target=connect, args=given, daemon=True) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(0.02)
        server.hold(listener)
        taken: list[socket.socket] = []
        while select.select([listener], [], [], 0.05)[0] and len(taken) < 300:
            taken.append(listener.accept()[0])
        listener.close()
        stop.set()
        for client in clients:
            client.join()
        assert 4 < len(taken) == len(through)
        for one in (*taken, *through):
            one.close()


@pytest.mark.parametrize(
    ("before", "allowed", "after", "most"),
    [
        ((256, -1), True, (65536, -1), 65536),
        ((1024, 4096), True, (4096, 4096), 4096),
        ((20000, 20000), True, (20000, 20000), 20000),
        ((100_000, 200_000), True, (100_000, 200_000), 100_000),
        ((1024, 4096), False, None, 1024),
        ((-1, -1), True, None, 65536),
    ],
)
def test_as_many_files_may_be_open_as_the_system_allows(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], allowed: bool, after: object, most: int
) -> None:
    put: list[object] = []

    def set_limit(_: int, limits: tuple[int, int]) -> None:
        if not allowed:
            raise ValueError
        put.append(limits)

    monkeypatch.setattr("resource.getrlimit", lambda _: before)
    monkeypatch.setattr("resource.setrlimit", set_limit)
    assert server._raise_file_limit() == most
    assert put == ([after] if after else [])
