"""Which library runs an encoder, and on what: ONNX Runtime where the graph knows the family, else torch.

After torch_session.py on the way of a sentence; engine.py opens encoders through it. torch never takes the place of
ONNX Runtime unasked.
"""

from __future__ import annotations

from typing import Literal

from firstbert.catalog import EncoderFiles
from firstbert.errors import UsageError
from firstbert.families import FAMILIES
from firstbert.folders import read_json
from firstbert.prepared import Precision, Prepared, prepare
from firstbert.torch_session import Device, TorchEncoder, prepare_torch

Backend = Literal["auto", "onnx", "torch"]


def prepare_for(files: EncoderFiles, backend: Backend, device: Device, precision: Precision) -> Prepared | TorchEncoder:
    """Return an encoder made ready for the library that is to run it.

    Raises:
        UsageError: options that don't go together, or torch is needed and isn't installed.
        EncoderError: its files are no supported encoder's.
    """
    why = torch_for(files, backend, device, precision)
    return prepare(files, precision) if why is None else prepare_torch(files, precision, device, why)


def torch_for(files: EncoderFiles, backend: Backend, device: Device, precision: Precision) -> str | None:
    """Return what torch is needed for; None where ONNX Runtime runs the encoder.

    Raises:
        UsageError: options that don't go together.
        EncoderError: the encoder's config.json can't be read.
    """
    why = _torch_for(files, backend, device)
    if why is None and precision == "bf16":
        raise UsageError("precision='bf16' needs torch: take backend='torch', or device='cuda', with it.")
    if why is not None and precision == "int8":
        raise UsageError("precision='int8' is for ONNX Runtime alone, and torch is to run this encoder: take 'fp32'.")
    return why


def _torch_for(files: EncoderFiles, backend: Backend, device: Device) -> str | None:
    if backend == "onnx":
        if device == "cuda":
            raise UsageError("device='cuda' needs torch: take backend='torch' or 'auto' with it.")
        return None
    if backend == "torch":
        return "backend='torch'"
    family = read_json(files.config).get("model_type")
    if isinstance(family, str) and family not in FAMILIES:
        known = ", ".join(FAMILIES)
        return f"{files.config}: family {family!r} is none that firstbert's graph knows ({known}). Running it by torch"
    return "device='cuda'" if device == "cuda" else None
