# make train: DSoM on the bundled graph. make test: lint, types, tests.
# make coverage: make test, and which lines no test runs.
# make oldest: the tests with the oldest releases that setup.py allows.
# All set up .venv first; the package index and a C++ compiler, for
# torch-scatter, are all they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OLDEST := $(VENV)-oldest
# Those of users; what tests need besides is new.
EXTRAS := adam8bit encoders excel h5 index mlflow plots rdf search site \
	tensorboard wandb
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: train test coverage oldest lint clean

train: $(VENV)/installed
	$(BIN)/python examples/train_dsom.py

test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest -n auto

# Slower than `make test`: every call is traced.
coverage: $(VENV)/installed-test lint
	$(BIN)/python -m pytest -n auto --cov=dsom_pyg

oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python -m pytest -n auto

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

# Without torch-scatter, which would be compiled: PyG does the same without it.
$(OLDEST)/installed: setup.py
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install --quiet --upgrade pip uv
	$(OLDEST)/bin/uv pip compile --quiet --resolution lowest-direct \
		--python $(OLDEST)/bin/python $(EXTRAS:%=--extra %) setup.py \
		--output-file $(OLDEST)/oldest.txt
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python \
		--constraint $(OLDEST)/oldest.txt \
		--requirement $(OLDEST)/oldest.txt --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info
