"""A model folder → one .onnx file that takes token ids and gives calibrated probabilities.

After artifact.py on the way of a sentence. The file holds the encoder up to the layer that is read, the head, the
calibration, and in its metadata all else that is needed to answer: labels, thresholds, the tokenizer. In float32 it is
made of operators that every runtime of ONNX has:

    input_ids (B, T) int64, attention_mask (B, T) int64, padded on the right  →  probabilities, scores (B, C) float32
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from firstbert import __version__, answers
from firstbert.artifact import Artifact
from firstbert.data import Label
from firstbert.errors import EncoderError, FirstbertError
from firstbert.graph import INT32, INT64, Builder
from firstbert.head import Head
from firstbert.predictor import Predictor
from firstbert.prepared import Prepared
from firstbert.session import onnx_runtime
from firstbert.tokens import Tokenizer

if TYPE_CHECKING:
    import onnx

OUTPUTS = ("probabilities", "scores")
TOLERANCE = 1e-5  # of probabilities, in float32
TOLERANCE_INT8 = 1e-3  # other kernels round at other places
_LIMIT = 2**31 - 1  # bytes of a protobuf message
_OPSET = 20  # the first with Gelu


class MismatchError(FirstbertError):
    """A file that doesn't answer as the model does."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        bytes: its size.
        difference: the largest difference of a golden text's probability from the library's.
        labels: the C labels, in the order of the outputs' columns.
    """

    path: Path
    bytes: int
    difference: float
    labels: tuple[Label, ...]


def export(artifact: Artifact, path: Path) -> Exported:
    """Write a model as one .onnx file, once it has given the golden texts the library's probabilities.

    Raises:
        UsageError: the file can't be written.
        EncoderError: the encoder is run by torch, or too large for one file.
        MismatchError: the probabilities differ; nothing is written.
    """
    answers.check_place(path)
    predictor = artifact.predictor
    content = build(predictor).SerializeToString()
    texts = [text for text, _ in artifact.golden]
    found = run(content, tokenizer(predictor), texts)
    difference = float(np.abs(found - predictor.predict(texts).probabilities).max())
    allowed = TOLERANCE if predictor.encoder.precision == "fp32" else TOLERANCE_INT8
    if not difference <= allowed:
        raise MismatchError(
            f"{path}: not written: its probabilities of the golden texts differ from the model's by up to "
            f"{difference:.2g} (allowed: {allowed:.0e}). Please report this with the name of the encoder."
        )
    answers.write(path, content)
    return Exported(path, len(content), difference, predictor.labels)


def build(predictor: Predictor) -> onnx.ModelProto:
    """Return the whole model as ONNX, its weights inside.

    Raises:
        EncoderError: the encoder is run by torch, or too large for one file.
    """
    engine = predictor.engine
    engine.lay_out()
    prepared = engine.prepared
    if not isinstance(prepared, Prepared):
        raise EncoderError(
            f"{predictor.encoder_title}: this encoder is run by torch, and only those that firstbert runs itself can "
            "be exported. transformers' own exporter (optimum) takes others."
        )
    if (size := prepared.weights.stat().st_size) > _LIMIT:
        raise EncoderError(
            f"{predictor.encoder_title}: {size:,} bytes of weights are more than one ONNX file holds (2 GB)."
        )
    builder = _Exporter(prepared.architecture, prepared.stored(), prepared.weights.name)
    builder.begin()
    builder.walk(engine.reads)
    builder.answer([read.name for read in engine.reads], predictor)
    model = builder.model([(name, ["batch", len(predictor.labels)]) for name in OUTPUTS])
    _embed(model, prepared.weights)
    _describe(model, predictor)
    return model


class _Exporter(Builder):
    """Builds the same arithmetic from plain operators, with a head at its end."""

    opset = _OPSET
    inputs = (("input_ids", INT64, ["batch", "tokens"]), ("attention_mask", INT64, ["batch", "tokens"]))

    def begin(self) -> None:
        """What transformers calls a batch → what graphs of encoders take."""
        self.node("Cast", ["input_ids"], "ids", to=INT32)
        along = self.constant("mask_axis", np.array([1], np.int64))
        count = self.node("ReduceSum", ["attention_mask", along], "mask_count", keepdims=0)
        self.node("Cast", [count], "lengths", to=INT32)

    def attention(self, i: int, query: str, key: str, value: str, bias: str) -> str:
        """softmax(Q Kᵀ / √d + bias) V for each head, padding left out (Vaswani et al. 2017, section 3.2)."""
        heads, size = self.arch.heads, self.arch.width // self.arch.heads
        parts = [self._parted(x, order) for x, order in ((query, "rows"), (key, "columns"), (value, "rows"))]
        root = self.constant("root", np.array(size**-0.5, np.float32))
        scaled = self.node("Mul", [parts[0], root], f"{i}.scaled")
        scores = self.node("MatMul", [scaled, parts[1]], f"{i}.scores")  # (B, heads, Q, T)
        if bias:
            scores = self.node("Add", [scores, bias], f"{i}.biased")
        least = self.constant("least", np.array(np.finfo(np.float32).min, np.float32))
        scores = self.node("Where", [self._real_keys(), scores, least], f"{i}.real_scores")
        shares = self.node("Softmax", [scores], f"{i}.attention_shares", axis=-1)
        mixed = self.node("MatMul", [shares, parts[2]], f"{i}.mixed")  # (B, heads, Q, d)
        back = self.node("Transpose", [mixed], f"{i}.mixed_rows", perm=[0, 2, 1, 3])
        together = self.constant("together", np.array([0, 0, heads * size], np.int64))
        return self.node("Reshape", [back, together], f"{i}.attention.rows")

    def _parted(self, x: str, order: str) -> str:
        """(B, T, D) → (B, heads, T, d), or as columns (B, heads, d, T)."""
        heads, size = self.arch.heads, self.arch.width // self.arch.heads
        shape = self.constant("parted", np.array([0, 0, heads, size], np.int64))
        parted = self.node("Reshape", [x, shape], f"{x}.parted")
        return self.node("Transpose", [parted], f"{x}.{order}", perm=[0, 2, 1, 3] if order == "rows" else [0, 2, 3, 1])

    def _real_keys(self) -> str:
        """(B, 1, 1, T)."""
        if not self.has("is_real_key"):
            axis = self.constant("axis_of_heads", np.array([1], np.int64))
            self.node("Unsqueeze", [self.real_places(), axis], "is_real_key")
        return "is_real_key"

    def answer(self, vectors: list[str], predictor: Predictor) -> None:
        """The vectors read, (B, D) each → scores and probabilities, (B, C)."""
        joined = self.node("Concat", vectors, "vector", axis=1)
        weight, bias = _head(predictor.head)
        scores = self.node("Gemm", [joined, self.constant("head.weight", weight), self.constant("head.bias", bias)],
                           "scores")  # fmt: skip
        temperature = self.constant("temperature", np.array(predictor.calibration.temperature, np.float32))
        scaled = self.node("Div", [scores, temperature], "scaled_scores")
        if predictor.calibration.many:
            self.node("Sigmoid", [scaled], "probabilities")
        else:
            self.node("Softmax", [scaled], "probabilities", axis=-1)


def _head(head: Head) -> tuple[Any, Any]:
    return np.ascontiguousarray(head.weight.T), head.bias


def _embed(model: onnx.ModelProto, weights: Path) -> None:
    """Put the tensors that lie in the file of weights into the model itself."""
    from onnx import TensorProto

    with weights.open("rb") as file:
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                place = {each.key: each.value for each in tensor.external_data}
                file.seek(int(place["offset"]))
                tensor.raw_data = file.read(int(place["length"]))
                del tensor.external_data[:]
                tensor.data_location = TensorProto.DEFAULT


def tokenizer(predictor: Predictor) -> Any:
    """Return the encoder's tokenizer of the library "tokenizers": it cuts and pads as the exported file needs it."""
    engine = predictor.engine
    arch = engine.prepared.architecture
    made = Tokenizer(engine.files.tokenizer, predictor.encoder.max_length, arch.vocabulary)
    return made.standalone(getattr(arch, "padding_id", None) or 0)


def _describe(model: onnx.ModelProto, predictor: Predictor) -> None:
    """Write down all that is needed beside the graph to answer."""
    engine, decision = predictor.engine, predictor.decision
    facts = {
        "firstbert": __version__,
        "labels": json.dumps(predictor.labels, ensure_ascii=False),
        "many_labels": json.dumps(decision.many),
        "thresholds": json.dumps(decision.thresholds),
        "accept": json.dumps(decision.accept),
        "temperature": json.dumps(predictor.calibration.temperature),
        "max_length": json.dumps(predictor.encoder.max_length),
        "encoder": predictor.encoder_title,
        "weights_sha256": predictor.weights_sha256,
        "layer": json.dumps(engine.layer),
        "pooling": engine.pooling,
        "precision": predictor.encoder.precision,
        "tokenizer.json": tokenizer(predictor).to_str(),
    }
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)


def run(content: bytes, rust: Any, texts: list[str]) -> Any:
    """Return the probabilities, (N, C), that an exported file gives texts, as anyone would run it."""
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors share no base class of their own
        raise MismatchError(f"ONNX Runtime can't open what was exported ({error}).") from error
    encoded = rust.encode_batch(texts)
    ids = np.array([each.ids for each in encoded], np.int64)
    mask = np.array([each.attention_mask for each in encoded], np.int64)
    return session.run(["probabilities"], {"input_ids": ids, "attention_mask": mask})[0]
