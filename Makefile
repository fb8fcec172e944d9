# Two commands do everything on a fresh machine with Python 3.11+: `make demo` and `make test`.
# Each first makes what it needs: a virtual environment in .venv with the locked dependencies.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The stories of the store, the runtime, approvals and the screens, which hold on both databases.
ON_SERVER := $(wildcard tests/test_audit_store.py tests/test_audit_lineage.py tests/test_approvals_*.py \
	tests/test_runtime.py tests/test_loop*.py tests/test_follow_ups.py tests/test_run_why.py \
	tests/test_tui_app.py)

.PHONY: help setup demo test check format cel-diff crash benchmark lock snapshots clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## a virtual environment in .venv, with what is in requirements/dev.lock

$(READY): pyproject.toml requirements/dev.lock
	@test -n "$(PYTHON)" || { echo "agentrt needs Python 3.11, 3.12 or 3.13: install one, or say which with PYTHON=/path/to/python"; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)  ## the main job: a customer's message, a held refund, a decision, the reason why; needs no key
	@$(BIN)/python -m examples.support_desk $(ARGS)

test: $(READY)  ## the tests, and those of store, runtime, approvals and screens again on PostgreSQL
	@$(BIN)/python -m pytest $(ARGS)
	@test -n "$(ARGS)" || $(BIN)/python -m pytest --store postgresql $(ON_SERVER)

check: $(READY)  ## format, lint, types, import contracts, and the tests of the documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_docs.py

format: $(READY)  ## rewrite the code in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

cel-diff: $(READY)  ## N random conditions through ours and through Google's CEL: make cel-diff N=1000000
	@PYTHONPATH=.:tests $(BIN)/python -m cel_diff $(or $(N),100000) $(ARGS)

crash: $(READY)  ## N kills of every kind, each compared with what the world saw: make crash N=10000
	@$(BIN)/python -m tests.crash --kills $(or $(N),200) --jobs $(or $(JOBS),2) $(ARGS)

benchmark: $(READY)  ## speed and memory beside a hand-written loop, as ratios
	@$(BIN)/python -m benchmarks $(ARGS)

snapshots: $(READY)  ## look at the screens anew and keep them as the expected ones
	-$(BIN)/python -m pytest tests/test_tui_snapshots.py -k "not picture" --snapshot-update
	cp "tests/__snapshots__/test_tui_snapshots/test_approvals[wide].svg" docs/images/approvals.svg

lock: $(READY)  ## resolve the dependencies again into requirements/dev.lock
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group dev --extra postgres pyproject.toml -o requirements/dev.lock

clean:  ## remove what was made
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
