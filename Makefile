# A bare machine needs python 3.11 or newer, pip, make and (for `make test` alone) a C++ compiler.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
READERS := $(VENV)/readers
PIP := $(BIN)/python -m pip --disable-pip-version-check install -c requirements/ci.txt
PINS := pyproject.toml requirements/ci.txt
PHOTOS ?=
CONCEPTS ?=
BENCH ?= crf seeds search workers scale
DATA ?=

.DEFAULT_GOAL := help
.PHONY: help demo test readers check docs bench storm clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*##/make \1 -/p' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.demo  ## segment real photos; PHOTOS=folder CONCEPTS="a,b,c" uses yours
	$(BIN)/recoseg demo $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(CONCEPTS),--concepts "$(CONCEPTS)")

test: $(VENV)/.dev $(READERS)/.made  ## the whole test suite
	$(BIN)/python -m pytest

readers: $(READERS)/.made  ## other tools, by which the tests read exports; part of make test

check: $(VENV)/.dev  ## lint, format, types and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py

docs: $(VENV)/.dev  ## the documentation as a site, in folder site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir site

bench: $(VENV)/.dev  ## speed into benchmarks/results, BENCH="crf seeds" for some; DATA=folder for quality
	@mkdir -p benchmarks/results
	@for name in $(BENCH); do echo "== $$name"; \
		$(BIN)/python benchmarks/$$name.py --out benchmarks/results/$$name.json || exit 1; done
	@test -z "$(DATA)" || { echo "== quality"; \
		$(BIN)/python benchmarks/quality.py "$(DATA)" --out benchmarks/results; }

storm: $(VENV)/.dev  ## 1,000 kills and 600 damages over all verbs, full disks, memory; an hour
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/storm.py --out benchmarks/results/storm.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/hardship.py --out benchmarks/results/hardship.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/memory.py --out benchmarks/results/memory.json

clean:  ## remove the environment and what tools left behind
	rm -rf $(VENV) demo site build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.made: $(PINS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; set PYTHON=..." >&2; exit 1; }
	@echo "Installing into $(VENV); the first time this takes about two minutes and 6 GB."
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo $(VENV)/.dev: $(VENV)/.%: $(VENV)/.made
	$(PIP) -e ".[$*]"
	@touch $@

$(READERS)/.made: requirements/readers.txt | $(VENV)/.made
	@echo "Installing other tools' readers into $(READERS); this takes half a minute and 0.5 GB."
	rm -rf $(READERS)
	$(BIN)/python -m venv --without-pip $(READERS)
	$(BIN)/python -m pip --disable-pip-version-check --python $(READERS)/bin/python \
		install --no-deps --no-compile -r requirements/readers.txt
	@touch $@
