# make demo   harvest the embedded model and text and train on it, in a virtual environment made for it
# make test   lint, types and tests
# Both need Python 3.11 or newer and a package registry, nothing else.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
# PyTorch's own index, where the default registry's build is not wanted (for instance its CPU builds).
TORCH_INDEX ?=

# By path rather than by an import hook: a folder data/ of stores where a user works must not hide the package.
EDITABLE = --config-settings editable_mode=compat
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check
DEMO_TOKENS ?= 300k
DEMO_ACTIVATIONS ?= 400k

.PHONY: demo test test-tl3 test-values clean

demo: $(VENV)/.installed
	$(VENV)/bin/harvest --model demo --tokens $(DEMO_TOKENS) --out data/demo.zarr
	$(VENV)/bin/analyze verify --store data/demo.zarr
	$(VENV)/bin/train --store data/demo.zarr --variant baseline,nsae --expansion 8 --activations $(DEMO_ACTIVATIONS) \
		--validate-every 100k --out runs/demo

test: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest

# The values also with TransformerLens 3.9, in an environment of its own.
test-tl3:
	$(MAKE) test-values CONSTRAINTS=constraints-tl3.txt VENV=.venv-tl3

test-values: $(VENV)/.installed-dev
	$(VENV)/bin/pytest tests/harvest/test_values.py

$(VENV)/.torch: $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $$(grep '^torch==' $(CONSTRAINTS))
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) install -q -c $(CONSTRAINTS) $(EDITABLE) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -q -c $(CONSTRAINTS) $(EDITABLE) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
