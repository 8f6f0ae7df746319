"""One class per system, all behind one interface: open with a setting, then texts → vectors (N, D).

A class imports its library only when it is opened, since each runs in the environment that has it. What a system
leaves to its user (batch size, threads, order of texts) is swept: `first` are the settings tried first, `then` those
tried beside the best of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from benchmarks import convert, machine

FloatArray = npt.NDArray[np.float32]
Setting = dict[str, Any]
Ids = list[list[int]]
BUDGETS = (256, 1024, 2048)  # tokens of a batch; 512 is tried first
SIZES = (8, 16, 64, 128)  # texts of a batch; 32 is tried first


@dataclass(frozen=True)
class Case:
    """What is to be encoded, by all systems alike.

    Attributes:
        encoder: folder of the encoder.
        work: folder for what is converted from it.
        precision: ``"fp32"``, ``"int8"`` or ``"bf16"``.
        threads: that a system may keep busy.
        pooling: ``"mean"`` or ``"cls"``.
        layer: ``"last"`` or a number; firstbert alone can stop earlier.
        max_length: tokens of a text, at most.
        calibration: texts that OpenVINO's quantisation may look at.
    """

    encoder: str
    work: str
    precision: str = "fp32"
    threads: int = 2
    pooling: str = "mean"
    layer: str | int = "last"
    max_length: int = 256
    calibration: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def name(self) -> str:
        return Path(self.encoder).name


class System:
    """A way of encoding.

    Attributes:
        name: as in the tables.
        environment: the one it runs in.
        precisions: it can be had in.
        poolings: it can be had with.
    """

    name: ClassVar[str]
    environment: ClassVar[str] = "peers"
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    poolings: ClassVar[tuple[str, ...]] = ("mean",)

    def __init__(self, case: Case, setting: Setting) -> None:
        self.case, self.setting = case, setting

    @staticmethod
    def first(case: Case) -> list[Setting]:
        """Return the settings to try first; ``"environment"`` in one holds variables of its process."""
        return [{}]

    @staticmethod
    def then(case: Case, best: Setting) -> list[Setting]:
        """Return the settings to try beside the best of the first."""
        return []

    def prepare(self) -> None:
        """Open the encoder."""
        raise NotImplementedError

    def encode(self, texts: list[str]) -> FloatArray:
        """Return the vectors (N, D)."""
        raise NotImplementedError


class BatchSystem(System):
    """A system whose user chooses how many texts make a batch."""

    @staticmethod
    def first(case: Case) -> list[Setting]:
        return [{"batch_size": 32}]

    @staticmethod
    def then(case: Case, best: Setting) -> list[Setting]:
        return [best | {"batch_size": size} for size in SIZES]


class TokenSystem(System):
    """A system that takes token ids: its tokenising can be timed by itself."""

    def prepare(self) -> None:
        self.tokenizer = open_tokenizer(self.case)
        self.open()

    def open(self) -> None:
        raise NotImplementedError

    def tokens(self, texts: list[str]) -> Ids:
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]

    def encode_tokens(self, ids: Ids) -> FloatArray:
        raise NotImplementedError

    def encode(self, texts: list[str]) -> FloatArray:
        return self.encode_tokens(self.tokens(texts))


def open_tokenizer(case: Case) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(case.encoder) / "tokenizer.json"))
    tokenizer.enable_truncation(case.max_length)
    return tokenizer


def by_budget(ids: Ids, budget: int) -> list[npt.NDArray[np.intp]]:
    """Return the rows of each batch: like lengths together, the longest first, at most `budget` tokens with padding."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    order, start, batches = np.argsort(-lengths, kind="stable"), 0, []
    while start < len(order):
        stop = start + max(budget // int(lengths[order[start]]), 1)
        batches.append(order[start:stop])
        start = stop
    return batches


def padded(ids: Ids, rows: npt.NDArray[np.intp], dtype: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Return (B, T) ids, filled up with 0, and (B,) lengths."""
    lengths = np.array([len(ids[i]) for i in rows], np.int32)
    batch = np.zeros((len(rows), int(lengths.max())), dtype)
    for row, i in zip(batch, rows, strict=True):
        row[: len(ids[i])] = ids[i]
    return batch, lengths


def longest_first(texts: Sequence[str]) -> npt.NDArray[np.intp]:
    """Return the order by characters, as sentence-transformers sorts: for systems that don't sort by themselves."""
    return np.argsort([-len(text) for text in texts], kind="stable")


def mean_of(hidden: FloatArray, lengths: npt.NDArray[np.int32]) -> FloatArray:
    """(B, T, D) → (B, D), over real tokens."""
    share = (np.arange(hidden.shape[1]) < lengths[:, None]) / lengths[:, None].astype(np.float32)
    return np.matmul(share[:, None].astype(np.float32), hidden)[:, 0]


def budgets(best: Setting) -> list[Setting]:
    return [best | {"batch_tokens": budget} for budget in BUDGETS]


# ---------------------------------------------------------------- firstbert


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


# ---------------------------------------------------------------- runtimes


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


def in_place(n: int, batches: list[npt.NDArray[np.intp]], parts: Any) -> FloatArray:
    """Return the rows of all batches in the order of the texts."""
    vectors: FloatArray | None = None
    for rows, part in zip(batches, parts, strict=True):
        if vectors is None:
            vectors = np.empty((n, part.shape[1]), np.float32)
        vectors[rows] = part
    assert vectors is not None
    return vectors


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


# ---------------------------------------------------------------- libraries


class SentenceTransformers(BatchSystem):
    """sentence-transformers on torch, which sorts by length itself."""

    name = "sentence-transformers"
    precisions = ("fp32", "bf16")

    def prepare(self) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(self.case.threads)
        self.model = SentenceTransformer(self.case.encoder, device="cpu")
        if self.case.precision == "bf16":
            self.model.bfloat16()

    def encode(self, texts: list[str]) -> FloatArray:
        size = self.setting["batch_size"]
        return np.asarray(self.model.encode(texts, batch_size=size, show_progress_bar=False), np.float32)


class SentenceTransformersOnnx(SentenceTransformers):
    """sentence-transformers' ONNX backend, its graph optimised (O2) or quantised by its own functions."""

    name = "sentence-transformers onnx"
    environment = "optimum"
    precisions = ("fp32", "int8")

    def prepare(self) -> None:
        import onnxruntime
        from sentence_transformers import SentenceTransformer

        level = "O2" if self.case.precision == "fp32" else convert.instruction_set(machine.flags())
        folder = onnx_export(self.case, level)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.case.threads
        kwargs = {"file_name": f"onnx/model_{level}.onnx", "provider": "CPUExecutionProvider"}
        self.model = SentenceTransformer(
            str(folder), backend="onnx", device="cpu", model_kwargs=kwargs | {"session_options": options}
        )


def onnx_export(case: Case, level: str) -> Path:
    return convert.onnx_folder(Path(case.encoder), Path(case.work) / "onnx" / case.name, level)


class SentenceTransformersOpenVINO(SentenceTransformers):
    """sentence-transformers' OpenVINO backend."""

    name = "sentence-transformers openvino"
    environment = "optimum"
    precisions = ("fp32",)

    def prepare(self) -> None:
        from sentence_transformers import SentenceTransformer

        config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self.case.threads}
        self.model = SentenceTransformer(
            self.case.encoder, backend="openvino", device="cpu", model_kwargs={"ov_config": config, "export": True}
        )


class Pipeline(BatchSystem):
    """transformers' feature-extraction pipeline, made to hand out means; texts sorted for it."""

    name = "transformers pipeline"

    def prepare(self) -> None:
        import torch
        from transformers import FeatureExtractionPipeline, pipeline

        class MeanPipeline(FeatureExtractionPipeline):  # the plain one turns every token's numbers into lists
            def _forward(self, model_inputs: Any) -> Any:
                real = model_inputs["attention_mask"].unsqueeze(-1).float()
                hidden = super()._forward(model_inputs)[0]
                return {"mean": (hidden * real).sum(1) / real.sum(1)}

            def postprocess(self, model_outputs: Any, **_: Any) -> Any:
                return model_outputs["mean"]

        torch.set_num_threads(self.case.threads)
        self.run = pipeline(
            "feature-extraction", model=self.case.encoder, device="cpu", pipeline_class=MeanPipeline,
            tokenize_kwargs={"truncation": True, "max_length": self.case.max_length},
        )  # fmt: skip

    def encode(self, texts: list[str]) -> FloatArray:
        order = longest_first(texts)
        outputs = self.run([texts[i] for i in order], batch_size=self.setting["batch_size"])
        vectors = np.concatenate([output.numpy() for output in outputs])
        return vectors[np.argsort(order)]


class Tutorial(System):
    """The tutorial's code: tokenise each row, pad all to the longest, one batch."""

    name = "the tutorial's code"
    poolings = ("mean", "cls")

    def prepare(self) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.set_num_threads(self.case.threads)
        self.tokenizer = AutoTokenizer.from_pretrained(self.case.encoder)
        self.model = AutoModel.from_pretrained(self.case.encoder)

    def encode(self, texts: list[str]) -> FloatArray:
        import torch

        limit = {"truncation": True, "max_length": self.case.max_length}
        tokenized = [self.tokenizer.encode(text, add_special_tokens=True, **limit) for text in texts]
        max_len = max(len(i) for i in tokenized)
        padded_ids = np.array([i + [0] * (max_len - len(i)) for i in tokenized])
        attention_mask = np.where(padded_ids != 0, 1, 0)
        input_ids, mask = torch.tensor(padded_ids), torch.tensor(attention_mask)
        with torch.no_grad():
            last_hidden_states = self.model(input_ids, attention_mask=mask)
        hidden = last_hidden_states[0].numpy()
        return hidden[:, 0, :] if self.case.pooling == "cls" else mean_of(hidden, attention_mask.sum(1))


class FastEmbed(BatchSystem):
    """fastembed on the same optimised ONNX file as sentence-transformers; texts sorted for it."""

    name = "fastembed"

    def prepare(self) -> None:
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType

        folder = Path(self.case.work) / "onnx" / self.case.name
        name, file = f"local/{self.case.name}", "onnx/model_O2.onnx"
        if not (folder / file).exists():
            raise FileNotFoundError(f"{folder / file}: optimum has not made it")
        known = {model["model"] for model in TextEmbedding.list_supported_models()}
        if name not in known:
            TextEmbedding.add_custom_model(
                name, PoolingType.MEAN, False, ModelSource(hf=name), _width(folder), model_file=file
            )
        self.model = TextEmbedding(name, specific_model_path=str(folder), threads=self.case.threads)

    def encode(self, texts: list[str]) -> FloatArray:
        order = longest_first(texts)
        vectors = np.stack(list(self.model.embed([texts[i] for i in order], batch_size=self.setting["batch_size"])))
        return vectors[np.argsort(order)]


def _width(folder: Path) -> int:
    import json

    config = json.loads((folder / "config.json").read_text())
    return int(config.get("hidden_size") or config["dim"])


SYSTEMS: dict[str, type[System]] = {
    system.name: system
    for system in (
        Firstbert, CTranslate2, OpenVINO, SentenceTransformers, SentenceTransformersOnnx,
        SentenceTransformersOpenVINO, Pipeline, FastEmbed, Tutorial,
    )
}  # fmt: skip


def environment(case: Case, setting: Setting) -> dict[str, str]:
    """Return the variables of a system's process."""
    threads = str(case.threads)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    fixed = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "TRANSFORMERS_VERBOSITY": "error"}
    return machine.variables() | dict.fromkeys(names, threads) | fixed | setting.get("environment", {})
