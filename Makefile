# Every target sets up what it needs: Python 3.11 or newer and make are enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: run test test-all explore check format fuzz soak mutation bench bench-quick clean

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

run: $(READY)
	$(BIN)/python examples/outage.py $(ARGS)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: check
	$(BIN)/pytest -n 2 $(ARGS)

# The tests again on every newer Python that is installed, by pyenv too.
test-all: test
	@for version in 3.12 3.13; do \
	    for python in python$$version $$(pyenv root 2>/dev/null)/versions/$$version.*/bin/python; do \
	        if $$python -c '' 2>/dev/null; then \
	            $(MAKE) test PYTHON=$$python VENV=.venv-$$version || exit 1; continue 2; \
	        fi; \
	    done; \
	    echo "Python $$version is not installed: left out"; \
	done

# Laws and models again, on examples drawn anew and many more of them.
explore: $(READY)
	$(BIN)/pytest -n 2 -m hypothesis --hypothesis-profile explore $(ARGS)

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.venv-fuzz/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[cli]' 'atheris>=3,<4'
	touch $@

# Bytes of all kinds into all that reads them; see fuzz/. Needs Python 3.11 to 3.13.
fuzz: .venv-fuzz/.ready
	.venv-fuzz/bin/python -m fuzz $(ARGS)

# Ten minutes at the highest rate with faults; all must end as it began.
soak: $(READY)
	$(BIN)/python -m tests.soak $(ARGS)

# Break each guard on purpose: some test must fail; writes docs/mutation.md.
mutation: $(READY)
	$(BIN)/python -m tests.mutation $(ARGS)

# Needs the package index for the peers, once; see docs/benchmarks.md.
bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(READY)
	$(BIN)/python -m benchmarks --quick $(ARGS)

clean:
	rm -rf .venv .venv-* build dist out .pytest_cache .mypy_cache .ruff_cache
