from __future__ import annotations

import pytest

from firstbert import progress as module
from firstbert.progress import progress


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAY_S", 0.0)
    monkeypatch.setenv("FIRSTBERT_PROGRESS", "1")


def test_a_bar_goes_to_stderr_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Encoding", 10) as advance:
        advance(10)
    printed = capsys.readouterr()
    assert "Encoding" in printed.err and "10/10" in printed.err and printed.out == ""


def test_what_runs_inside_stays_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Outer", 2) as outer, progress("Inner", 2) as inner:
        inner(2)
        outer(2)
    assert "Inner" not in capsys.readouterr().err


def test_quick_work_shows_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAY_S", 60.0)
    with progress("Encoding", 10) as advance:
        advance(10)
    assert capsys.readouterr().err == ""


def test_switched_off(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTBERT_PROGRESS", "0")
    with progress("Encoding", 10) as advance:
        advance(10)
    assert capsys.readouterr().err == ""


def test_a_bar_is_closed_when_work_fails() -> None:
    with pytest.raises(RuntimeError), progress("Encoding", 10) as advance:
        advance(1)
        raise RuntimeError
    with progress("Again", 1):
        assert module._Bar.open
