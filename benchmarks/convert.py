"""An encoder's folder → what the peers read. Made once, kept in the work folder, never part of a measurement."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def ctranslate2_model(encoder: Path, target: Path, quantization: str) -> Path:
    """Convert for CTranslate2; `quantization` is float32 or int8."""
    if not target.exists():
        from ctranslate2.converters import TransformersConverter

        unfinished = target.with_name(f"{target.name}.new")
        TransformersConverter(str(encoder)).convert(str(unfinished), quantization=quantization, force=True)
        unfinished.rename(target)
    return target


def openvino_model(encoder: Path, target: Path, texts: Sequence[str], kind: str) -> Path:
    """Convert for OpenVINO, the mean over tokens included.

    `kind` is fp32, ptq (int8 products and activations, calibrated on `texts`) or weights (int8 weights; the
    activations are quantised as they come).
    """
    if not target.exists():
        import openvino

        unfinished = target.parent / "new" / target.name
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        openvino.save_model(_openvino(encoder, texts, kind), unfinished, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):  # the second one says that both are there
            unfinished.with_suffix(suffix).rename(target.with_suffix(suffix))
    return target


def _openvino(encoder: Path, texts: Sequence[str], kind: str) -> Any:
    import openvino

    example = _tensors(encoder, ["a text", "and another, longer one"])
    model = openvino.convert_model(_mean_of_last(encoder), example_input=example)
    model.reshape({name: [-1, -1] for name in example})
    if kind == "fp32":
        return model
    import nncf

    if kind == "weights":
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    rows = [{name: tensor.numpy() for name, tensor in _tensors(encoder, [text]).items()} for text in texts]
    return nncf.quantize(model, nncf.Dataset(rows), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(rows))


def _tensors(encoder: Path, texts: Sequence[str]) -> dict[str, Any]:
    from transformers import AutoTokenizer

    encoded = AutoTokenizer.from_pretrained(encoder)(texts, padding=True, truncation=True, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def _mean_of_last(encoder: Path) -> Any:
    import torch
    from transformers import AutoModel

    class MeanOfLast(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(encoder, attn_implementation="sdpa").eval()

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]  # (B, T, D)
            real = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return (hidden * real).sum(1) / real.sum(1)

    return MeanOfLast().eval()


def onnx_folder(encoder: Path, target: Path, level: str) -> Path:
    """Export with optimum, then optimise as sentence-transformers does.

    `level` is O2 (fused operators; O3 would approximate GELU, and the vectors with it), or the name of an
    instruction set, for int8.
    """
    if not (target / "onnx" / f"model_{level}.onnx").exists():
        from sentence_transformers import (
            SentenceTransformer,
            export_dynamic_quantized_onnx_model,
            export_optimized_onnx_model,
        )

        shutil.copytree(encoder, target, dirs_exist_ok=True)
        model = SentenceTransformer(str(target), backend="onnx", model_kwargs={"provider": "CPUExecutionProvider"})
        if level.startswith("O"):
            export_optimized_onnx_model(model, level, str(target), file_suffix=level)
        else:
            export_dynamic_quantized_onnx_model(model, level, str(target), file_suffix=level)
    return target


def instruction_set(flags: set[str]) -> str:
    """Return the name under which sentence-transformers knows this processor's int8 arithmetic."""
    if "avx512_vnni" in flags:
        return "avx512_vnni"
    return "avx512" if "avx512f" in flags else "avx2"
