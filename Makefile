# make demo   harvest the embedded model and text, train on it, report; in a virtual environment made for it
# make test   lint, types and tests, on two cores
# make docs   the documentation as a site, in build/site
# Both need Python 3.11 or newer and a package registry, nothing else.
# make container   build the image and run it, without a Docker engine (docs/batch.md)

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
# PyTorch's own index, where the default registry's build is not wanted (for instance its CPU builds).
TORCH_INDEX ?=

# By path rather than by an import hook: a folder data/ of stores where a user works must not hide the package.
EDITABLE = --config-settings editable_mode=compat
DEMO_TOKENS ?= 300k
DEMO_ACTIVATIONS ?= 128k
DEMO_TRAIN = $(VENV)/bin/train --store data/demo.zarr --variant baseline,nsae,topk --target-l0 8,32 \
	--activations $(DEMO_ACTIVATIONS) --expansion 4 --batch-size 128 --input-scale sqrt-d --lr 1e-3 --lr-warmup 10k \
	--lr-decay 40k --validate-every 40k --snapshots 3

# A file's tests run in one process, so that its fixtures are made once. The files marked `long` start first.
JOBS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder --durations=10
TRITON = triton==3.9.0
SKYPILOT = skypilot==0.14.1

.PHONY: demo lint suite test types test-kernels test-tl3 test-values test-lowest test-libraries test-readme test-skypilot docs container clean

VIEW = python3 -m webbrowser report/index.html

demo: $(VENV)/.installed
	@echo "The demo takes about five minutes. To view its report when it is done: $(VIEW)"
	@echo "1/3  harvest: run the embedded language model, write its activations to data/demo.zarr"
	@$(VENV)/bin/harvest --model demo --tokens $(DEMO_TOKENS) --layers 0,1,3,5 --out data/demo.zarr
	@$(VENV)/bin/analyze verify --store data/demo.zarr
	@echo "2/3  train: three architectures at two target L0s, for each of four layers, in runs/demo"
	@$(DEMO_TRAIN) --out runs/demo
	@echo "3/3  analyze: measure the six runs, write report/"
	@$(VENV)/bin/analyze report --store data/demo.zarr --model demo runs/demo --out report \
		--contexts 24 --snapshot-contexts 2
	@echo "The report is report/index.html. View it: $(VIEW)"

test: lint
	@$(MAKE) --no-print-directory -j2 suite types

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.installed-dev
	$(VENV)/bin/mypy

suite: $(VENV)/.installed-dev
	$(PYTEST)

# The GPU's kernels, by Triton's interpreter; `make test` skips them without Triton, which is 1 GB on the disk.
test-kernels: $(VENV)/.installed-dev
	$(INSTALL) $(TRITON)
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest tests/train/step/test_kernels.py tests/harvest/gpu

# The values also with TransformerLens 3.9, in an environment of its own.
test-tl3:
	$(MAKE) test-values CONSTRAINTS=constraints-tl3.txt VENV=.venv-tl3

test-values: $(VENV)/.installed-dev
	$(VENV)/bin/pytest tests/harvest/model/test_values.py

# What the lowest versions that pyproject.toml allows may break, in an environment of its own: the tests of each library's
# use, not those of arithmetic, locks or the shuffle. One process, because importing the libraries takes long.
test-lowest:
	@$(MAKE) --no-print-directory test-libraries CONSTRAINTS=constraints-lowest.txt VENV=.venv-lowest JOBS=0

# zarr, numcodecs, fsspec, universal_pathlib, crc32c; click, tqdm, psutil; transformers, transformer_lens, datasets,
# pyarrow, tokenizers; safetensors; scipy, matplotlib, jinja2, vl_convert.
test-libraries: $(VENV)/.installed-dev
	$(PYTEST) tests/data/store tests/data/command tests/data/system/test_limits.py \
		tests/harvest/test_cli.py tests/harvest/text/test_documents.py tests/harvest/text/test_documents_refused.py \
		tests/harvest/model/test_values.py \
		tests/train/output/test_trained.py tests/train/test_command.py tests/train/test_experiment.py \
		tests/analyze/measure/test_cache.py tests/analyze/compare/test_differences.py \
		tests/analyze/report/test_style.py tests/analyze/report/charts tests/analyze/report/test_report.py -m "not slow and not browser"

# The documentation's commands, in an environment made by `pip install '.[all]'` alone.
test-readme: $(VENV)/.installed-dev
	$(MAKE) VENV=.venv-readme .venv-readme/.torch
	.venv-readme/bin/python -m pip --disable-pip-version-check install -q -c $(CONSTRAINTS) '.[all]'
	README_VENV=.venv-readme $(VENV)/bin/pytest -m slow tests/test_documents.py

# deploy/skypilot, read by SkyPilot itself, in an environment of its own.
test-skypilot: $(VENV)/.installed-dev
	$(PYTHON) -m venv .venv-skypilot
	.ci/install .venv-skypilot $(SKYPILOT)
	SKYPILOT_VENV=.venv-skypilot $(VENV)/bin/pytest tests/deploy/test_skypilot.py

# The notebook is executed, and the site fails on a broken link and on a public name without a docstring.
docs: $(VENV)/.installed-docs
	$(VENV)/bin/jupytext --quiet --to ipynb docs/quickstart.py
	OMP_NUM_THREADS=2 $(VENV)/bin/jupyter-execute --inplace docs/quickstart.ipynb
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs --quiet build
	@echo "open build/site/index.html"

INSTALL = .ci/install $(VENV)

$(VENV)/.torch: $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),PIP_INDEX_URL=$(TORCH_INDEX)) $(INSTALL) $$(grep '^torch==' $(CONSTRAINTS))
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(INSTALL) -c $(CONSTRAINTS) $(EDITABLE) -e '.[all]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml
	$(INSTALL) -c $(CONSTRAINTS) $(EDITABLE) -e '.[dev]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-ci: $(VENV)/.torch pyproject.toml
	$(INSTALL) -c $(CONSTRAINTS) $(EDITABLE) -e '.[dev,docs]' $(TRITON)
	touch $(VENV)/.installed $(VENV)/.installed-dev $(VENV)/.installed-docs $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) -c $(CONSTRAINTS) $(EDITABLE) -e '.[docs]'
	touch $@

container:
	tests/container.sh

clean:
	rm -rf $(VENV) build *.egg-info
