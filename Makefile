# make demo    the whole thing on an embedded Postgres, with a receiver that verifies
# make test    every check and every test that this machine has the tools for
# make check   formatting, lint, types, and who may import whom
# make bench   all benchmarks, a quick size each, in some twelve minutes; rewrites the tables of docs/performance.md
# make bench-full   the sizes that the bars are for, in under two hours; rewrites them too
# make clean   remove what these made
#
# PYTHON=/path/to/python3.12 chooses the interpreter; otherwise the first of these that is 3.11 or newer.

PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(firstword $(foreach name,$(PYTHONS),$(if $(shell $(name) -c $(IS_NEW_ENOUGH) 2>/dev/null && echo yes),$(name))))
IS_NEW_ENOUGH := 'import sys; sys.exit(sys.version_info < (3, 11))'

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
CODE = $(wildcard relay benchmarks tests)

.DELETE_ON_ERROR:
.PHONY: demo test check bench bench-full clean

demo: .venv/.installed-demo
	$(BIN)/rowhook demo $(DEMO)

test: .venv/.installed-dev
	$(BIN)/python -m tests.tiers
	$(MAKE) check
	$(BIN)/python -m pytest
	@if $(BIN)/python -m tests.tiers --has postgres15; then \
	  echo 'ROWHOOK_TEST_POSTGRES=15 $(BIN)/python -m pytest'; \
	  ROWHOOK_TEST_POSTGRES=15 $(BIN)/python -m pytest; \
	fi

check: .venv/.installed-dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks --quick --write-docs $(BENCH)

bench-full: .venv/.installed-dev
	$(BIN)/python -m benchmarks --full --write-docs $(BENCH)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What dev installs includes what demo does, but each stamp stands for one command that really ran.
.venv/.installed-%: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[$*]'
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
