"""How Sphinx makes the site; `make docs` runs it. Nothing is fetched, neither while it is made nor by its pages."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

from firstbert import __version__

project = "firstbert"
author = "The firstbert authors"
copyright = "The firstbert authors. Apache-2.0"  # noqa: A001 - Sphinx's name
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["html_image"]
myst_heading_anchors = 3

# Every name of ours that is referred to must be found; other libraries' are on other sites, which we don't ask.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!firstbert\b).*")]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"firstbert {version}"
html_show_sourcelink = False
html_copy_source = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

FOLDER = Path(__file__).parent
REST = "PAGES-LISTED-NOWHERE-ELSE"


def setup(app: Sphinx) -> None:
    """Let a new page in docs/ stand among the explanations without being named there."""
    app.connect("source-read", _with_the_rest)


def _with_the_rest(app: Sphinx, name: str, source: list[str]) -> None:
    if REST in source[0]:
        source[0] = source[0].replace(REST, "\n".join(f"../{page}" for page in _listed_nowhere()))


def _listed_nowhere() -> list[str]:
    """The pages beside this file that no list of contents names."""
    contents = [
        block
        for path in FOLDER.rglob("*.md")
        for block in re.findall(r"```{toctree}\n(.*?)```", path.read_text(encoding="utf-8"), re.S)
    ]
    listed = {line.removeprefix("../") for block in contents for line in block.splitlines()}
    return sorted(path.stem for path in FOLDER.glob("*.md") if path.stem not in {"index", *listed})
