# Every target works from a fresh clone: the environment is made when it is missing or out of date.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
READY := $(VENV)/.ready
# dvc.yaml calls `python`: it has to be the environment's.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help env repro test bench lint lock clean
help:
	@echo "make repro   the whole pipeline on the demo corpus, then the result table"
	@echo "make test    the tests"
	@echo "make bench   training speed beside the machine's own peak"
	@echo "make lint    ruff and mypy"
	@echo "make lock    resolve requirements/lock.txt anew (needs uv)"
	@echo "make clean   remove the environment and the caches; DVC's outputs stay"

env: $(READY)

# A half-installed environment must not pass for a whole one: the stamp comes last.
$(READY): requirements/lock.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 14) and f"found Python {v[0]}.{v[1]}, expected 3.11 to 3.13: make PYTHON=/path/to/python3.11")'
	@echo "making $(VENV) with the pinned packages (2 to 4 minutes)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lock.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

repro: $(READY)
	dvc repro
	@sernet report

test: $(READY)
	python -m pytest

bench: $(READY)
	python -m benchmarks.training

lint: $(READY)
	ruff check .
	ruff format --check .
	mypy

lock:
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --quiet --upgrade --output-file requirements/lock.txt

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache sernet.egg-info data/cache
