"""The notebook runs from a clean kernel, and is stored without outputs."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from firstbert.catalog import rt_rows

PATH = Path(__file__).parents[1] / "notebooks" / "first_bert.ipynb"
SECONDS = 300  # a cell's limit; all of them together take under a minute


@pytest.fixture(scope="module")
def stored() -> list[dict[str, Any]]:
    return list(json.loads(PATH.read_text(encoding="utf-8"))["cells"])


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The code cells after a run from top to bottom."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat isn't installed: pip install 'firstbert[notebook]'")
    nbclient = pytest.importorskip("nbclient", reason="nbclient isn't installed: pip install 'firstbert[notebook]'")
    for name in ("ipykernel", "matplotlib"):
        pytest.importorskip(name, reason=f"{name} isn't installed: pip install 'firstbert[notebook]'")
    notebook = nbformat.read(PATH, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    nbclient.NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    assert not list(folder.iterdir())  # it leaves nothing behind
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def values(cells: list[Any], starts: str) -> Any:
    """What the last line of the cell that begins so gave, as Python."""
    (cell,) = [cell for cell in cells if cell.source.startswith(starts)]
    (result,) = [output for output in cell.outputs if output.output_type == "execute_result"]
    return ast.literal_eval(result.data["text/plain"])


def test_is_stored_without_outputs(stored: list[dict[str, Any]]) -> None:
    code = [cell for cell in stored if cell["cell_type"] == "code"]
    assert len(code) > 10
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_holds_no_sentence_of_the_data(stored: list[dict[str, Any]]) -> None:
    text = "".join("".join(cell["source"]) for cell in stored).casefold()
    assert "a visually stunning rumination on love" in text
    assert not [sentence for sentence, _ in rt_rows() if len(sentence) > 15 and sentence.casefold() in text]


def test_runs_without_a_warning(cells: list[Any]) -> None:
    said = [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert said == []
    assert all(cell.execution_count for cell in cells)


def test_draws_its_pictures(cells: list[Any]) -> None:
    drawn = [cell for cell in cells if any("image/png" in output.get("data", {}) for output in cell.outputs)]
    assert [cell.source.count("plt.show()") for cell in drawn] == [1] * 7
    assert sum(cell.source.count("plt.show()") for cell in cells) == 7


def test_shows_the_real_values(cells: list[Any]) -> None:
    labels = values(cells, "rows = rt_rows()")
    assert sum(labels.values()) == 1000
    assert values(cells, "SENTENCE =") == {
        "[CLS]": 101, "a": 1037, "visually": 17453, "stunning": 14726, "rum": 19379,
        "##ination": 12758, "on": 2006, "love": 2293, "[SEP]": 102,
    }  # fmt: skip
    assert values(cells, "vectors =") == {"cls": (1000, 384), "mean": (1000, 384)}
    assert values(cells, "train, test =") == (750, 250)


def test_learns_and_keeps_what_it_learned(cells: list[Any]) -> None:
    accuracy = {name: float(value.rstrip("%")) for name, value in values(cells, "dummy =").items()}
    assert accuracy["mean"] > accuracy["dummy"] + 15
    assert values(cells, "with tempfile") is True
    text = "".join(output.text for cell in cells for output in cell.outputs if output.get("name") == "stdout")
    assert "the [CLS] slice is the same: True" in text
