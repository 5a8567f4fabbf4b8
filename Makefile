# Two commands matter: `make demo` and `make test`. Both set everything up first. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
MANAGE := $(RUN) manage.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE :=  # the tests start some hundred processes: each would compile the project anew
PYTEST := $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder  # the tests of a file share what it sets up
INSTALL := $(RUN) -m pip install --quiet --require-hashes --no-deps --no-compile  # Python compiles what is used when it is used

help:                 ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 22

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Tessera needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...")'
	@echo "Making the virtual environment in $(VENV) ..." >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements-demo.lock requirements-data.lock | $(VENV)/bin/python
	@echo "Installing what Tessera and its demo need ..." >&2
	@$(INSTALL) -r requirements-demo.lock
	@$(INSTALL) -r requirements-data.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements-data.lock | $(VENV)/bin/python
	@echo "Installing what the tests need ..." >&2
	@$(INSTALL) -r requirements-dev.lock
	@$(INSTALL) -r requirements-data.lock
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo   ## set up, run the main job on real input, print the result, serve the console (ONCE=1: stop after)
	@$(MANAGE) demo $(if $(ONCE),--once)

serve: $(VENV)/.demo  ## start Postgres, Valkey, web server, workers and scheduler
	@$(MANAGE) stack serve

stop: $(VENV)/.demo   ## stop all that serve or demo started
	@$(MANAGE) stack stop

extras: $(VENV)/.demo ## the libraries of Salesforce, HubSpot, Kafka, and of the second opinion on pairs
	@$(INSTALL) -r requirements-extras.lock

spark: $(VENV)/.demo   ## the library of Spark; it needs Java 17 as well
	@$(INSTALL) -r requirements-spark.lock

rival: $(VENV)/.dev    ## dedupe, which the benchmark of accuracy runs where it is installed; needs a C compiler
	@$(INSTALL) -r requirements-rival.lock

test: $(VENV)/.dev    ## the whole suite
	@$(PYTEST) $(ARGS)

check: lint           ## lint, then the fast tests
	@$(PYTEST) -q -m "not slow and not browser" $(ARGS)

lint: $(VENV)/.dev    ## format, lint, spelling, types, import contracts, dependencies, migrations, OpenAPI file
	@$(MAKE) --no-print-directory --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) $(LINTS)

LINTS := lint/types lint/openapi lint/migrations lint/dependencies lint/imports lint/dead lint/style lint/spelling  # the longest first

lint/types:
	@$(VENV)/bin/mypy

lint/openapi:
	@mkdir -p -m 700 .data && $(MANAGE) spectacular --file .data/openapi.yaml --validate --fail-on-warn
	@diff -u docs/openapi.yaml .data/openapi.yaml || { echo "docs/openapi.yaml is out of date: run 'make openapi'"; exit 1; }

lint/migrations:
	@$(MANAGE) makemigrations --check --dry-run >/dev/null || { echo "Models changed without a migration: 'manage.py makemigrations APP --name SAY_WHAT'"; exit 1; }

lint/dependencies:
	@$(VENV)/bin/deptry . --no-ansi

lint/imports:
	@$(VENV)/bin/lint-imports --no-logo

lint/dead:
	@$(VENV)/bin/vulture

lint/style:
	@$(VENV)/bin/ruff format --check --quiet --output-format concise . || { echo "Run '$(VENV)/bin/ruff format .'"; exit 1; }
	@$(VENV)/bin/ruff check --quiet .

lint/spelling:
	@$(VENV)/bin/typos

sdks: $(VENV)/.dev    ## put the SDKs of the conformance suite in their places, so that later runs need no registry
	@$(RUN) -m tests.conformance install

conformance: $(VENV)/.dev ## every SDK in every scenario, and docs/conformance.md written from what was seen
	@$(RUN) -m tests.conformance -q

openapi: $(VENV)/.dev ## write docs/openapi.yaml anew
	@$(MANAGE) spectacular --file docs/openapi.yaml --validate --fail-on-warn

bench: $(VENV)/.dev   ## every benchmark beside its baseline, in the same run (ONLY=name: one)
	@$(RUN) -m bench $(if $(ONLY),--only $(ONLY))

lock:                 ## compile the lock files anew (needs uv and npm)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --all-extras pyproject.toml -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements-dev.lock --extra demo pyproject.toml -o requirements-demo.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements-dev.lock pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements-dev.lock --extra salesforce --extra hubspot --extra kafka --extra second-opinion pyproject.toml -o requirements-extras.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements-dev.lock --extra spark pyproject.toml -o requirements-spark.lock
	uv pip compile -q --no-deps --generate-hashes --no-header --no-emit-index-url --no-annotate requirements-data.in -o requirements-data.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements-dev.lock requirements-rival.in -o requirements-rival.lock
	for lock in tests/conformance/python/*.lock; do name=$$(basename $$lock .lock); echo "$${name%-*}==$${name##*-}" \
	  | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate - -o $$lock; done
	cd tests/conformance/node && npm install --package-lock-only --ignore-scripts --no-audit --no-fund

clean: stop           ## stop everything and remove what was made
	rm -rf $(VENV) .data

.PHONY: help demo serve stop extras spark test check lint $(LINTS) sdks conformance openapi bench lock clean
