# Everything a person or CI does with this project. Needs Python 3.11+, make and git.
.DEFAULT_GOAL := help
.PHONY: help run test test-all lint types format check lock bench chaos upgrade-check screenshots postman expose image compose-check clean

# The interpreters that .venv may be made of, best first; `make run PYTHON=python3.12` names one.
PYTHON = python3 python3.13 python3.12 python3.11 python3.14
# By its path, never through an activated shell: an entry script breaks when the folder moves.
VENV = .venv/bin/python
PIP = $(VENV) -m pip install --disable-pip-version-check -qq
# What .venv holds: enough to run, or everything.
RUNS = .venv/.ready-run
TESTS = .venv/.ready-test

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

run: $(RUNS) ## start the whole service on an embedded default, at http://localhost:4012
	@$(VENV) run.py

test: $(TESTS) ## run the tests; a part of them with T="tests/api -k login"
	$(VENV) -m pytest $(T)

test-all: $(TESTS) ## the same, and the rest: long stories, every width and theme, the upgrade
	$(VENV) -m pytest --all $(T)
	$(VENV) -m tools.upgrade_check

lint: $(TESTS) ## check style and format
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .

types: $(TESTS) ## check types
	$(VENV) -m mypy

format: $(TESTS) ## rewrite the code in the project's format
	$(VENV) -m ruff check --fix .
	$(VENV) -m ruff format .

check: lint types test ## lint, types and test: what CI runs

lock: $(RUNS) ## pin what pyproject.toml asks for; with UPGRADE=1 everything at its newest
	$(PIP) uv
	$(COMPILE) --output-file requirements.txt pyproject.toml
	$(COMPILE) --output-file requirements-dev.txt --all-extras --constraint requirements.txt pyproject.toml
	$(COMPILE) --output-file requirements-run.txt --extra embedded --constraint requirements-dev.txt pyproject.toml

COMPILE = $(VENV) -m uv pip compile --quiet --universal --python-version 3.11 --annotation-style line \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

bench: $(TESTS) ## measure, and compare with what the hardware allows
	$(VENV) -m tools.bench

chaos: $(TESTS) ## some minutes of bad luck, then compare both sides; another run with A="--seed 2"
	$(VENV) -m tools.chaos $(A)

upgrade-check: $(TESTS) ## upgrade an installation of the release before while it works, and go back
	$(VENV) -m tools.upgrade_check

screenshots: $(TESTS) ## take pictures of every page of the console; needs Chromium
	$(VENV) -m tools.screenshots

postman: $(RUNS) ## write docs/postman_collection.json from the OpenAPI document
	@$(VENV) -m flask --app crm openapi postman > docs/postman_collection.json.new
	@mv docs/postman_collection.json.new docs/postman_collection.json

expose: $(RUNS) ## turn open access off, then tell how to receive HubSpot's webhooks here
	@$(VENV) -m flask --app crm expose

image: ## build the container image
	docker build --tag crm .

# ENGINE is what runs a command in a copy of this folder where the engine is, such as "ssh host cd crm;".
compose-check: ## try docker-compose.yml on a real Docker engine, from first start to last resort
	@$(ENGINE) tools/compose-check

clean: ## remove .venv and every cache; data stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Made anew whenever a pin changes, so that nothing stale stays installed.
$(RUNS): requirements.txt requirements-run.txt
	@for python in $(PYTHON); do \
		$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
			&& found=$$python && break; done; \
	if [ -z "$$found" ]; then echo "No Python 3.11+ with venv in: $(PYTHON). Install one (on Debian:" \
		"apt-get install python3-venv) or name yours: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	printf "Setting up .venv with $$found (once) ... "; began=$$(date +%s); \
	$$found -m venv --clear .venv && echo "$$(($$(date +%s) - began)) s"
	@$(call install,what running needs,requirements-run.txt)
	@touch $@

# On top of what runs; only where pins of its own have changed, all is made anew.
$(TESTS): requirements-dev.txt $(RUNS)
	@if [ -e $@ ]; then rm $(RUNS); $(MAKE) --no-print-directory $(RUNS); fi
	@$(call install,what the tests need,requirements-dev.txt)
	@touch $@

# $(1): what for, $(2): the pins. A pip that fails has left .venv as it was; one that is stopped halfway
# may not have, so .venv does not count as ready meanwhile.
install = ready=$$(ls $(RUNS) 2>/dev/null); rm -f $(RUNS); trap 'echo; exit 130' INT TERM HUP; \
	printf "Installing $(1) ... "; began=$$(date +%s); \
	$(VENV) -m pip install --disable-pip-version-check --quiet --retries 2 --requirement $(2) \
		>.venv/pip.log 2>&1; code=$$?; [ $$code -gt 128 ] || [ -z "$$ready" ] || touch $$ready; \
	if [ $$code = 0 ]; then echo "$$(($$(date +%s) - began)) s"; exit; fi; echo "failed"; \
	if grep -Eiq 'connection (broken|failed)|timed out|confirming the ssl|failed to (resolve|connect)' .venv/pip.log; \
	then echo "pip cannot reach the package index: connect this machine to the network, or set PIP_INDEX_URL" \
		"to a mirror or HTTPS_PROXY to your proxy, and run make again." >&2; \
	else echo "pip says: $$(grep '^ERROR' .venv/pip.log | tail -n 1); the rest is in .venv/pip.log." >&2; fi; exit 1
