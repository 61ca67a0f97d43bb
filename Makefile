# make quickstart | make test | make check | make wheel
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart test check wheel clean

quickstart: $(VENV)/.recipes ## set up, then train a codebook on real digits (about 2 minutes on 2 cores)
	$(BIN)/discrete-lightning fit -c vq/quickstart

test: check ## set up what the tests need, then run everything
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST_ARGS)

check: $(VENV)/.dev ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: $(VENV)/.dev ## dist/*.whl, configs and recipes inside
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "discrete_lightning needs Python 3.11 or newer; make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.recipes: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[recipes]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[recipes,dev]'
	@touch $@ $(VENV)/.recipes

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache
