# Everything a person or CI does with this project. Needs Python 3.11+, make and git.
.DEFAULT_GOAL := help
.PHONY: help run test lint types format check lock bench chaos screenshots image compose-check clean

# The interpreters that .venv may be made of, best first; `make run PYTHON=python3.12` names one.
PYTHON = python3 python3.13 python3.12 python3.11 python3.14
# By its path, never through an activated shell: an entry script breaks when the folder moves.
VENV = .venv/bin/python
PIP = $(VENV) -m pip install --disable-pip-version-check -qq
READY = .venv/.ready

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

run: $(READY) ## start the whole service on an embedded default, at http://localhost:4012
	@$(VENV) run.py

test: $(READY) ## run the tests; a part of them with T="tests/api -k login"
	$(VENV) -m pytest $(T)

lint: $(READY) ## check style and format
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .

types: $(READY) ## check types
	$(VENV) -m mypy

format: $(READY) ## rewrite the code in the project's format
	$(VENV) -m ruff check --fix .
	$(VENV) -m ruff format .

check: lint types test ## lint, types and test: what CI runs

lock: $(READY) ## pin what pyproject.toml asks for; with UPGRADE=1 everything at its newest
	$(PIP) uv
	$(COMPILE) --output-file requirements.txt pyproject.toml
	$(COMPILE) --output-file requirements-dev.txt --extra dev --constraint requirements.txt pyproject.toml

COMPILE = $(VENV) -m uv pip compile --quiet --universal --python-version 3.11 --annotation-style line \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

bench: $(READY) ## measure, and compare with what the hardware allows
	$(VENV) -m tests.bench

chaos: $(READY) ## some minutes of bad luck, then compare both sides; another run with A="--seed 2"
	$(VENV) -m tests.chaos $(A)

screenshots: $(READY) ## take pictures of every page of the console; needs Chromium
	$(VENV) -m tests.screenshots

image: ## build the container image
	docker build --tag crm .

# ENGINE is what runs a command in a copy of this folder where the engine is, such as "ssh host cd crm;".
compose-check: ## try docker-compose.yml on a real Docker engine, from first start to last resort
	@$(ENGINE) tests/compose/check

clean: ## remove .venv and every cache; data stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Made anew whenever a pin changes, so that nothing stale stays installed.
$(READY): requirements.txt requirements-dev.txt
	@for python in $(PYTHON); do \
		$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
			&& found=$$python && break; done; \
	if [ -z "$$found" ]; then echo "No Python 3.11+ with venv in: $(PYTHON). Install one (on Debian:" \
		"apt-get install python3-venv) or name yours: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	echo "Setting up .venv with $$found (once, a minute or so)"; $$found -m venv --clear .venv
	@$(PIP) --requirement requirements-dev.txt
	@touch $@
