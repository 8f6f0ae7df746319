"""An encoder's folder → a model of transformers with its weights, for what torch is to run.

After prepared.py on the way of a sentence; torch_session.py runs it. Only config.json and safetensors are read, and no
code runs but that of the installed transformers. torch and transformers are imported when an encoder is opened.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from firstbert.catalog import EncoderFiles
from firstbert.errors import EncoderError
from firstbert.families import FAMILIES, Shape, read_config
from firstbert.folders import read_json
from firstbert.prepared import Precision

_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
_UNLIMITED = 1_000_000  # tokens of a text, where positions are relative
_FOREIGN = re.compile("^_|^auto_map$|_implementation$")  # keys of config.json that could name code


# ---------------------------------------------------------------- config.json


def shape_of(files: EncoderFiles) -> Shape:
    """Return the shape that config.json tells; no weights are read.

    Raises:
        EncoderError: it is no encoder's that transformers knows.
    """
    config = _config(files)
    if config.model_type in FAMILIES:
        return read_config(files.config)  # with all that is refused there
    import torch
    import transformers

    with told(files, "is no encoder of sentences that transformers can build"):
        with torch.device("meta"):  # names and shapes, no numbers
            model = transformers.AutoModel.from_config(config)
        decoder = config.is_encoder_decoder or getattr(config, "is_decoder", False)
        if decoder or model.main_input_name != "input_ids":
            raise EncoderError(f"{files.config}: family {config.model_type!r} is no encoder of sentences.")
        return Shape(
            family=str(config.model_type),
            layers=int(config.num_hidden_layers),
            width=int(config.hidden_size),
            vocabulary=int(model.get_input_embeddings().num_embeddings),
            positions=_positions(model),
        )


def _config(files: EncoderFiles) -> Any:
    """config.json as transformers takes it, without all that could name code, a kernel or a quantiser to fetch."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    values = read_json(files.config)
    family = values.get("model_type")
    if not isinstance(family, str) or family not in CONFIG_MAPPING:
        raise EncoderError(f"{files.config}: model_type {family!r} is known neither to firstbert nor to transformers.")
    if values.get("quantization_config"):
        raise EncoderError(f"{files.config}: its weights are quantised (quantization_config); plain ones are needed.")
    kept = {key: value for key, value in values.items() if not _FOREIGN.search(key)}
    with told(files, "is refused by transformers"):
        config = CONFIG_MAPPING[family].from_dict(kept)
        config._attn_implementation = None  # transformers' own choice: SDPA where the family has it
        config.dtype = None
    return config


def _positions(model: Any) -> int:
    """The longest text in tokens; fairseq's models leave the first rows of their table unread, up to the padding's."""
    import torch

    told = getattr(model.config, "max_position_embeddings", None)
    limits = [told if isinstance(told, int) and told > 0 else _UNLIMITED]
    for name, module in model.named_modules():
        if name.endswith("embeddings.position_embeddings") and isinstance(module, torch.nn.Embedding):
            unread = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - unread)
    return min(limits)


@contextlib.contextmanager
def told(files: EncoderFiles, what: str) -> Iterator[None]:
    """Tell transformers' errors, which share no base class, as one of ours that names the encoder.

    Raises:
        EncoderError: whatever was raised inside.
    """
    try:
        yield
    except EncoderError:
        raise
    except Exception as error:
        raise EncoderError(f"{files.config}: {what} ({type(error).__name__}: {error}).") from error


# ---------------------------------------------------------------- weights


def load_model(files: EncoderFiles, precision: Precision, device: str) -> Any:
    """Return the model on its device, every one of its weights found in the files and finite.

    Raises:
        EncoderError: weights can't be read, are missing, or hold NaN.
    """
    import torch
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    config = _config(files)
    kind = MODEL_MAPPING[type(config)]
    with quiet(transformers.utils.logging), told(files, "its weights can't be loaded"):
        # As tensors, not as a folder: of that, transformers would also read adapters and pickles.
        model, found = kind.from_pretrained(
            None,
            config=config,
            state_dict=_tensors(files),
            dtype=getattr(torch, _DTYPES[precision]),
            output_loading_info=True,
        )
    # What isn't found, transformers fills with random numbers. A pooler comes after all that is read here.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise EncoderError(f"{files.weights[0]}: tensor '{missing[0]}' is missing (of {len(missing)} in all).")
    for name, tensor in model.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise EncoderError(f"{files.weights[0]}: tensor '{name}' holds NaN or infinite numbers.")
    return model.eval().requires_grad_(False).to(device)


def _tensors(files: EncoderFiles) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensors: dict[str, Any] = {}
    for path in files.weights:
        try:
            tensors |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise EncoderError(f"{path}: not a readable safetensors file ({error}).") from error
    return tensors


@contextlib.contextmanager
def quiet(logging: Any) -> Iterator[None]:
    """Without transformers' bar and table: what matters in them is checked and told by us."""
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
