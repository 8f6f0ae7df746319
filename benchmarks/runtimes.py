"""Systems that are fed token ids: this project, and runtimes at their best."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import convert, machine
from benchmarks.systems import (
    Case,
    FloatArray,
    Ids,
    Setting,
    TokenSystem,
    budgets,
    by_budget,
    in_place,
    mean_of,
    padded,
)


class Firstbert(TokenSystem):
    """This project, as it comes: nothing is swept."""

    name = "firstbert"
    environment = "firstbert"
    precisions = ("fp32", "int8")
    poolings = ("mean", "cls")

    def prepare(self) -> None:
        from firstbert.engine import Engine, EngineOptions

        case = self.case
        options = {"pooling": case.pooling, "layer": case.layer, "max_length": case.max_length}
        options |= {"precision": case.precision, "threads": case.threads}
        self.engine = Engine(EngineOptions(case.encoder, **(options | self.setting)))

    def tokens(self, texts: list[str]) -> Ids:
        return self.engine.tokenizer(texts).ids

    def encode_tokens(self, ids: Ids) -> FloatArray:
        """The middle of the engine's way; only timed."""
        from firstbert.batches import batches

        todo = list(batches(ids, self.engine.batch_tokens, self.engine.threads))
        with self.engine._workers() as start:
            return np.concatenate([outputs[0] for outputs in start(todo)])

    def encode(self, texts: list[str]) -> FloatArray:
        return np.ascontiguousarray(self.engine.encode(texts).vectors[:, 0])


class CTranslate2(TokenSystem):
    """CTranslate2's Encoder, fed by as many Python threads as it has workers."""

    name = "ctranslate2"
    precisions = ("fp32", "int8")

    @staticmethod
    def first(case: Case) -> list[Setting]:
        # On processors that aren't Intel's it takes AVX2 for its own loops even where AVX-512 is there.
        wide: list[dict[str, str]] = [{"CT2_FORCE_CPU_ISA": "AVX512"}] if "avx512f" in machine.flags() else []
        shares = [(case.threads, 1), (1, case.threads)] if case.threads > 1 else [(1, 1)]
        return [
            {"workers": workers, "threads": threads, "batch_tokens": 512, "environment": environment}
            for environment in ({}, *wide)
            for workers, threads in shares
        ]

    @staticmethod
    def then(case: Case, best: Setting) -> list[Setting]:
        return budgets(best)

    def open(self) -> None:
        import ctranslate2

        kind = {"fp32": "float32", "int8": "int8"}[self.case.precision]
        target = Path(self.case.work) / "ctranslate2" / f"{self.case.name}-{kind}"
        target.parent.mkdir(parents=True, exist_ok=True)
        model = convert.ctranslate2_model(Path(self.case.encoder), target, kind)
        workers, threads = self.setting["workers"], self.setting["threads"]
        self.encoder = ctranslate2.Encoder(
            str(model), device="cpu", compute_type=kind, inter_threads=workers, intra_threads=threads
        )
        self.storage = ctranslate2.StorageView
        self.pool = ThreadPoolExecutor(workers)

    def encode_tokens(self, ids: Ids) -> FloatArray:
        batches = by_budget(ids, self.setting["batch_tokens"])
        parts = self.pool.map(lambda rows: self._batch(ids, rows), batches)
        return in_place(len(ids), batches, parts)

    def _batch(self, ids: Ids, rows: npt.NDArray[np.intp]) -> FloatArray:
        batch, lengths = padded(ids, rows, np.int32)
        view = self.storage.from_array
        hidden = np.asarray(self.encoder.forward_batch(view(batch), view(lengths)).last_hidden_state)
        return mean_of(hidden, lengths)


class OpenVINO(TokenSystem):
    """OpenVINO's own runtime on a model that ends in the mean; requests are queued, one per stream."""

    name = "openvino"
    precisions = ("fp32", "int8", "bf16")

    @staticmethod
    def first(case: Case) -> list[Setting]:
        models = ["ptq", "weights"] if case.precision == "int8" else ["fp32"]
        streams = sorted({1, case.threads})
        return [{"model": model, "streams": s, "batch_tokens": 512} for model in models for s in streams]

    @staticmethod
    def then(case: Case, best: Setting) -> list[Setting]:
        return budgets(best)

    def open(self) -> None:
        import openvino

        kind, encoder = self.setting["model"], Path(self.case.encoder)
        target = Path(self.case.work) / "openvino" / f"{self.case.name}-{kind}.xml"
        model = convert.openvino_model(encoder, target, self.case.calibration, kind)
        options = {"NUM_STREAMS": self.setting["streams"], "INFERENCE_NUM_THREADS": self.case.threads}
        options |= {"INFERENCE_PRECISION_HINT": "bf16" if self.case.precision == "bf16" else "f32"}
        self.compiled = openvino.Core().compile_model(model, "CPU", options)
        self.queue = openvino.AsyncInferQueue(self.compiled, self.setting["streams"])

    def encode_tokens(self, ids: Ids) -> FloatArray:
        batches = by_budget(ids, self.setting["batch_tokens"])
        parts: list[FloatArray] = [np.empty(0, np.float32)] * len(batches)

        def keep(request: Any, i: int) -> None:
            parts[i] = request.get_output_tensor(0).data.copy()

        self.queue.set_callback(keep)
        for i, rows in enumerate(batches):
            batch, lengths = padded(ids, rows, np.int64)
            mask = (np.arange(batch.shape[1]) < lengths[:, None]).astype(np.int64)
            self.queue.start_async({"input_ids": batch, "attention_mask": mask}, i)
        self.queue.wait_all()
        return in_place(len(ids), batches, parts)
