# make demo    the whole thing on an embedded Postgres, with a receiver that verifies
# make test    every check and every test that this machine has the tools for
# make check   formatting, lint, types, and who may import whom
# make bench   all benchmarks, a quick size each, in less than fifteen minutes; rewrites the tables of docs/performance.md
# make bench-full   the sizes that the bars are for, in under two hours; rewrites them too
# make soak    10,000,000 events through, of which a million are kept: twenty minutes to an hour; its table too
# make audit   the locked packages against the database of known weaknesses, on the network; fails where it can't be asked
# make lock    write requirements/ anew after pyproject.toml has changed; make lock LOCK=--upgrade: with the newest versions
# make torture  writers, relays and receivers under a nemesis, for ten minutes (SECONDS=60 SEED=7); docs/reliability.md
# make fuzz-api  5,000 requests to the admin API, made from its OpenAPI document (REQUESTS=20000 SEED=7)
# make mutants  rules put out of force by hand, each of which a named test must notice
# make clean   remove what these made
#
# PYTHON=/path/to/python3.12 chooses the interpreter; otherwise the first of these that is 3.11 or newer.

PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(firstword $(foreach name,$(PYTHONS),$(if $(shell $(name) -c $(IS_NEW_ENOUGH) 2>/dev/null && echo yes),$(name))))
IS_NEW_ENOUGH := 'import sys; sys.exit(sys.version_info < (3, 11))'

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
CODE = $(wildcard relay benchmarks tests)

# What each file of requirements/ is for; dev comes first, and the others take its versions.
LOCKS := dev demo run parquet build tools
LOCKED_dev := pyproject.toml --extra dev --group build
LOCKED_demo := pyproject.toml --extra demo --group build
LOCKED_run := pyproject.toml
LOCKED_parquet := pyproject.toml --extra parquet
LOCKED_build := --group build
LOCKED_tools := --group tools
COMPILE := .venv/tools/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command 'make lock'

.DELETE_ON_ERROR:
.PHONY: demo test check bench bench-full soak audit lock torture mutants fuzz-api clean

demo: .venv/.installed-demo
	$(BIN)/rowhook demo $(DEMO)

test: .venv/.installed-dev
	$(BIN)/python -m tests.tiers
	$(MAKE) check
	$(BIN)/python -m tests.versions

check: .venv/.installed-dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks --quick --write-docs $(BENCH)

bench-full: .venv/.installed-dev
	$(BIN)/python -m benchmarks --full --write-docs $(BENCH)

soak: .venv/.installed-dev
	$(BIN)/python -m benchmarks retention --full --write-docs

audit: .venv/tools/.installed
	.venv/tools/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off $(AUDIT) -r requirements/dev.txt -r requirements/tools.txt

lock: .venv/tools/.installed
	@for lock in $(LOCKS); do $(MAKE) --no-print-directory lock-$$lock || exit 1; done

lock-%:
	$(COMPILE) $(LOCK) $(LOCKED_$*) $(if $(filter dev,$*),,-c requirements/dev.txt) -o requirements/$*.txt

torture: .venv/.installed-dev
	$(BIN)/python -m tests.torture $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(TORTURE)

fuzz-api: .venv/.installed-dev
	$(BIN)/python -m tests.api.fuzz $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SEED),--seed $(SEED))

mutants: .venv/.installed-dev
	$(BIN)/python -m tests.torture.mutants

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Nothing but what is locked, and then the project itself by the locked builder. What dev installs includes what demo does, but
# each stamp stands for commands that really ran.
.venv/.installed-%: requirements/%.txt pyproject.toml | .venv/bin/python
	$(PIP) --require-hashes -r $<
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/tools/.installed: requirements/tools.txt | .venv/bin/python
	$(BIN)/python -m venv --clear .venv/tools
	.venv/tools/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r $<
	@touch $@

.venv/bin/python:
	@if [ -z '$(PYTHON)' ]; then \
	  echo 'Rowhook needs Python 3.11 or newer; none of $(PYTHONS) is. Install one, or say: make PYTHON=/path/to/python3' >&2; \
	  exit 1; \
	fi
	@'$(PYTHON)' -c $(IS_NEW_ENOUGH) || { \
	  echo 'Rowhook needs Python 3.11 or newer; $(PYTHON) is not, or does not run.' >&2; exit 1; }
	@'$(PYTHON)' -m venv --clear .venv || { \
	  rm -rf .venv; echo 'No virtual environment could be made; on Debian: apt-get install python3-venv' >&2; exit 1; }
