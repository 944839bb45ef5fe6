# One command for each thing a person does here. Needs Python 3.11 to 3.13 and make, nothing else.
# PYTHON names another interpreter: make demo PYTHON=/path/to/python3.12

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test evidence up check bench fuzz errors-page lock

# Without cached bytecode every start pays for compiling again; a PYTHONPATH of somebody else's brings surprises.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH
export PYTHON
PYTHON ?= python3
PY := .venv/bin/python
CLI := $(PY) -m orchestration.cli.main

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: ## Make the environment in .venv (the others do it by themselves)
	@sh deploy/environment.sh runtime

setup-dev:
	@sh deploy/environment.sh dev

demo: setup ## Take a sample file through the whole pipeline and show where the results are
	@sh deploy/demo.sh

up: setup ## Run everything until Ctrl-C: database, services, Dagster UI, watched import folder
	@exec $(CLI) up

test: setup-dev ## Run the whole test suite (a part of it: ARGS=tests/unit)
ifeq ($(ARGS),)
	@$(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not alone"
	@$(PY) -m pytest -m alone
else
	@$(PY) -m pytest $(ARGS)
endif

evidence: setup-dev ## Prove exactly-once: kill, cut and disturb it thousands of times (ARGS="--minutes 5")
	@$(PY) -m evidence $(ARGS)

check: setup-dev ## Check style, types, the rooms' one-way imports, and Dagster's definitions
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -c 'from importlinter.cli import lint_imports_command as run; run()'
	sh deploy/check-definitions.sh

bench: setup-dev ## Measure speed and memory, as ratios to what the machine can do
	@$(PY) -m benchmarks $(ARGS)

fuzz: setup-dev ## Read 20,000 damaged files of a new seed (the suite reads 1,000); FILES=n SEED=n for others
	@BULK_ORDERS_FUZZ_FILES=$(or $(FILES),20000) BULK_ORDERS_FUZZ_SEED=$(or $(SEED),$(shell date +%s)) \
		$(PY) -m pytest tests/unit/test_reading_fuzz.py $(ARGS)

errors-page: setup-dev ## Write docs/errors.md, the page of all error codes, anew
	@$(PY) -m domain.error_page docs/errors.md

lock: ## Write the lock files anew (needs uv on PATH)
	uv pip compile $(LOCK) pyproject.toml -o requirements.lock
	uv pip compile $(LOCK) --group dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock

LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --quiet \
	--upgrade --custom-compile-command 'make lock'
