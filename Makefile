# Everything runs from `.venv`, which each target sets up first (quickly, when it is there already).
# `make demo` and `make test` are all that is needed for a start; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := .ci/requirements.lock
SOURCES := fuse_dagster fuse_dagster_tests
DEMO_HOME := $(CURDIR)/.demo/dagster_home

# Nothing that runs here reports home, or advertises.
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export NO_MKDOCS_2_WARNING := 1

.PHONY: help demo ui test soak test-oldest lint format types docs docs-serve bench screenshots lock build clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(BIN)/uv: $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK) uv
	@touch $@

# Two sizes of environment, with versions from one lock: what the demo needs, and everything.
$(VENV)/.demo-ready: $(BIN)/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(LOCK) --editable '.[demo]'
	@touch $@

$(VENV)/.dev-ready: $(BIN)/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(LOCK) --editable '.[dev]'
	@touch $@ $(VENV)/.demo-ready

demo: $(VENV)/.demo-ready ## Run the main job on real data, and say what it made
	@$(BIN)/python -m fuse_dagster.definitions.demo

ui: $(VENV)/.demo-ready ## Open the Dagster web UI on the demo (http://localhost:3000)
	@mkdir -p $(DEMO_HOME)
	@cp dagster.yaml $(DEMO_HOME)/dagster.yaml
	@echo "The web UI will be at http://localhost:3000 in half a minute. Ctrl-C ends it."
	@DAGSTER_HOME=$(DEMO_HOME) PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/dagster dev --workspace workspace.yaml

test: $(VENV)/.dev-ready ## Run all tests
	@.ci/browser
	@.ci/azurite
	@.ci/kafka
	$(BIN)/python -m pytest $(PYTEST_ARGS)

soak: $(VENV)/.dev-ready ## Kill, cut and draw five times as often as the tests do (an hour)
	FUSE_SOAK=5 $(BIN)/python -m pytest -k 'kill or fire or crash or cut or order' $(PYTEST_ARGS)

test-oldest: $(BIN)/uv ## Run the tests with the oldest versions that pyproject.toml allows
	@.ci/oldest $(PYTEST_ARGS)

lint: $(VENV)/.dev-ready ## Lint, check the format, check the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

types: $(VENV)/.dev-ready ## Check the types
	$(BIN)/mypy

format: $(VENV)/.dev-ready ## Put the code into its format, and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev-ready ## Build the documentation into .site
	$(BIN)/mkdocs build --strict --config-file docs/mkdocs.yml --site-dir $(CURDIR)/.site

docs-serve: $(VENV)/.dev-ready ## Serve the documentation while it is being written
	$(BIN)/mkdocs serve --strict --config-file docs/mkdocs.yml

bench: $(VENV)/.dev-ready ## Measure, and write docs/pages/benchmarks.md
	$(BIN)/python -m fuse_dagster_tests.benchmarks
	$(BIN)/python -m fuse_dagster_tests.benchmarks.sources

screenshots: $(VENV)/.dev-ready ## Take the pictures of the UI again that docs and README show
	@.ci/browser
	FUSE_SCREENSHOTS=docs/pages/images $(BIN)/python -m pytest fuse_dagster_tests/ui

lock: $(BIN)/uv ## Resolve the dependencies again
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-annotate --no-header --quiet --output-file $(LOCK)

build: $(VENV)/.dev-ready ## Build the wheel and the sdist into dist
	$(BIN)/uv build --quiet

clean: ## Remove the environment, the demo's lake, and what the tools left
	rm -rf $(VENV) .demo .site dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
