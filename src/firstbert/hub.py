"""A second kind of mirror: a file of a model on the hub, through the hub's own library and its cache.

Stands between mirrors.py and sources.py. Models that other tools have downloaded are found here.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from firstbert.mirrors import ANSWER_S, HubFile, MirrorError, ask, first_line
from firstbert.progress import progress


def hub_cached(mirror: HubFile) -> Path | None:
    """Return the file's path in the hub library's own cache, or None; no network is used."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(mirror.repo, mirror.filename, revision=mirror.revision)
    except (HFValidationError, ValueError, OSError):  # an impossible id is told by hub_download
        return None
    return Path(found) if isinstance(found, str) else None


def hub_download(mirror: HubFile, sha256: str | None = None, *, force: bool = False) -> Path:
    """Return the path of a file in the hub library's cache, downloaded by that library.

    ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME`` count as they do everywhere. One question comes first, because
    the library alone takes 23 s per file to give up on a refused connection, and minutes on a silent one.

    Args:
        mirror: which file.
        sha256: what the file should hash to; a hub that announces another hash isn't downloaded from.
        force: download even where the cache has the file (because that one was wrong).

    Raises:
        MirrorError: unreachable, refused, gated, or not there.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")

    def question() -> tuple[str | None, int | None]:
        with _hub_reasons(mirror):
            url = hf_hub_url(mirror.repo, mirror.filename, revision=mirror.revision, endpoint=endpoint)
            answer = get_hf_file_metadata(url, timeout=ANSWER_S, endpoint=endpoint)
            return answer.etag, answer.size

    with _quiet_hub():
        etag, size = ask(endpoint, question)
        # The hub's tag of a large file is its sha256; a small file's is another hash, 40 digits long.
        if sha256 and etag and len(etag) == 64 and etag != sha256:
            raise MirrorError(f"the hub now has another file there: sha256 {etag}")
        with progress(f"Downloading {mirror.repo}/{mirror.filename}", size, "bytes") as advance:
            try:
                with _hub_reasons(mirror):
                    path = hf_hub_download(
                        mirror.repo, mirror.filename, revision=mirror.revision, endpoint=endpoint,
                        etag_timeout=ANSWER_S, force_download=force, tqdm_class=_bar_class(advance),
                    )  # fmt: skip
            except MirrorError:
                raise
            except Exception as error:  # that library's own, its HTTP client's, its storage client's, the disk's
                raise MirrorError(f"broke off: {first_line(error)}") from error
    return Path(path)


@contextmanager
def _hub_reasons(mirror: HubFile) -> Iterator[None]:
    """Turn the hub's refusals into reasons a reader can act on; let silence pass as it is."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        way = "accept its terms on the model's page, then set HF_TOKEN"
        raise MirrorError(f"{mirror.repo} is gated: {way}") from error
    except errors.RepositoryNotFoundError as error:
        way = "check the spelling; for a private one set HF_TOKEN"
        raise MirrorError(f"no public model is called {mirror.repo} ({way})") from error
    except errors.RevisionNotFoundError as error:
        raise MirrorError(f"{mirror.repo} has no revision {mirror.revision}") from error
    except errors.RemoteEntryNotFoundError as error:
        reason = f"{mirror.repo} has no file {mirror.filename} at revision {mirror.revision}"
        raise MirrorError(reason, absent=True) from error
    except errors.HfHubHTTPError as error:
        raise MirrorError(f"the hub answered {error.response.status_code}: {first_line(error)}") from error
    except (errors.HFValidationError, errors.FileMetadataError) as error:
        raise MirrorError(first_line(error)) from error


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Keep the hub library's warnings to itself: what matters of them is in our own messages."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _bar_class(advance: Callable[[int], None]) -> type[Any]:
    """Return a class that looks enough like tqdm for the hub library and feeds our own bar."""

    class Bar:
        total, n, format_dict = None, 0, {}  # type: ignore[var-annotated]

        def __init__(self, *args: object, **options: object) -> None: ...
        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *args: object) -> None: ...
        def update(self, n: float | None = 1) -> None:
            advance(int(n or 0))

        def update_transfer(self, n: float) -> None: ...  # the same bytes, counted on the wire
        def set_postfix_str(self, *args: object, **options: object) -> None: ...
        def refresh(self, *args: object, **options: object) -> None: ...
        def close(self) -> None: ...

    return Bar
