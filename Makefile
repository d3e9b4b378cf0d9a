# Everything here runs in .venv, which scripts/bootstrap.sh builds and keeps up to date.
# PYTHON=python3.12 make test chooses the interpreter.

.DEFAULT_GOAL := help
.PHONY: demo test quick coverage check format privileged soak clean help environment

RUN := .venv/bin/python -m
PYTEST := $(RUN) pytest
# Tests often wait for programs that they started, so three tests at a time suit two cores.
# loadgroup hands them out one by one: the first few hundred take longer than all the others.
JOBS ?= 3
PARALLEL := -n $(JOBS) --dist loadgroup

environment:
	@sh scripts/bootstrap.sh

demo: environment ## watch a real tree travel sealed between two devices (KEEP=1 leaves it running)
	@$(RUN) bench.demo $(if $(filter-out 0,$(KEEP)),--keep)

test: environment ## every test that needs no root
	$(PYTEST) $(PARALLEL) -m "not privileged and not soak"

quick: environment ## the tests to run while working, within a minute
	$(PYTEST) -m "not slow and not privileged and not soak"

privileged: environment ## the tests that need root
	@if grep -rqE --include='*.py' 'mark\.privileged' tests; then \
		if [ "$$(id -u)" -ne 0 ]; then echo "make privileged needs root" >&2; exit 1; fi; \
		$(PYTEST) -m privileged; \
	else \
		echo "there are no privileged tests yet"; \
	fi

SEEDS ?= 2000
soak: environment ## long searches (SEEDS=n simulations), and the rivals of the benchmark that are installed
	SEEDS=$(SEEDS) $(PYTEST) -m soak

coverage: environment ## branches of the executor and the disk layer that SEEDS=n simulations take; at least 95 %
	$(RUN) scripts.simulation_coverage $(SEEDS)

check: environment ## format, lint, types and import rules
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	.venv/bin/lint-imports --no-logo

format: environment ## format the code and fix what can be fixed
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

clean: ## remove the environment and everything built
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
