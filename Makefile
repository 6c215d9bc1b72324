# The verbs that people and CI share. `make help` lists them.
#
# Variables: NODES=2 (a second node), CLUSTER_NAME=name (several clusters side by side), CLUSTER=current (demo on the
# reader's own kube context), IMAGE_REGISTRY=host/path (push images there), NAME=benchmark, ARGS="..." (kubectl, pytest).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PROGRESS := $(PYTHON) scripts/with_progress.py
PACKAGES := agent_api agent_gateway agent_runtime agentctl operator/agent_operator
TYPED := $(wildcard $(PACKAGES) devcluster images demo benchmarks scripts)
LOCK := $(PY) -m uv pip compile -q --generate-hashes --no-header --python-version 3.11 $(LOCK_FLAGS)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1
export CLUSTER CLUSTER_NAME IMAGE_REGISTRY IMAGE_REGISTRY_INSECURE NODES

.PHONY: help setup lint unit test integration e2e e2e-tests soak demo bench crds images lock cluster-up cluster-down kubectl clean

help:  ## list the verbs
	@sed -n 's/^\([a-z0-9-]*\):.*##/\1#/p' $(MAKEFILE_LIST) | column -t -s '#'

setup: $(STAMP)  ## make the virtualenv from the locked, hashed requirements

$(STAMP): locks/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@$(PYTHON) -m ensurepip --version >/dev/null 2>&1 || scripts/install_venv_package
	@test -x $(PY) || $(PROGRESS) "making $(VENV)" -- $(PYTHON) -m venv $(VENV)
	@$(PROGRESS) "installing locked packages" -- $(PY) -m pip install -q --require-hashes -r locks/dev.txt
	@$(PROGRESS) "installing greylag" -- $(PY) -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

lint: $(STAMP)  ## ruff, mypy --strict, import contract, sizes
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PROGRESS) "mypy --strict" -- $(PY) -m mypy $(TYPED)
	@$(VENV)/bin/lint-imports --no-cache
	@$(PY) scripts/check_sizes.py $(TYPED) tests

unit: $(STAMP)  ## tests that need no cluster
	@$(PY) -m pytest tests/unit tests/contract $(ARGS)

test: $(STAMP)  ## everything: lint, unit, and on a cluster integration and e2e
	@$(PY) -m devcluster packages
	@$(PY) -m devcluster build
	@$(MAKE) lint unit
	@$(PY) scripts/with_cluster.py -- $(MAKE) integration e2e-tests

integration: $(STAMP)
	@$(PY) -m pytest tests/integration $(ARGS)

e2e: $(STAMP)  ## end-to-end tests alone
	@$(PY) scripts/with_cluster.py -- $(MAKE) e2e-tests

e2e-tests: $(STAMP)
	@$(PY) -m pytest tests/e2e/alone $(ARGS)
	@$(PY) -m pytest tests/e2e/together -n 4 $(ARGS)
	@$(PY) -m pytest tests/e2e/afterwards $(ARGS)

soak: $(STAMP)  ## long repetitions, with results to commit
	@$(PY) scripts/with_cluster.py -- $(PY) -m pytest tests/soak $(ARGS)

demo: $(STAMP)  ## three releases under traffic on a real Kubernetes
	@$(PY) -m demo

bench: $(STAMP)  ## measure; NAME=... for one
	@$(PY) -m benchmarks $(NAME)

crds: $(STAMP)  ## generate crds/ and the chart's copy
	@$(PY) -m agent_api.crdgen crds
	@$(PY) -m agent_api.reference docs/reference/agentdeployment.md
	@mkdir -p charts/greylag/files/crds
	@rm -f charts/greylag/files/crds/*.yaml
	@cp crds/*.yaml charts/greylag/files/crds/

images: $(STAMP)  ## build all images and load them into the cluster (or push them to IMAGE_REGISTRY)
	@$(PY) -m devcluster packages
	@$(PY) -m images load

lock: $(STAMP)  ## resolve the pinned dependencies to locks/ (LOCK_FLAGS=--upgrade for newer ones)
	@$(LOCK) --extra dev -o locks/dev.txt pyproject.toml
	@for target in operator gateway runtime; do \
		$(LOCK) --extra $$target -c locks/dev.txt -o locks/$$target.txt pyproject.toml; done
	@for apart in peers foreign; do $(LOCK) -o locks/$$apart.txt locks/$$apart.in; done
	@$(LOCK) --no-deps -o tests/integration/attacks/requirements.txt tests/integration/attacks/requirements.in
	@$(LOCK) --no-deps --no-binary :all: -o tests/integration/attacks/sources.txt tests/integration/attacks/sources.in

cluster-up: $(STAMP)  ## start the devcluster, or what of it is missing
	@$(PY) -m devcluster packages
	@$(PY) -m devcluster build
	@$(PY) -m devcluster up

cluster-down: $(STAMP)  ## remove the devcluster and all its traces
	@$(PY) -m devcluster down

kubectl: $(STAMP)  ## kubectl on the devcluster: make kubectl ARGS="get agd -A"
	@$(PY) -m devcluster kubectl -- $(ARGS)

clean:  ## remove what was built in the checkout (caches outside it stay)
	@rm -rf build dist mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
