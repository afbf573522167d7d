# The tasks of a developer. `make` without a target lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# This file exists when the environment is complete; a change of a lock file makes it out of date.
SETUP := $(VENV)/.complete
SOURCES := shared functions local scripts tests

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}'

.PHONY: setup
setup: $(SETUP) ## Install everything into .venv, hash-pinned (every other target runs this first)

# Every Python 3 can run this check, and Python 2 too.
CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || { echo "Helios needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }

$(SETUP): requirements.lock pyproject.toml
	@$(CHECK_PYTHON)
	@echo "Installing into $(VENV)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) \
	  || { echo "Python's venv module is missing: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	@awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --python $(PY) --require-hashes --compile-bytecode requirements.lock
	@$(BIN)/uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: local-demo
local-demo: ## Run all of Helios on this machine, with traffic; Ctrl-C ends it (ARGS="--rate 100" and more)
	@$(CHECK_PYTHON)
	@PYTHONPATH=shared $(PYTHON) -m local.demo.clone $(ARGS)

.PHONY: demo-year
demo-year: setup ## Make a year of events, archive it and query it; then serve the database until Ctrl-C (ARGS=--exit)
	@$(PY) -m local.demo.year $(ARGS)

.PHONY: local-stop
local-stop: setup ## Stop a demo that runs in another terminal
	@$(PY) -m local.demo.stop

.PHONY: dev
dev: dashboard ## Run the demo without traffic; the API and the dashboard reload when their code is saved
	@$(PY) -m local.demo --no-traffic --reload $(ARGS)

.PHONY: psql
psql: setup ## Open psql on the database of the running demo (ARGS="-c 'SELECT ...'")
	@$(PY) -m local.demo.psql $(ARGS)

.PHONY: compose-demo
compose-demo: ## Run the demo in containers with Docker Compose; Ctrl-C ends it
	@docker compose version >/dev/null 2>&1 \
	  || { echo "make compose-demo needs Docker with its plugin compose: docs.docker.com/compose/install"; exit 1; }
	@docker compose --env-file local/images.env --file local/compose.yaml up --build --remove-orphans

.PHONY: flink
flink: setup ## Install Apache Flink's Python environment and jars (750 MB; Java 17, Maven, Python 3.11 or 3.12)
	@$(PY) -m local.servers.apache_flink.environment

.PHONY: dashboard
dashboard: setup ## Build the dashboard into dashboard/dist (does nothing when it is up to date)
	@$(PY) -m local.demo.dashboard_build

.PHONY: wheel
wheel: dashboard ## Build the wheel of Helios, with the dashboard, into dist/ (pip install dist/*.whl, then: helios serve)
	@rm -rf dist && $(BIN)/uv build --quiet --wheel --no-build-isolation --python $(PY) --out-dir dist

# Most tests mostly wait for a server, so two workers share a core. Each worker has its own servers.
WORKERS := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
PYTEST := $(PY) -m pytest --progress --numprocesses $(WORKERS)

.PHONY: test
test: dashboard ## Run all tests that are not slow; each starts the servers it needs (ARGS goes to pytest)
	@$(PYTEST) -m "not slow" $(ARGS)

.PHONY: test-long
test-long: dashboard ## Run the slow tests, and the property tests with many more examples
	@$(PYTEST) -m "slow or hypothesis" --hypothesis-profile=long $(ARGS)

# The tests of the stores and of crashes, once more with a pooler between Helios and Postgres.
.PHONY: test-pooler
test-pooler: setup ## Run the contract and crash tests through PgBouncer in transaction mode (Debian: pgbouncer)
	@$(PYTEST) --pooler -m "not slow" tests/contract $(wildcard tests/integration/test_*crash*.py) $(ARGS)

.PHONY: unit
unit: setup ## Run the pure tests, without servers and npm, in less than a minute
	@$(PYTEST) --numprocesses auto -m "unit and not slow" tests/unit tests/scripts $(ARGS)

# What runs in a process of its own (the API under load, the emulators, the demo) is not measured: the figure is that of
# the tests that call the code themselves. Python 3.12 and newer measure at almost no cost (sys.monitoring).
.PHONY: coverage
coverage: setup ## Measure what the tests without processes of their own execute; a page is in build/coverage
	@COVERAGE_CORE=$$($(PY) -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")') \
	  $(PYTEST) -m "not slow" $(addprefix tests/,unit scripts contract functions) --durations=0 --durations-min=30 \
	  --cov --cov-report=term:skip-covered --cov-report=html:build/coverage/html --cov-report=xml:build/coverage/coverage.xml \
	  $(ARGS)

.PHONY: durations
durations: dashboard ## Measure how long each test file takes, from which `make test` estimates the remaining time
	@$(PYTEST) --record-durations $(ARGS)

.PHONY: lint
lint: dashboard ## Check style, types, layers, words, and the API's documents by other people's tools
	@cd dashboard && npm run --silent lint && npm run --silent typecheck && npm run --silent types:check
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(PY) -m scripts.build.words
	@$(PY) -m scripts.build.api_lint

.PHONY: audit
audit: dashboard ## Check pinned packages for known vulnerabilities and missing hashes, and tracked files for secrets
	@$(PY) -m scripts.build.audit

.PHONY: policy
policy: setup ## Check the Terraform code against checkov's policies, and the workflows against zizmor's
	@$(PY) -m scripts.build.tools infra/terraform/checkov.lock \
	  checkov --quiet --compact --skip-download --framework terraform --directory infra/terraform
	@$(PY) -m scripts.build.tools scripts/build/audit.lock \
	  zizmor --quiet --offline --min-severity medium .github

.PHONY: check
check: lint policy audit test test-pooler coverage test-long ## Run everything that CI runs

.PHONY: prove
prove: setup ## Inject anomalies into live traffic and compare Helios' reports with the truth (ARGS="--orders 200")
	@$(PY) -m scripts.prove $(ARGS)

.PHONY: faults
faults: setup ## Kill, stop, freeze and starve each part under load, and check every promise (ARGS=--short: 2 min)
	@$(PY) -m scripts.faults $(ARGS)

.PHONY: bench
bench: setup ## Measure performance (ARGS=--quick for a short run)
	@$(PY) -m scripts.bench $(ARGS)

.PHONY: suite
suite: setup ## Run the suite of a client of Google's on the Pub/Sub emulator (ARGS="python CLONE" or "node CLONE")
	@$(PY) -m scripts.suites $(ARGS)

.PHONY: package
package: setup ## Build every function's archive into build/, with bills of materials (CycloneDX), also of the dashboard
	@$(PY) -m scripts.build.package $(ARGS)
	@$(PY) -m scripts.build.sbom $(filter --traces,$(ARGS))

.PHONY: format
format: setup ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix --quiet $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header

.PHONY: lock
lock: setup ## Update the lock files after a change of dependencies (ARGS=--upgrade for newer versions)
	@$(COMPILE) $(ARGS) --all-extras --group local --group dev pyproject.toml --output-file requirements.lock
	@$(COMPILE) $(ARGS) --extra archive --extra kafka --extra notify --constraint requirements.lock pyproject.toml --output-file serve.lock
	@$(COMPILE) $(ARGS) --constraint <(grep -o '^msgspec==[^ ]*' requirements.lock) flink.in --output-file flink.lock
	@$(COMPILE) $(ARGS) --constraint requirements.lock scripts/build/wheel.in --output-file scripts/build/wheel.lock
	@$(COMPILE) $(ARGS) --constraint requirements.lock scripts/suites/suite.in --output-file scripts/suites/suite.lock
	@$(COMPILE) $(ARGS) local/aws/ministack.in --output-file local/aws/ministack.lock
	@$(COMPILE) $(ARGS) scripts/build/audit.in --output-file scripts/build/audit.lock
	@$(COMPILE) $(ARGS) scripts/build/api_lint/generator.in --output-file scripts/build/api_lint/generator.lock
	@$(COMPILE) $(ARGS) infra/terraform/checkov.in --output-file infra/terraform/checkov.lock
	@$(COMPILE) $(ARGS) infra/terraform/schemas/provider.in --output-file infra/terraform/schemas/provider.lock
	@for requirements in $(wildcard functions/*.in functions/*/requirements.in functions/*/*/requirements.in); do \
	  $(COMPILE) --constraint requirements.lock "$$requirements" --output-file "$${requirements%.in}.txt"; done
