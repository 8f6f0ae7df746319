# Every target makes what it needs: Python 3.11 or newer with venv, and make, are all that must be there.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXTRAS ?= test
# Bytecode is made for what is imported, not for all that is installed: 70 MB less.
INSTALL = $(BIN)/python -m pip install -q --no-compile

.PHONY: tutorial test test-slow lint bench docs golden clean

tutorial: $(BIN)/firstbert
	$(BIN)/firstbert tutorial

test: $(VENV)/.installed-$(EXTRAS)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.installed-$(EXTRAS)
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The command line's page is made from the program itself; a test compares the two.
docs: $(BIN)/firstbert
	$(BIN)/python docs/make_cli.py

clean:
	rm -rf $(VENV) dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BIN)/firstbert: $(BIN)/python pyproject.toml
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-%: $(BIN)/python pyproject.toml
	$(INSTALL) -e '.[$*]'
	@touch $@
