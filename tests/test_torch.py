"""The torch backend: families that the graph doesn't know, the same vectors as elsewhere, and what it refuses.

Live where torch and transformers are installed; what is said where they aren't is tested everywhere.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import families
from conftest import TEXTS, Outcome
from firstbert import SentenceClassifier, artifact, load
from firstbert.batches import Batch
from firstbert.cache import encode
from firstbert.catalog import encoder_files
from firstbert.engine import Engine, EngineOptions
from firstbert.errors import EncoderError, SourceError, UsageError
from firstbert.graph import Read
from firstbert.prepared import Prepared
from firstbert.torch_session import TorchEncoder, TorchSession
from make_golden import SENTENCES
from test_cache import write_encoder, write_tokenizer

TOLERANCE = 2e-5
TORCH = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
needs_torch = pytest.mark.skipif(not TORCH, reason='needs torch: pip install "firstbert[torch]"')

WORDS = ["w5 w6", "w1", " ".join(f"w{i % 90}" for i in range(60)), "w7 w8 w9 w10 w11 w12 w13", "w3 " * 20, ""]


def has_gpu() -> bool:
    if not TORCH:
        return False
    import torch

    return bool(torch.cuda.is_available())


needs_gpu = pytest.mark.skipif(not has_gpu(), reason="needs a CUDA device")


# ---------------------------------------------------------------- tiny encoders of other families

_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
_POSITIONS = {"max_position_embeddings": 300}
# Numbers ten times as large as at the usual start, so that layers differ: the usual ones hardly change a vector.
TINY: dict[str, dict[str, Any]] = {
    "modernbert": _SIZES | _POSITIONS | {"local_attention": 8, "initializer_range": 0.2, "eos_token_id": 3},
    "deberta-v2": _SIZES | _POSITIONS | {
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16, "share_att_key": True,
        "norm_rel_ebd": "layer_norm", "position_biased_input": False, "conv_kernel_size": 3, "initializer_range": 0.2,
    },
    "albert": _SIZES | _POSITIONS | {"embedding_size": 16, "initializer_range": 0.2},
    "mobilebert": _SIZES | _POSITIONS | {
        "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16, "initializer_range": 0.2,
    },
    "xlnet": {"d_model": 32, "d_inner": 48, "n_layer": 4, "n_head": 4, "initializer_range": 0.2},
    "fnet": _SIZES | _POSITIONS | {"initializer_range": 0.2},
    "roberta-prelayernorm": _SIZES | {"max_position_embeddings": 302, "pad_token_id": 1, "initializer_range": 0.2},
}  # fmt: skip
OTHERS = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
    "vit": _SIZES | {"image_size": 8, "patch_size": 4},
}


def write_tiny(folder: Path, family: str) -> Path:
    """An encoder of random weights, as transformers saves it."""
    import torch
    import transformers

    kind = transformers.models.auto.configuration_auto.CONFIG_MAPPING[family]
    torch.manual_seed(0)
    sizes = {"pad_token_id": 0, "bos_token_id": 2} | (TINY | OTHERS)[family]
    if family != "vit":
        sizes["vocab_size"] = 100
    model = transformers.AutoModel.from_config(kind(**sizes))
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim == 1:  # biases and norms start alike, which would hide one that is left out
                tensor.add_(0.1 * torch.randn_like(tensor))
    model.save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="module", params=TINY)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One encoder of each family. Not to be changed."""
    if not TORCH:
        pytest.skip("needs torch")
    return write_tiny(tmp_path_factory.mktemp("tiny") / request.param, request.param)


@pytest.fixture
def modernbert(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "modernbert", "modernbert")


def states(folder: Path, texts: list[str]) -> list[np.ndarray]:
    """What transformers gives, each text by itself: (L + 1, T, D), the last layer as last_hidden_state has it."""
    import torch

    import reference

    model = reference.load(folder)
    found = []
    for ids in Engine(EngineOptions(str(folder))).tokenizer(texts).ids:
        with torch.inference_mode():
            out = model(torch.tensor([ids]), output_hidden_states=True)
        found.append(torch.cat([*out.hidden_states[:-1], out.last_hidden_state]).numpy())
    return found


def every_read(layers: int) -> tuple[Read, ...]:
    return tuple(Read(layer, pooling) for layer in range(layers + 1) for pooling in ("cls", "mean"))


def edit(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# ---------------------------------------------------------------- the same vectors


def test_every_layer_equals_transformers(tiny: Path) -> None:
    theirs = states(tiny, WORDS)
    vectors = Engine(EngineOptions(str(tiny)), every_read(4)).encode(WORDS).vectors  # (N, 10, D)
    expected = np.stack([np.stack([s[:, 0], s.mean(axis=1)], axis=1).reshape(10, -1) for s in theirs])
    worst = float(np.abs(vectors - expected).max() / max(1.0, np.abs(expected).max()))  # MobileBERT has no norms
    print(f"{tiny.name}: largest difference from transformers: {worst:.1e}")
    assert worst <= TOLERANCE
    assert np.abs(np.diff(expected, axis=1)).max(axis=(0, 2)).min() > 0.05  # a wrong layer or pooling would tell


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_layers_above_never_run_and_change_nothing(tiny: Path, layer: int) -> None:
    reads = (Read(layer, "mean"), Read(0, "cls"), Read(layer, "cls"))
    whole = Engine(EngineOptions(str(tiny)), every_read(4))
    cut = Engine(EngineOptions(str(tiny)), reads)
    places = [whole.reads.index(read) for read in reads]
    assert np.abs(cut.encode(WORDS).vectors - whole.encode(WORDS).vectors[:, places]).max() <= TOLERANCE
    one, three = (linear_calls(Engine(EngineOptions(str(tiny)), (Read(k, "cls"),)), WORDS) for k in (1, 3))
    assert 2 * (linear_calls(cut, WORDS) - one) == (layer - 1) * (three - one)
    assert linear_calls(cut, WORDS) < linear_calls(whole, WORDS)


@needs_torch
def test_layers_are_put_back_where_cutting_would_change_what_is_read(
    modernbert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = (Read(2, "mean"), Read(4, "cls"), Read(3, "mean"))
    expected = Engine(EngineOptions(str(modernbert)), reads).encode(WORDS).vectors
    monkeypatch.setattr(TorchSession, "_same_up_to", lambda self, top, probe: False)
    engine = Engine(EngineOptions(str(modernbert)), reads[::2])
    model = engine.session._model
    assert len(model.layers) == model.config.num_hidden_layers == 4
    assert np.abs(engine.encode(WORDS).vectors - expected[:, ::2]).max() <= TOLERANCE


def linear_calls(engine: Engine, texts: list[str]) -> int:
    """How many products the network runs."""
    import torch

    calls = []

    def count(module: Any, inputs: Any, output: Any) -> None:
        if isinstance(module, torch.nn.Linear):
            calls.append(module)

    hook = torch.nn.modules.module.register_module_forward_hook(count)
    engine.encode(texts)
    hook.remove()
    return len(calls)


@needs_torch
@pytest.mark.parametrize("name", ["bert", "mpnet", "roberta", "distilbert", "electra-small"])
def test_known_families_equal_the_graph(name: str, tmp_path: Path) -> None:
    row = families.small(name)
    folder = families.write(row, tmp_path / "encoder").config.parent
    write_tokenizer(folder / "tokenizer.json")
    graph = Engine(EngineOptions(str(folder)), every_read(2))
    torch = Engine(EngineOptions(str(folder), backend="torch"), every_read(2))
    assert isinstance(graph.prepared, Prepared) and isinstance(torch.prepared, TorchEncoder)
    assert torch.prepared.architecture == graph.prepared.architecture
    texts = [*WORDS, "w1 " * 254]
    assert np.abs(torch.encode(texts).vectors - graph.encode(texts).vectors).max() <= TOLERANCE


@needs_torch
def test_minilm_equals_the_graph() -> None:
    try:
        encoder_files("minilm")
    except SourceError as error:
        pytest.skip(f"minilm can't be had here: {error}")
    texts = [*SENTENCES, *TEXTS]
    graph = Engine(EngineOptions("minilm"), every_read(6)).encode(texts).vectors
    exact = Engine(EngineOptions("minilm", backend="torch"), every_read(6)).encode(texts).vectors
    assert np.abs(exact - graph).max() <= TOLERANCE
    rough = Engine(EngineOptions("minilm", backend="torch", precision="bf16"), every_read(6)).encode(texts).vectors
    off = np.linalg.norm(rough - graph, axis=2) / np.linalg.norm(graph, axis=2)
    assert 1e-4 < off.max() < 0.03


@needs_torch
@pytest.mark.parametrize("pooling", ["cls", "mean", "tokens"])
def test_what_stands_in_the_padding_is_never_read(modernbert: Path, pooling: Any) -> None:
    session = Engine(EngineOptions(str(modernbert)), (Read(4, pooling),)).session
    ids = np.array([[2, 10, 11, 12, 3], [2, 10, 3, 0, 0]], np.int32)
    (first,) = session(Batch(ids, np.array([5, 3], np.int32), np.arange(2)))
    ids[1, 3:] = 77
    (second,) = session(Batch(ids, np.array([5, 3], np.int32), np.arange(2)))
    assert first.dtype == np.float32 and first.shape == ((2, 5, 32) if pooling == "tokens" else (2, 32))
    own = np.s_[1, :3] if pooling == "tokens" else np.s_[:]
    assert np.array_equal(first[own], second[own])


@needs_torch
@pytest.mark.parametrize("pooling", ["cls", "mean", "tokens"])
def test_a_family_that_reads_its_padding_gets_none(
    modernbert: Path, pooling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MobileBERT does, whose last word looks at the one behind it."""
    ids, lengths = np.arange(15, dtype=np.int32).reshape(3, 5), np.array([5, 3, 3], np.int32)
    batch = Batch(ids, lengths, np.arange(3))
    (expected,) = Engine(EngineOptions(str(modernbert)), (Read(4, pooling),)).session(batch)
    run = TorchSession._states

    def unmasked(self: TorchSession, ids: Any, lengths: Any, *, padded: bool) -> list[Any]:
        return run(self, ids, lengths, padded=False)

    monkeypatch.setattr(TorchSession, "_states", unmasked)
    (found,) = Engine(EngineOptions(str(modernbert)), (Read(4, pooling),)).session(batch)
    assert found.shape == expected.shape
    for row, length in enumerate(lengths):
        own = np.s_[row, :length] if pooling == "tokens" else np.s_[row]
        assert np.abs(found[own] - expected[own]).max() <= TOLERANCE


@needs_torch
@pytest.mark.parametrize("family", ["modernbert", "deberta-v2", "albert"])
def test_a_checkpoint_with_a_pretraining_head(family: str, tmp_path: Path) -> None:
    """Its names carry a prefix, and it has no pooler."""
    import transformers

    plain = write_tiny(tmp_path / "plain", family)
    expected = Engine(EngineOptions(str(plain))).encode(WORDS).vectors
    model = transformers.AutoModelForMaskedLM.from_pretrained(plain)
    model.save_pretrained(tmp_path / "headed")
    write_tokenizer(tmp_path / "headed" / "tokenizer.json")
    names = set(load_file(tmp_path / "headed" / "model.safetensors"))
    assert not names & set(load_file(plain / "model.safetensors"))
    assert np.array_equal(Engine(EngineOptions(str(tmp_path / "headed"))).encode(WORDS).vectors, expected)


@needs_torch
def test_weights_in_shards(modernbert: Path) -> None:
    expected = Engine(EngineOptions(str(modernbert))).encode(WORDS).vectors
    whole = modernbert / "model.safetensors"
    tensors, where = load_file(whole), {}
    for i in range(2):
        names = sorted(tensors)[i::2]
        save_file({name: tensors[name] for name in names}, modernbert / f"model-{i}.safetensors")
        where |= dict.fromkeys(names, f"model-{i}.safetensors")
    (modernbert / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    whole.unlink()
    assert np.array_equal(Engine(EngineOptions(str(modernbert))).encode(WORDS).vectors, expected)


@needs_torch
def test_order_is_restored_whatever_the_batches(modernbert: Path) -> None:
    texts = [*WORDS, *(f"w{i} w{i + 1}" for i in range(50))]
    alone = Engine(EngineOptions(str(modernbert), batch_tokens=1)).encode(texts).vectors
    for options in ({"batch_tokens": 40}, {"batch_tokens": 10**5}, {"threads": 1}):
        found = Engine(EngineOptions(str(modernbert), **options)).encode(texts).vectors
        assert np.abs(found - alone).max() <= TOLERANCE


@needs_torch
def test_several_threads_may_call_at_once(modernbert: Path) -> None:
    session = Engine(EngineOptions(str(modernbert)), every_read(4)).session
    todo = [Batch(np.full((2, n), n, np.int32), np.array([n, n - 2], np.int32), np.arange(2)) for n in range(3, 40)]
    expected = [session(batch) for batch in todo]
    with ThreadPoolExecutor(4) as pool:
        for found, one in zip(pool.map(session, todo), expected, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(found, one, strict=True))
    assert session.names[:2] == ["layer_0_cls", "layer_0_mean"]


@needs_torch
def test_the_process_is_left_as_it_was(modernbert: Path) -> None:
    import torch
    import transformers

    logging = transformers.utils.logging
    before = torch.get_num_threads(), logging.get_verbosity(), logging.is_progress_bar_enabled()
    torch.set_num_threads(3)
    try:
        for threads in (1, 4):  # in this thread, and in four others
            Engine(EngineOptions(str(modernbert), threads=threads, batch_tokens=1)).encode(WORDS * 5)
            with ThreadPoolExecutor(1) as another:
                assert torch.get_num_threads() == another.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before[0])
    assert (torch.get_num_threads(), logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


# ---------------------------------------------------------------- which backend


@needs_torch
def test_torch_never_takes_the_graphs_place_unasked(tmp_path: Path) -> None:
    small = str(write_encoder(tmp_path / "small"))
    assert isinstance(Engine(EngineOptions(small)).prepared, Prepared)
    assert isinstance(Engine(EngineOptions(small, device="cpu")).prepared, Prepared)
    assert isinstance(Engine(EngineOptions(small, backend="torch", device="cpu")).prepared, TorchEncoder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "tensorflow"}, "'backend'.*'auto', 'onnx', 'torch'. Got 'tensorflow'"),
        ({"device": "mps"}, "'device'.*'auto', 'cpu', 'cuda'. Got 'mps'"),
        ({"backend": ["torch"]}, r"Got \['torch'\]"),
        ({"precision": "bf16"}, "precision='bf16' needs torch: take backend='torch'"),
        ({"precision": "int8", "backend": "torch"}, "precision='int8' is for ONNX Runtime alone"),
        ({"backend": "onnx", "device": "cuda"}, "device='cuda' needs torch: take backend='torch' or 'auto'"),
        pytest.param({"backend": "torch", "layer": 3}, r"'last' or an int in \[1, 2\]. Got 3", marks=needs_torch),
        pytest.param({"backend": "torch", "max_length": 513}, r"\[2, 512\]. Got 513", marks=needs_torch),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        Engine(EngineOptions(str(write_encoder(tmp_path / "small")), **options))


@needs_torch
@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"torch sees no CUDA device here\. Take device='cpu'"):
        Engine(EngineOptions(str(write_encoder(tmp_path / "small")), device="cuda"))


# ---------------------------------------------------------------- without torch


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # so that importing it fails as if it weren't there


INSTALL = r'pip install "firstbert\[torch\]"'


@pytest.mark.usefixtures("no_torch")
def test_an_unknown_family_is_answered_with_the_install_line(tmp_path: Path, cli: Callable[..., Outcome]) -> None:
    folder = write_encoder(tmp_path / "encoder")
    edit(folder, model_type="modernbert")
    with pytest.raises(UsageError, match=r"family 'modernbert' is none that firstbert's graph knows.*" + INSTALL):
        Engine(EngineOptions(str(folder)))
    rows = tmp_path / "rows.tsv"
    rows.write_text("text\tlabel\n" + "".join(f"w{i} w2\t{i % 2}\n" for i in range(20)))
    done = cli("train", rows, "-o", tmp_path / "m", "--encoder", folder)
    assert done.code == 2 and 'pip install "firstbert[torch]"' in done.err and not (tmp_path / "m").exists()


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("options", [{"backend": "torch"}, {"device": "cuda"}])
def test_options_that_need_torch_name_its_extra(options: dict[str, Any], tmp_path: Path) -> None:
    (name, value), *_ = options.items()
    with pytest.raises(UsageError, match=f"^{name}='{value}' needs the extra \"torch\": {INSTALL}"):
        Engine(EngineOptions(str(write_encoder(tmp_path / "small")), **options))


@pytest.mark.usefixtures("no_torch")
def test_a_model_that_needs_torch_says_so_and_others_load(model: Path, tmp_path: Path) -> None:
    for precision, fails in (("bf16", True), ("fp32", False)):
        folder = tmp_path / precision
        folder.mkdir()
        for path in model.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        facts = json.loads((folder / "model.json").read_text()) | {"backend": "torch", "precision": precision}
        (folder / "model.json").write_text(json.dumps(facts))
        if fails:
            with pytest.raises(UsageError, match=INSTALL):
                load(folder).predict(["A text."])
        else:  # trained by torch, answered by ONNX Runtime: the vectors are the same
            assert load(folder).predict(["What a joy."]).tolist() == load(model).predict(["What a joy."]).tolist()


# ---------------------------------------------------------------- models


@needs_torch
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_from_rows_to_answers(modernbert: Path, precision: str, tmp_path: Path, cli: Callable[..., Outcome]) -> None:
    rows = tmp_path / "rows.tsv"
    rows.write_text("text\tlabel\n" + "".join(f"w{5 + i % 2} w{10 + i // 2}\t{i % 2}\n" for i in range(150)))
    how = ("--encoder", modernbert, "--pooling", "mean", "--layer", "1", "--precision", precision, "--backend", "torch")
    done = cli("train", rows, "-o", tmp_path / "m", "--portable", *how, "--json")
    assert done.code == 0, done.err
    facts = json.loads((tmp_path / "m" / "model.json").read_text())
    assert (facts["backend"], facts["precision"], facts["encoder"]["family"]) == ("torch", precision, "modernbert")
    assert {"torch", "transformers"} <= set(facts["training"]["versions"])
    assert f"{precision} by torch" in (tmp_path / "m" / "README.md").read_text()

    moved = (tmp_path / "m").rename(tmp_path / "moved")
    check = artifact.check_golden(artifact.load(moved))
    assert check.passed and check.tolerance == (1e-4 if precision == "fp32" else 0.05)
    assert cli("predict", moved, "--text", "w45 w7", "--json").json[0]["label"] in (0, 1)
    assert done.json["test"]["accuracy"] > 0.9
    assert cli("evaluate", moved, rows, "--device", "cpu", "--json").json["accuracy"] > 0.9
    assert "torch" in cli("doctor", moved, "--json").json["machine"]["libraries"]


@pytest.mark.parametrize("value", ["jax", 1, None])
def test_a_models_backend_is_checked(model: Path, tmp_path: Path, value: object) -> None:
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"backend": value}))
    with pytest.raises(artifact.ArtifactError, match="'backend' must be a proper str"):
        load(tmp_path)


@needs_torch
def test_vectors_that_differ_in_their_last_bits_are_not_kept(
    modernbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FIRSTBERT_VECTOR_CACHE")
    rows: list[int] = []
    run = TorchSession.__call__
    monkeypatch.setattr(TorchSession, "__call__", lambda self, b: rows.append(len(b.rows)) or run(self, b))
    engine = Engine(EngineOptions(str(modernbert)))
    for _ in range(2):
        assert encode(engine, WORDS).vectors.shape == (6, 1, 32)
    assert sum(rows) == 12 and not (tmp_path / "cache" / "vectors").exists()


# ---------------------------------------------------------------- what is refused


@needs_torch
@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("gpt2", "family 'gpt2' is a decoder"),
        ("t5", "family 't5' is no encoder of sentences"),
        ("vit", "family 'vit' is no encoder of sentences"),
    ],
)
def test_families_that_are_no_encoders_of_sentences(family: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=message):
        Engine(EngineOptions(str(write_tiny(tmp_path / family, family))))


@needs_torch
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "nosuch"}, "model_type 'nosuch' is known neither to firstbert nor to transformers"),
        ({"quantization_config": {"quant_method": "gptq"}}, "weights are quantised"),
        ({"hidden_size": "wide"}, "config.json: is refused by transformers"),
        ({"hidden_size": 48}, "its weights can't be loaded"),
        ({"num_hidden_layers": 5, "layer_types": None}, "tensor 'layers.4.* is missing"),
    ],
)
def test_a_config_that_makes_no_encoder(modernbert: Path, change: dict[str, Any], message: str) -> None:
    edit(modernbert, **change)
    with pytest.raises(EncoderError, match=message):
        Engine(EngineOptions(str(modernbert)))


@needs_torch
def test_weights_that_are_none(modernbert: Path) -> None:
    path = modernbert / "model.safetensors"
    tensors = load_file(path)
    name = "layers.1.mlp.Wo.weight"
    save_file(tensors | {name: np.full_like(tensors[name], np.nan)}, path)
    with pytest.raises(EncoderError, match=f"tensor '{name}' holds NaN"):
        Engine(EngineOptions(str(modernbert)))
    path.write_bytes(b"none")
    with pytest.raises(EncoderError, match="not a readable safetensors file"):
        Engine(EngineOptions(str(modernbert)))


@needs_torch
def test_nothing_is_fetched_and_no_code_of_the_folder_runs(modernbert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Engine(EngineOptions(str(modernbert))).encode(WORDS).vectors
    edit(
        modernbert,
        auto_map={"AutoModel": "trap.Trap", "AutoConfig": "trap.Trap"},
        attn_implementation="kernels-community/flash-attn2",
        _attn_implementation="kernels-community/flash-attn2",
    )
    (modernbert / "trap.py").write_text("raise SystemExit('run')")
    (modernbert / "adapter_config.json").write_text("{}")
    (modernbert / "pytorch_model.bin").write_bytes(b"a pickle")

    def refuse(*args: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    engine = Engine(EngineOptions(str(modernbert)))
    assert np.abs(engine.encode(WORDS).vectors - expected).max() <= TOLERANCE
    assert engine.session._model.config._attn_implementation == "sdpa"


# ---------------------------------------------------------------- on a GPU


@pytest.fixture
def gpu_free() -> Iterator[None]:
    yield
    import torch

    torch.cuda.empty_cache()


@needs_gpu
@pytest.mark.usefixtures("gpu_free")
def test_a_gpu_gives_the_same_vectors(tiny: Path) -> None:
    cpu = Engine(EngineOptions(str(tiny), device="cpu"), every_read(4)).encode(WORDS).vectors
    engine = Engine(EngineOptions(str(tiny)), every_read(4))
    assert engine.prepared.device == "cuda"  # there, and torch is needed anyway
    assert np.abs(engine.encode(WORDS).vectors - cpu).max() <= TOLERANCE
    budget = Engine(EngineOptions(str(tiny), batch_tokens=64), every_read(4))  # several batches, two at once
    assert np.abs(budget.encode(WORDS * 20).vectors.reshape(20, 6, 10, 32) - cpu).max() <= TOLERANCE


@needs_gpu
@pytest.mark.usefixtures("gpu_free")
def test_bf16_on_a_gpu(modernbert: Path) -> None:
    exact = Engine(EngineOptions(str(modernbert), device="cpu")).encode(WORDS).vectors
    rough = Engine(EngineOptions(str(modernbert), device="cuda", precision="bf16")).encode(WORDS).vectors
    off = np.linalg.norm(rough - exact, axis=2) / np.linalg.norm(exact, axis=2)
    assert off.max() < 0.05


@needs_gpu
@pytest.mark.usefixtures("gpu_free")
def test_a_classifier_moves_to_the_gpu(classifier: SentenceClassifier) -> None:
    moved = classifier.predictor_.with_device("cuda")
    assert moved.engine.prepared.device == "cuda"
    assert np.abs(moved.predict(TEXTS).probabilities - classifier.predict_proba(TEXTS)).max() <= 1e-4
