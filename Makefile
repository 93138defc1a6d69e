# make train: DSoM on the bundled graph. make test: lint, types, tests.
# make coverage: make test, and which lines no test runs.
# All set up .venv first; the package index and a C++ compiler, for
# torch-scatter, are all they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: train test coverage lint clean

train: $(VENV)/installed
	$(BIN)/python examples/train_dsom.py

test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest -n auto

# Slower than `make test`: every call is traced.
coverage: $(VENV)/installed-test lint
	$(BIN)/python -m pytest -n auto --cov=dsom_pyg

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

$(VENV)/installed: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip 'setuptools>=77' wheel
	$(BIN)/pip install --quiet --editable .
	# Compiled against the torch just installed, its parts side by side.
	printf '[build_ext]\nparallel = 4\n' > $(VENV)/build.cfg
	DIST_EXTRA_CONFIG=$(abspath $(VENV))/build.cfg $(BIN)/pip install \
		--quiet --no-build-isolation 'torch-scatter>=2.1.2'
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
