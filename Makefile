# On a fresh machine every target makes .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-cluster test-slow check format clean

demo: .venv/installed
	$(BIN)/python -m orchestrator run plans/demo.yaml

test: .venv/installed
	$(BIN)/python -m pytest -m "not cluster and not slow"

test-cluster: .venv/installed
	$(BIN)/python -m pytest -m cluster

test-slow: .venv/installed
	$(BIN)/python -m pytest -m slow

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; give one with: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
