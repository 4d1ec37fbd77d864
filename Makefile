# The commands of this project; `make` lists them. Needs Python >= 3.11 (with venv) and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
FORECAST_DAY ?= yesterday

.DEFAULT_GOAL := help
.PHONY: help venv forecast test lint check benchmark clean

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

# torch goes in first and by version, so that a machine that offers a processor-only build of it takes that one.
$(STAMP): pyproject.toml deploy/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("needed Python 3.11 or newer; found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint deploy/constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint deploy/constraints.txt --editable '.[test]'
	@touch $@

venv: $(STAMP)  ## make the environment in .venv

forecast: $(STAMP)  ## forecast from yesterday's twin ocean, publish into ./store, score what can be scored
	$(BIN)/goms run $(FORECAST_DAY) --system twin
	$(BIN)/goms verify $(FORECAST_DAY) --system twin --leads 1

lint: $(STAMP)  ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint  ## the one check, the same at the desk and in CI: style, types and every test, three files at a time
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: test  ## another name for test

benchmark: $(STAMP)  ## seconds and peak memory of each stage
	$(BIN)/python -m tests.benchmarks.stages

clean:  ## remove what was made here, the store excepted
	rm -rf .venv build goms.egg-info .mypy_cache .ruff_cache .pytest_cache
