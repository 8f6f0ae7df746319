# Every target makes what it needs: Python 3.11 or newer with venv, and make, are all that must be there.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXTRAS ?= test
# Tests side by side, each worker on cores of its own.
WORKERS ?= 2
# Bytecode is made for what is imported, not for all that is installed: 70 MB less.
INSTALL = $(BIN)/python -m pip install -q --no-compile

.PHONY: tutorial test test-slow coverage mutation lint bench trust finetune bulk serve-bench why pages fuzz docs \
	migrating golden clean dist dist-check wheel-check sbom audit

tutorial: $(BIN)/firstbert
	$(BIN)/firstbert tutorial

test: $(VENV)/.installed-$(EXTRAS)
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile

test-slow: $(VENV)/.installed-$(EXTRAS)
	$(BIN)/python -m pytest

# Lines and branches that the tests run, other processes' included: 92 % at least; by file in results/coverage.json. Lines
# that need torch or Ray count too: with what .ci/run installs beside it all of them can be run.
coverage: $(VENV)/.installed-$(EXTRAS)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -m "not slow"
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m benchmarks.coverage
	$(BIN)/python -m coverage report

# Whether the tests notice a change: see docs/mutation.md. MODULE="head cache" measures these alone.
mutation: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.mutation $(MODULE)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in docs/_build/html: warnings are errors, and no page may ask for anything from elsewhere. The command line's
# page is made from the program itself; a test compares the two.
docs: .venv-docs/.installed
	.venv-docs/bin/python docs/make_cli.py
	.venv-docs/bin/python -m sphinx -W --keep-going -E -q -b html docs docs/_build/html
	.venv-docs/bin/python docs/check_site.py docs/_build/html

# docs/migrating.md: each "before" in the environment of its library, each "after" here.
migrating: $(BIN)/firstbert .venv-finetune/.installed .venv-spacy/.installed
	$(BIN)/python docs/run_migrating.py finetune=.venv-finetune/bin/python spacy=.venv-spacy/bin/python

.venv-spacy/.installed: docs/requirements-spacy.txt
	$(PYTHON) -m venv .venv-spacy
	.venv-spacy/bin/python -m pip install -q --no-compile -r $<
	@touch $@

.venv-docs/.installed: docs/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install -q --no-compile -r $< -e .
	@touch $@

# SECTION="throughput latency" runs these alone; QUICK=1 only shows that all works; FORCE=1 measures anew what is there;
# SST2=FOLDER holds train.tsv, dev.tsv, test.tsv, fetched unless given; MPNET=FOLDER adds that encoder's accuracy.
bench: $(VENV)/.installed-test .venv-bench/.installed .venv-bench-optimum/.installed
	$(BIN)/python -m benchmarks.run $(SECTION) $(if $(QUICK),--quick) $(if $(FORCE),--force) \
		$(if $(SST2),--sst2 $(SST2)) $(if $(MPNET),--mpnet $(MPNET))

.venv-bench/.installed: benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -q --no-compile -r $<
	@touch $@

.venv-bench-optimum/.installed: benchmarks/requirements-optimum.txt
	$(PYTHON) -m venv .venv-bench-optimum
	.venv-bench-optimum/bin/python -m pip install -q --no-compile -r $<
	@touch $@

# What a head's choices are worth. SECTION="layers cut" runs these alone; SST2=FOLDER holds train.tsv, dev.tsv, test.tsv,
# fetched unless given; MPNET=FOLDER adds that encoder; QUICK=1 and FORCE=1 as above.
trust: $(VENV)/.installed-test .venv-cleanlab/.installed
	$(BIN)/python -m benchmarks.trust $(SECTION) $(if $(QUICK),--quick) $(if $(FORCE),--force) \
		$(if $(SST2),--sst2 $(SST2)) $(if $(MPNET),--mpnet $(MPNET))

.venv-cleanlab/.installed: benchmarks/requirements-cleanlab.txt
	$(PYTHON) -m venv .venv-cleanlab
	.venv-cleanlab/bin/python -m pip install -q --no-compile -r $<
	@touch $@

# Fine-tuning against SetFit and transformers' Trainer. SECTION, SST2, MPNET, QUICK and FORCE as above; ONLY=minilm leaves
# other encoders out; HUB=1 adds DistilBERT and BERT; docs/finetuning.md has the rest.
finetune: $(VENV)/.installed-finetune .venv-finetune/.installed
	$(BIN)/python -m benchmarks.tuned $(SECTION) $(if $(QUICK),--quick) $(if $(FORCE),--force) $(if $(HUB),--hub) \
		$(if $(SST2),--sst2 $(SST2)) $(if $(MPNET),--mpnet $(MPNET)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(UNLABELLED),--unlabelled $(UNLABELLED)) $(if $(PRECISION),--precision $(PRECISION)) \
		$(if $(NAME),--name $(NAME))

.venv-finetune/.installed: benchmarks/requirements-finetune.txt
	$(PYTHON) -m venv .venv-finetune
	.venv-finetune/bin/python -m pip install -q --no-compile -r $<
	@touch $@

# firstbert predict over files: against SetFit and sentence-transformers, the encoder alone, on Ray, by size. SECTION,
# SST2, MPNET, QUICK and FORCE as above; docs/scale.md has the rest.
bulk: $(VENV)/.installed-ray .venv-finetune/.installed
	$(BIN)/python -m benchmarks.bulk $(SECTION) $(if $(QUICK),--quick) $(if $(FORCE),--force) \
		$(if $(SST2),--sst2 $(SST2)) $(if $(MPNET),--mpnet $(MPNET))

# firstbert serve: against other servers and in-process bulk, one request at a time, flooded, ended under load, for ten
# minutes. SECTION, SST2, QUICK and FORCE as above; docs/serving.md has the rest.
serve-bench: $(VENV)/.installed-serve .venv-serve/.installed .venv-infinity/.installed
	$(BIN)/python -m benchmarks.serve $(SECTION) $(if $(QUICK),--quick) $(if $(FORCE),--force) \
		$(if $(SST2),--sst2 $(SST2))

.venv-serve/.installed: benchmarks/requirements-serve.txt
	$(PYTHON) -m venv .venv-serve
	.venv-serve/bin/python -m pip install -q --no-compile -r $<
	@touch $@

.venv-infinity/.installed: benchmarks/requirements-infinity.txt
	$(PYTHON) -m venv .venv-infinity
	.venv-infinity/bin/python -m pip install -q --no-compile -r $<
	@touch $@

# What makes it fast and where it ends: padding, batches, kept vectors, texts of another kind. SECTION, SST2, QUICK and
# FORCE as above.
why: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.why $(SECTION) $(if $(QUICK),--quick) $(if $(FORCE),--force) $(if $(SST2),--sst2 $(SST2))

# docs/how-fast-and-why.md and docs/limits.md from benchmarks/templates/ and benchmarks/results/; a test compares.
pages: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.pages

# A release: docs/release.md. The wheel and the sdist; the same bytes from two builds; the wheel in an empty environment;
# what it comes with; and whether any of that is known to be vulnerable.
RELEASE = .venv-release/bin/python -m release.

dist: .venv-release/.installed
	$(RELEASE)dist

dist-check: .venv-release/.installed
	$(RELEASE)check

wheel-check: dist
	$(RELEASE)wheel $(if $(DATA),--data $(DATA))

sbom: dist
	$(RELEASE)sbom

audit: .venv-release/.installed
	$(RELEASE)audit $(if $(IF_POSSIBLE),--if-possible)

.venv-release/.installed: release/requirements.txt
	$(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install -q --no-compile -r $<
	@touch $@

# Coverage-guided fuzzing of all that reads files, for so many MINUTES together; TARGET="readers model" fuzzes these alone;
# KEEP=1 puts what reaches more than the corpus into it. docs/fuzzing.md has the rest.
MINUTES ?= 30
fuzz: .venv-fuzz/.installed
	.venv-fuzz/bin/python -m fuzz.run $(TARGET) --minutes $(MINUTES) $(if $(KEEP),--keep)

.venv-fuzz/.installed: fuzz/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install -q --no-compile -r $< -e '.[parquet]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-release .venv-bench .venv-bench-optimum .venv-cleanlab .venv-finetune .venv-serve .venv-infinity \
		.venv-docs .venv-spacy .venv-fuzz docs/_build dist build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BIN)/firstbert: $(BIN)/python pyproject.toml
	$(INSTALL) -e .
	@touch $@

# The version that the figures were taken with, and the one that the peers have.
$(VENV)/.installed-finetune: $(BIN)/python pyproject.toml
	$(INSTALL) 'torch==2.13.0'
	$(INSTALL) -e '.[finetune]'
	@touch $@

$(VENV)/.installed-%: $(BIN)/python pyproject.toml
	$(INSTALL) -e '.[$*]'
	@touch $@
