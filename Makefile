# Everything a developer runs. Only Python 3.11+ and make are needed; `make hapi` also needs Java 17
# and Maven, the foreign clients of `make test-hapi` need npm.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
JOBS ?= auto
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

HAPI_PORT ?= 8080
HAPI_JAVA_OPTS ?= -Xmx1g
HAPI_ARGS ?=
HAPI_JAR := hapi/target/hapi-r4.jar
MVN ?= mvn

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types layers unit hapi hapi-jar test-hapi clients bench \
	noninterference documents dockerfile clean

help:
	@echo "make demo ARGS='--cases 3'   sample server, proxy, and a token per role to try"
	@echo "make test                    linters, types, layers, tests with branch coverage"
	@echo "make hapi HAPI_PORT=8080     build and start a real HAPI FHIR R4 server on loopback"
	@echo "make test-hapi               the integration tests against HAPI"
	@echo "make bench                   speed, as ratios taken in one run"
	@echo "make documents N=2000        that many generated documents by every policy, before HAPI"
	@echo "make noninterference N=5000  pairs of requests, a role, that hidden data must not change"

# A stamp for each set of packages: the environment is made once, and again when pyproject.toml
# changes.
$(VENV)/made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/run: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/dev: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/run

install: $(VENV)/dev

demo: $(VENV)/run
	@$(BIN)/ecr-proxy demo $(ARGS)

test: lint types layers unit

lint: $(VENV)/dev
	$(BIN)/ruff check .

types: $(VENV)/dev
	$(BIN)/mypy

layers: $(VENV)/dev
	$(BIN)/lint-imports

# Suites that run long are for what they find, not for what they cover: measuring would make them
# half as fast.
LONG := tests/attacks tests/equivalence tests/faults tests/noninterference
UNIT := $(BIN)/pytest -m 'not hapi' -n $(JOBS)
unit: $(VENV)/dev
ifeq ($(ARGS),)
	$(UNIT) --dist loadfile $(addprefix --ignore=,$(LONG)) --cov --cov-branch \
		--cov-report=term:skip-covered --cov-fail-under=94
	$(UNIT) --dist worksteal $(LONG)
else
	$(UNIT) --dist loadfile --cov --cov-branch --cov-report=term:skip-covered $(ARGS)
endif

$(HAPI_JAR): hapi/pom.xml $(shell find hapi/src -type f)
	$(MVN) -B -ntp -q -f hapi/pom.xml package

hapi-jar: $(HAPI_JAR)

hapi: $(HAPI_JAR)
	java $(HAPI_JAVA_OPTS) -jar $(HAPI_JAR) --port $(HAPI_PORT) $(HAPI_ARGS)

# The clients of the foreign-client tests; the npm one in a folder of its own.
clients: $(VENV)/clients tests/clients/node_modules/made
$(VENV)/clients: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --editable '.[clients]'
	@touch $@
tests/clients/node_modules/made: tests/clients/package.json
	npm --prefix tests/clients install --no-package-lock --no-audit --no-fund --silent
	@touch $@

# Starts the HAPI of this repository, and a second one for what views show, unless HAPI_URL and
# HAPI_VIEW_URL name running ones.
test-hapi: $(HAPI_JAR) clients
	CI=true $(BIN)/pytest -m hapi $(ARGS)

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks $(ARGS)

# Is all that is shown of them valid, and does nothing hidden come out?
documents: $(VENV)/dev $(HAPI_JAR)
	GENERATED_DOCUMENTS=$(or $(N),2000) $(BIN)/pytest tests/policy/test_documents.py \
		tests/hapi/test_validity.py $(ARGS)

noninterference: $(VENV)/dev
	NONINTERFERENCE_PAIRS=$(or $(N),5000) $(BIN)/pytest -n $(JOBS) -m 'not hapi' tests/noninterference $(ARGS)

$(VENV)/container: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --editable '.[container]'
	@touch $@

dockerfile: $(VENV)/container
	$(BIN)/hadolint Dockerfile hapi/Dockerfile
	$(BIN)/python scripts/run_dockerfile.py

clean:
	rm -rf $(VENV) hapi/target tests/clients/node_modules .mypy_cache .ruff_cache .pytest_cache
