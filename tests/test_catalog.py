"""Names, hub ids and folders → files; the real ones of minilm and rt through the road a newcomer takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from firstbert import catalog, folders
from firstbert.catalog import dataset, datasets, encoder_files, encoders, rt_rows
from firstbert.errors import EncoderError, SourceError, UsageError
from firstbert.folders import read_json
from firstbert.sources import PinnedFile, sha256_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def folder(path: Path, **files: object) -> Path:
    """Make an encoder's folder, with the pooling note or the index of shards that is given."""
    path.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (path / name).write_text("{}")
    (path / "1_Pooling").mkdir()
    if "pooling" in files:
        (path / "1_Pooling" / "config.json").write_text(json.dumps(files["pooling"]))
    if "shards" in files:
        (path / "model.safetensors").unlink()
        (path / "model.safetensors.index.json").write_text(json.dumps(files["shards"]))
    return path


# ---- the real ones ---------------------------------------------------------------------------------------


def test_minilm_comes_and_is_what_its_pins_say() -> None:
    files = encoder_files("minilm")
    assert [sha256_of(path)[:8] for path in (files.config, files.tokenizer, *files.weights)] == [
        "953f9c0d", "be50c362", "53aa5117",
    ]  # fmt: skip
    assert (files.name, files.pooling, files.pinned) == ("minilm", "mean", True)
    config = read_json(files.config)
    entry = encoders()[0]
    assert config["model_type"] == entry.family
    assert (config["num_hidden_layers"], config["hidden_size"]) == (entry.layers, entry.width)
    assert files.weights[0].stat().st_size == pytest.approx(entry.size_mb * 1e6, rel=0.01)


def test_rt_comes_and_is_what_the_documents_say() -> None:
    rows = rt_rows()
    assert len(rows) == 10_605
    assert sum(label for _, label in rows) == 5_242
    assert rows[2] == ("Effective but too tepid biopic", 0)
    assert rows[-1][0].endswith("In this case zero.")
    assert not any(text != text.strip() or not text for text, _ in rows)
    # Nothing in it was encoded twice: that would show as two or more such letters in a row.
    assert not any("Ã" in text or "â€" in text for text, _ in rows)


# ---- names -----------------------------------------------------------------------------------------------


def test_the_catalogue_is_consistent() -> None:
    assert [entry.name for entry in encoders()] == ["minilm", "distilbert", "bert", "mpnet"]
    for entry in encoders():
        assert [file.name for file in entry.files] == ["config.json", "tokenizer.json", "model.safetensors"]
        assert entry.size_mb == pytest.approx(entry.parameters * 4 / 1e6, rel=0.02)
        for file in entry.files:  # pinned by its hash or by a commit
            assert file.sha256 or len(entry.revision) == 40
    assert [entry.name for entry in datasets()] == ["sst2", "rt"]
    assert all(set(entry.rows) == set(entry.files) for entry in datasets())


@pytest.mark.parametrize(
    "name",
    [
        "bert", " bert ", "bert-base-uncased", "google-bert/bert-base-uncased",
        "google-bert/bert-base-uncased@86b5e0934494bd15c9632b12f734a8a67f723594",
    ],
)  # fmt: skip
def test_one_entry_by_each_of_its_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "fetch_all", lambda files: tuple(Path(file.name) for file in files))
    files = encoder_files(name)
    assert (files.name, files.pooling, files.pinned) == ("bert", "cls", True)
    assert files.weights == (Path("model.safetensors"),)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("minilmm", "did you mean 'minilm'"),
        ("MPNet", "did you mean 'mpnet'"),
        ("", "There is no encoder ''. Known by name: minilm, distilbert, bert, mpnet"),
        ("xyz", "a hub id"),
        ("a b/c", "doesn't exist"),
        ("./nowhere", "nowhere doesn't exist"),
        ("~/no/such/folder", "doesn't exist"),
        ("org/name@", "doesn't exist"),
    ],
)
def test_an_unknown_name(name: str, told: str) -> None:
    with pytest.raises((UsageError, EncoderError), match=told) as caught:
        encoder_files(name)
    assert caught.value.exit_code == 2


def test_an_unknown_data_set() -> None:
    with pytest.raises(UsageError, match="did you mean 'sst2'"):
        dataset("sst-2")


# ---- folders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder(tmp_path: Path, kind: Callable[[Path], str | Path]) -> None:
    files = encoder_files(kind(folder(tmp_path)))
    assert (files.name, files.pooling, files.pinned) == (str(tmp_path), None, False)
    assert (files.config, files.tokenizer) == (tmp_path / "config.json", tmp_path / "tokenizer.json")
    assert files.weights == (tmp_path / "model.safetensors",)


def test_a_folder_wins_over_a_hub_id_and_a_catalogue_name_over_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalog, "fetch_all", lambda files: tuple(Path(file.name) for file in files))
    folder(tmp_path / "org" / "model")
    folder(tmp_path / "bert")
    assert encoder_files("org/model").name == "org/model"
    assert encoder_files("bert").pinned
    assert encoder_files("./bert").config == Path("bert/config.json")


@pytest.mark.parametrize(
    ("note", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, None),
        ({"pooling_mode_max_tokens": True}, None),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "lasttoken"}, None),
        ({"pooling_mode": ["mean"]}, None),
        ({}, None),
    ],
)
def test_the_folders_own_pooling(tmp_path: Path, note: dict[str, object], pooling: str | None) -> None:
    files = encoder_files(folder(tmp_path, pooling=note))
    assert files.pooling == pooling
    assert bool(files.beyond) == (pooling is None and note != {})


def with_modules(path: Path, content: bytes) -> Path:
    folder(path, pooling={"pooling_mode": "mean"})
    (path / "modules.json").write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ("Transformer Pooling Normalize", None),
        ("Transformer Pooling Dense", "modules.json asks for 'Dense' as well"),
        ("Transformer Pooling Dense LayerNorm Normalize", "modules.json asks for 'Dense', 'LayerNorm' as well"),
    ],
)
def test_what_the_folder_does_beyond_pooling_is_told(tmp_path: Path, kinds: str, told: str | None) -> None:
    modules = [{"idx": i, "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(kinds.split())]
    files = encoder_files(with_modules(tmp_path, json.dumps(modules).encode()))
    assert (files.pooling, files.beyond) == ("mean", told and f"{tmp_path / told}")


@pytest.mark.parametrize(
    "content", [b"", b'{"a": 1}', b"5", b"[5]", b'[{"path": ""}]', b'[{"type": 5}]', b"[" * 100_000]
)
def test_a_list_of_modules_that_is_none(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(EncoderError, match=r"modules\.json"):
        encoder_files(with_modules(tmp_path, content))


def test_vocab_txt_where_there_is_no_tokenizer_json(tmp_path: Path) -> None:
    (folder(tmp_path) / "tokenizer.json").rename(tmp_path / "vocab.txt")
    assert encoder_files(tmp_path).tokenizer == tmp_path / "vocab.txt"


def test_shards_in_order(tmp_path: Path) -> None:
    names = ["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"]
    folder(tmp_path, shards={"weight_map": {"a": names[0], "b": names[1], "c": names[0]}})
    for name in names:
        (tmp_path / name).write_text("")
    assert encoder_files(tmp_path).weights == (tmp_path / names[1], tmp_path / names[0])
    (tmp_path / names[0]).unlink()
    with pytest.raises(EncoderError, match=f"has no {names[0]}"):
        encoder_files(tmp_path)


@pytest.mark.parametrize(
    "shard",
    [
        "../model.safetensors", "/etc/model.safetensors", "a/b.safetensors", "a\\b.safetensors",
        "..", "", "a.bin", "a.safetensors\n",
    ],
)  # fmt: skip
def test_a_shard_outside_the_folder(tmp_path: Path, shard: str) -> None:
    with pytest.raises(EncoderError, match="no plain name"):
        encoder_files(folder(tmp_path, shards={"weight_map": {"a": shard}}))


@pytest.mark.parametrize("table", [{}, {"weight_map": {}}, {"weight_map": ["a"]}, {"weight_map": {"a": 1}}])
def test_an_index_that_says_nothing(tmp_path: Path, table: object) -> None:
    with pytest.raises(EncoderError, match="which file holds which tensor"):
        encoder_files(folder(tmp_path, shards=table))


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("config.json", "has no config.json"),
        ("tokenizer.json", "neither tokenizer.json nor vocab.txt"),
        ("model.safetensors", "pytorch_model.bin.*pickle.*save_pretrained"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, missing: str, told: str) -> None:
    (folder(tmp_path) / missing).rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=f"{tmp_path}.*{told}"):
        encoder_files(tmp_path)


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="is a file; give the folder"):
        encoder_files(folder(tmp_path) / "config.json")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe{", "not valid JSON"),
        (b"[1]", "holds a list"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b" " * (folders.JSON_CAP + 1), "the most such a file may have"),
    ],
)
def test_json_that_cant_be_used(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(EncoderError, match=f"x.json.*{told}"):
        read_json(tmp_path / "x.json")


# ---- the hub ---------------------------------------------------------------------------------------------


def fake_hub(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Answer `find` from a folder like the hub library's cache; return what is asked: file, revision."""
    snapshot = folder(path / "snapshots" / COMMIT, pooling={"pooling_mode": "cls"})
    asked: list[tuple[str, str]] = []

    def find(file: PinnedFile) -> Path | None:
        (mirror,) = file.mirrors
        asked.append((mirror.filename, mirror.revision))  # type: ignore[union-attr]
        found = snapshot / mirror.filename  # type: ignore[union-attr]
        return found if found.is_file() else None

    monkeypatch.setattr(folders, "find", find)
    return asked


@pytest.mark.parametrize(("revision", "pinned"), [("", False), ("@v2", False), (f"@{COMMIT}", True)])
def test_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str, pinned: bool) -> None:
    asked = fake_hub(tmp_path, monkeypatch)
    files = encoder_files(f"org/model{revision}")
    assert (files.name, files.pooling, files.pinned) == (f"org/model{revision}", "cls", pinned)
    assert asked[0] == ("config.json", revision[1:] or "main")
    assert {commit for _, commit in asked[1:]} == {COMMIT}  # all of one commit, whatever is pushed meanwhile


def test_a_hub_id_offline_says_that_only_this_machine_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTBERT_OFFLINE", "1")
    with pytest.raises(EncoderError, match=r"downloads being switched off.*has no config\.json"):
        encoder_files("org/model-that-nobody-has")


def test_a_hub_that_cant_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="give that folder instead"):
        encoder_files("org/model-that-nobody-has")
