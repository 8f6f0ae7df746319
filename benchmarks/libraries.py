"""Systems that are fed texts: libraries whose user chooses how many make a batch, and the tutorial's code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import convert, machine
from benchmarks.systems import BatchSystem, Case, FloatArray, System, longest_first, mean_of


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
    config = json.loads((folder / "config.json").read_text())
    return int(config.get("hidden_size") or config["dim"])
