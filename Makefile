# Everything installs itself into .venv from constraints.txt; Python 3.11 or newer is all that is needed.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo up test test-fast check faults bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: .venv/installed ## watch a small language model teach itself addition (about four minutes on two idle cores)
	@$(BIN)/starloop run star --preset addition-quick

up: .venv/installed ## Prefect's and MLflow's pages and a worker, for runs from a browser; Ctrl-C ends them
	@$(BIN)/starloop serve

test: .venv/installed ## the whole test suite, on two cores
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-fast: .venv/installed ## the tests that need no training and no server
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not slow"

faults: .venv/installed ## kill a run at every named point and compare what comes of it; writes docs/reliability.md
	@$(BIN)/python -m pytest tests/faults --every-fault --timeout 900 --numprocesses 2

check: .venv/installed ## lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

bench: .venv/installed ## measure speed against plain reference scripts, and the ledger up to ten million attempts
	@$(BIN)/python -m benchmarks.bench

clean: ## remove the virtual environment (the home .starloop stays)
	rm -rf .venv

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "starloop needs Python 3.11 or newer; this is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	@echo "installing into .venv (once; a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
