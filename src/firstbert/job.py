"""Files → files with their labels, in pieces, so that whatever stops it costs one piece at most.

After tally.py on the way of a sentence; what `firstbert predict` does with files. A shard is read,
answered, written and entered in the journal before the next; at the end the pieces are put together.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from firstbert import __version__, tables
from firstbert.answers import check_place, held
from firstbert.artifact import load
from firstbert.bulk import CUT, Answered, Answers, BulkOptions, Shard, answered_here, grouped, left
from firstbert.errors import DataError, UsageError, counted
from firstbert.opening import bare, expand, is_address, open_target
from firstbert.predictor import Predictor
from firstbert.resume import JOURNAL, Work
from firstbert.rows import KINDS
from firstbert.streams import Aside
from firstbert.survey import Source, agree, survey
from firstbert.tally import Outcome, Tally, piece_of, refused


@dataclass(frozen=True)
class Reading:
    """A model and the files it is to label, looked through.

    Attributes:
        predictor: the model.
        sources: the files, in order.
        unread: what is wrong with those left out.
        columns: of the output.
        form: of the output.
    """

    predictor: Predictor
    sources: list[Source]
    unread: list[DataError]
    columns: tables.Columns
    form: tables.Format

    @property
    def rows(self) -> int:
        """About how many rows there are; 0: nobody knows."""
        return sum(source.rows for source in self.sources)


def read(model: str | Path, options: BulkOptions, form: tables.Format, folder: Path) -> Reading:
    """Load a model and look through its input; stdin is kept in `folder` first, since it can be read once only.

    Raises:
        DataError: a file can't be read, or has other columns than the first.
        ArtifactError: the model can't be used.
    """
    predictor = load(model).predictor.with_threads(options.threads).with_device(options.device)
    files = [str(_spooled(folder)) if one == "-" else one for one in _but_output(expand(options.inputs), options)]
    sources, unread = look(files, options)
    many = predictor.decision.many
    columns = tables.columns_for(sources, predictor.labels, form, many=many, per_class=options.per_class)
    return Reading(predictor, sources, unread, columns, form)


def _but_output(files: list[str], options: BulkOptions) -> list[str]:
    """Leave out what an earlier run has written into a folder that is labelled."""
    if not options.output or is_address(options.output):
        return files
    ours = {Path(path).resolve() for path in (options.output, bad_file(options.output))}
    if any(Path(one).resolve() in ours for one in options.inputs):
        raise UsageError(f"{options.output}: is input and output at once: name another output.")
    return [one for one in files if is_address(one) or Path(one).resolve() not in ours]


@contextmanager
def engine_for(predictor: Predictor, options: BulkOptions) -> Iterator[Answers]:
    """Open the engine asked for; give what takes groups of files and yields their shards with the answers, in order."""
    if options.engine == "ray":
        from firstbert.bulk_ray import on_ray

        with on_ray(predictor, options) as answered:
            yield answered
        return
    _ = predictor.engine
    yield lambda todo, told: answered_here(predictor, left(todo), cache=options.cache, told=told)


def label_files(model: str | Path, options: BulkOptions, say: Callable[[str], None] = lambda line: None) -> Outcome:
    """Label files.

    Args:
        model: a model folder.
        options: see there.
        say: takes lines on what is going on.

    Raises:
        DataError: the input can't be used, or was changed; rows are bad and are to be refused.
        UsageError: the output can't be written, or an unfinished job there differs from this one.
        ArtifactError, EncoderError: the model can't be used.
    """
    form = tables.format_of(options.output)
    if not is_address(options.output):
        check_place(Path(options.output))
    folder = work_folder(options.output)
    with held(folder):
        try:
            reading = read(model, options, form, folder)
            facts = _facts(Path(model), reading, options)
            return _Job(reading, options, Work(folder, facts, restart=options.restart), say).run()
        finally:
            if not (folder / JOURNAL).exists():  # nothing was done
                shutil.rmtree(folder, ignore_errors=True)


def label_stream(
    model: str | Path, options: BulkOptions, take: Callable[[Reading, Answered], None], form: tables.Format
) -> Outcome:
    """Label files and hand over the answers as they come: nothing is kept, and nothing can be resumed.

    Args:
        model: a model folder.
        options: `output` and `restart` are not used.
        take: gets each shard with its answers.
        form: what the columns are to be fit for.

    Raises:
        As `label_files`.
    """
    with tempfile.TemporaryDirectory() as folder:
        reading = read(model, options, form, Path(folder))
        tally = Tally(reading.rows, len(reading.unread))
        todo = [(k, group, 0) for k, group in enumerate(grouped(reading.sources))]
        with engine_for(reading.predictor, options) as answers:
            for answered in tally.watched(answers, todo):
                shard = answered.shard
                refuse_bad(shard, options)
                take(reading, answered)
                tally.add(piece_of(answered), Counter(one.kind for one in shard.asides))
        return tally.outcome("", None)


def work_folder(output: str) -> Path:
    """Return where a job's pieces lie: beside its output, or here where that is in an object store."""
    place = Path.cwd() / Path(bare(output)).name if is_address(output) else Path(output).absolute()
    return place.with_name(f".{place.name}.predicting")


def bad_file(output: str) -> str:
    """Return where rows set aside are written."""
    name = bare(output) if is_address(output) else output
    return f"{name}.bad.jsonl{output[len(name) :]}"


def _facts(model: Path, reading: Reading, options: BulkOptions) -> dict[str, Any]:
    """What the output's bytes depend on."""
    from importlib.metadata import version

    inputs = {}
    for source in reading.sources:
        name = "stdin" if source.name == str(work_folder(options.output) / "stdin") else source.name
        inputs[name] = [source.size, source.changed_ns if source.sha256 is None else source.sha256]
    return {
        "model": {name: _sha256(model / name) for name in ("model.json", "head.safetensors")},
        "input": inputs,
        "option": {
            "text": options.text,
            "per_class": options.per_class,
            "output": f"{reading.form.kind}{reading.form.packed}",
            "device": options.device,
        },
        "version": {"firstbert": __version__} | {name: version(name) for name in ("onnxruntime", "tokenizers")},
        "shards": CUT,
    }


class _Job:
    """One run of `label_files`."""

    def __init__(self, reading: Reading, options: BulkOptions, work: Work, say: Callable[[str], None]) -> None:
        self.reading, self.options, self.work, self.say = reading, options, work, say

    def run(self) -> Outcome:
        """Do what is left, and put the output together."""
        kept = [piece for _, piece in sorted(self.work.done.items())]
        tally = Tally(self.reading.rows, len(self.reading.unread), kept, _kinds(self.work.asides()))
        if tally.resumed:
            self.say(
                f"Going on after {counted(tally.resumed, 'row that is', 'rows that are')} done; --restart begins anew."
            )
        groups = enumerate(grouped(self.reading.sources))
        todo = [(k, group, self.work.done_of(k)) for k, group in groups if not self.work.complete(k)]
        try:
            with engine_for(self.reading.predictor, self.options) as answers:
                for answered in tally.watched(answers, todo):
                    self._keep(answered, tally)
        except KeyboardInterrupt:
            done = sum(piece.rows for piece in tally.pieces)
            if done:
                self.say(f"{counted(done, 'row is', 'rows are')} done and kept: the same command goes on from there.")
            raise
        outcome = tally.outcome(self.options.output, bad_file(self.options.output))
        self._put_together(outcome)
        self.work.remove()
        return outcome

    def _keep(self, answered: Answered, tally: Tally) -> None:
        """Write a shard."""
        shard, reading = answered.shard, self.reading
        refuse_bad(shard, self.options)
        piece = piece_of(answered)
        data = tables.piece(reading.form, reading.columns, shard.blocks, answered.predictions)
        self.work.put(piece, data, _lines(shard.asides))
        tally.add(piece, Counter(one.kind for one in shard.asides))

    def _put_together(self, outcome: Outcome) -> None:
        """Write the side file, then the output: where that stands, all is done."""

        def asides(out: BinaryIO) -> None:
            unread = self.reading.unread
            out.write(_lines([Aside(str(one).partition(": ")[0], "file", None, "unread", str(one)) for one in unread]))
            for path in self.work.asides():
                out.write(path.read_bytes())

        def answers(out: BinaryIO) -> None:
            tables.assemble(self.reading.form, self.reading.columns, self.work.pieces(), out)

        side = bad_file(self.options.output)
        if outcome.bad_file:
            _place(side, self.work.folder, asides)
        elif not is_address(side):
            with _placing(side, self.work.folder):
                Path(side).unlink(missing_ok=True)  # of an earlier run, with other rows
        _place(self.options.output, self.work.folder, answers)


def _kinds(files: Iterable[Path]) -> list[str]:
    return [json.loads(line)["kind"] for path in files for line in path.read_bytes().splitlines()]


def refuse_bad(shard: Shard, options: BulkOptions) -> None:
    """Stop at rows that can't be used, where that is asked for.

    Raises:
        DataError: there are some.
    """
    if shard.asides and options.on_bad_row == "fail":
        raise DataError(refused(shard.asides))


def look(files: Sequence[str], options: BulkOptions) -> tuple[list[Source], list[DataError]]:
    """Look through the input; return what can be read, and what is wrong with the rest, where that may be left out.

    Raises:
        DataError: a file can't be read, or has other columns than the first.
    """
    sources, faults = survey(files, options.text)
    if not faults:
        faults = agree(sources)
    if faults and (options.on_bad_row != "skip" or not sources or agree(sources)):
        more = f"\nand {len(faults) - 5} more files" if len(faults) > 5 else ""
        hint = "\n--on-bad-row skip leaves out what can't be read." if len(files) > 1 and not agree(sources) else ""
        raise DataError("\n".join(map(str, faults[:5])) + more + hint)
    return sources, faults


def _lines(asides: Sequence[Aside]) -> bytes:
    """One JSON object a line; bytes that aren't UTF-8 stand as \\udc80 to \\udcff."""
    told = ({**asdict(one), "reason": KINDS.get(one.kind, one.kind)} for one in asides)
    return "".join(json.dumps(one) + "\n" for one in told).encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _spooled(folder: Path) -> str:
    """Keep stdin in a file: it can be read once only, and is looked through first."""
    path = folder / "stdin"
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
    except OSError as error:
        raise UsageError(f"{path}: can't be written ({error.strerror}).") from error
    return str(path)


def _place(target: str, folder: Path, write: Callable[[BinaryIO], None]) -> None:
    """Put a whole file in place, or none."""
    if is_address(target):
        with open_target(target) as out:
            write(out)
        return
    with _placing(target, folder):
        handle, name = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(handle, "wb") as out:
                write(out)
                out.flush()
                os.fsync(out.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)


@contextmanager
def _placing(target: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{target}: can't be written ({error.strerror}); its pieces are kept in {folder}. "
            "Make room and run the same command again."
        ) from error
