"""Exported models against the library: `python -m benchmarks.exported [MODEL...]`, in Python and in Chromium.

Trains each model on SST-2, exports it, gives the first 1,000 test sentences to the library, to ONNX Runtime in a plain
session and to onnxruntime-web in Chromium (one thread), and tells the largest difference of a probability, the speed,
and the size. Figures go to results/exported.json, where those of models measured before stay, and from there to
docs/export.md. Needs npm, Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, marks
from benchmarks.texts import sst2
from firstbert import SentenceClassifier
from firstbert.artifact import Artifact, load
from firstbert.export import export
from firstbert.session import usable_cores

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "export.md", ROOT / "benchmarks" / "results" / "exported.json"
BEGIN = marks.begin("exported")
ROWS, TEXTS, BATCH, ROUNDS = 2000, 1000, 16, 3
MODELS: dict[str, dict[str, Any]] = {
    "MiniLM, layer auto": {"encoder": "minilm", "layer": "auto"},
    "MiniLM, [CLS]": {"encoder": "minilm", "layer": "last", "pooling": "cls"},
    "MPNet, layer auto": {"encoder": "mpnet", "layer": "auto"},
}
CLASSIFY = """async ([texts, size]) => {
  const rows = [];
  for (let i = 0; i < texts.length; i += size) rows.push(...await model.probabilities(texts.slice(i, i + size)));
  return rows;
}"""


# ---------------------------------------------------------------- a browser


def make_site(folder: Path) -> Path:
    """Put the browser's example and what it needs into a folder."""
    shutil.copytree(ROOT / "examples" / "browser", folder, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True,
                   capture_output=True)  # fmt: skip
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(site: Path) -> Iterator[str]:
    """Serve a folder on loopback and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def opened(browser: Any, site: Path, file: Path) -> Iterator[Any]:
    """Open the example's page with a model, and give the page once it has answered.

    Raises:
        AssertionError: something was logged, or asked for elsewhere.
    """
    (site / "model.onnx").unlink(missing_ok=True)
    (site / "model.onnx").symlink_to(file.absolute())
    noise: list[str] = []
    with serving(site) as address:
        page = browser.new_page()
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("request", lambda request: request.url.startswith(address) or noise.append(request.url))
        page.goto(address)
        page.locator("#answer", has_text="%").wait_for(timeout=120_000)
        yield page
        page.close()
    assert noise == [], noise


# ---------------------------------------------------------------- measuring


def timed(texts: Sequence[str], answer: Callable[[], Any], rounds: int = ROUNDS) -> tuple[Any, float]:
    """Return the answer, and texts a second: the median of some rounds."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        found = answer()
        seconds.append(time.perf_counter() - start)
    return found, len(texts) / statistics.median(seconds)


def in_python(file: Path, texts: Sequence[str]) -> Any:
    """Return what the example in Python answers."""
    sys.path.insert(0, str(ROOT / "examples" / "export"))
    from classify import Model  # type: ignore[import-not-found]

    model = Model(str(file))
    parts = [list(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
    return lambda: np.concatenate([model.probabilities(part) for part in parts])


def trained(options: dict[str, Any], data: Path | None, folder: Path) -> Artifact:
    """Train on the first rows of SST-2, and return what was saved."""
    rows = sst2(data, "train")[:ROWS]
    classifier = SentenceClassifier(**options).fit([text for text, _ in rows], [label for _, label in rows])
    return load(classifier.save(folder))


def measure(artifact: Artifact, texts: list[str], work: Path, browser: Any, site: Path) -> dict[str, Any]:
    """Export a model and compare."""
    done = export(artifact, work / "model.onnx")
    expected, rate = timed(texts, lambda: artifact.predictor.predict(texts).probabilities)
    plain, plain_rate = timed(texts, in_python(done.path, texts))
    with opened(browser, site, done.path) as page:
        # One round: the page has answered once by then, and MPNet takes ten minutes for each.
        found, found_rate = timed(texts, lambda: np.array(page.evaluate(CLASSIFY, [texts, BATCH])), rounds=1)
    return {
        "texts": len(texts),
        "labels": len(done.labels),
        "bytes": done.bytes,
        "encoder": artifact.predictor.engine.prepared.architecture.family,
        "layer": artifact.predictor.engine.layer,
        "precision": artifact.predictor.encoder.precision,
        "difference": {
            "python": float(np.abs(plain - expected).max()),
            "chromium": float(np.abs(found - expected).max()),
        },
        "rate": {"firstbert": rate, "python": plain_rate, "chromium": found_rate},
    }


def render(parts: marks.Parts) -> str:
    """Return the table."""
    rows = [
        f"| {name} | {part['bytes'] / 1e6:,.0f} | {part['difference']['python']:.1e} | "
        f"{part['difference']['chromium']:.1e} | {part['rate']['firstbert']:,.0f} | {part['rate']['python']:,.0f} | "
        f"{part['rate']['chromium']:,.0f} |"
        for name, part in parts.items()
        if name != "header"
    ]
    head = [
        "| 1,000 sentences | MB | Python: off by up to | Chromium: off by up to "
        "| library, texts/s | Python | Chromium |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    facts = parts["header"]["machine"]
    versions = marks.listed(parts["header"]["versions"])
    return "\n".join([*head, *rows]) + f"\n\n{facts['cpu']}, {facts['cores']} cores. {versions}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; all, unless given")
    parser.add_argument("--sst2", type=Path, default=None, help="SST-2's folder; fetched, unless given")
    parser.add_argument("--mpnet", default="mpnet", help="MPNet's folder")
    given = parser.parse_args()
    if unknown := set(given.models) - set(MODELS):
        parser.error(f"no model {unknown.pop()!r}; these are: {', '.join(MODELS)}")
    from playwright.sync_api import sync_playwright

    texts = [text for text, _ in sst2(given.sst2, "test")[:TEXTS]]
    parts = marks.read(RESULTS) | {"header": {"machine": machine.facts(usable_cores()), "versions": machine.versions()}}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        work = Path(folder)
        site = make_site(work / "site")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in given.models or MODELS:
            options = MODELS[name] | ({"encoder": given.mpnet} if MODELS[name]["encoder"] == "mpnet" else {})
            parts[name] = measure(trained(options, given.sst2, work / name), texts, work, browser, site)
            print(name, json.dumps(parts[name]), flush=True)
            RESULTS.write_text(json.dumps(parts, indent=1) + "\n")
        browser.close()
    marks.fill(PAGE, BEGIN, render(parts))


if __name__ == "__main__":
    main()
