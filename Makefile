# Two commands matter: `make chaos-spike` and `make test`. Each sets up what is missing first.
# Works with GNU make 3.81 (macOS) and later.

STACK ?= local
LLM ?=
MODEL ?=
ARGS ?=
TESTS ?= tests
# More than a small machine has cores: many tests wait for a process of their own.
WORKERS ?= 3
BIN := .venv/bin
# In CI scripts/test-in-ci, which gives tests of real processes a second chance.
PYTEST ?= $(BIN)/pytest
RUN_FLAGS = $(if $(filter-out local,$(STACK)),--stack $(STACK)) $(if $(LLM),--llm '$(LLM)') $(if $(MODEL),--model '$(MODEL)') $(ARGS)
SETUP_FOR_RUN = $(if $(filter local/vllm,$(STACK)/$(LLM)),vllm,setup)

.DEFAULT_GOAL := help
.PHONY: recall help setup setup-dev vllm test test-vllm test-all check reference format lock list doctor clean bench-service bench-embedder bench-vector-db bench-model-server bench-proxy calibration soak FORCE

help: ## list what make can do
	@echo "ragquake: does a RAG service survive a tenfold spike and a failing dependency?"
	@echo
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  STACK=compose runs on the containers of docker-compose.yml instead of local processes,"
	@echo "  LLM=vllm (or the URL of a server that runs) and MODEL=… choose the model server,"
	@echo "  ARGS='…' passes flags on to ragquake, PYTHON=python3.12 picks the Python to set up with."

chaos-ci: $(SETUP_FOR_RUN) FORCE ## run the suite of experiments for CI: one verdict, one JUnit file, one summary
	$(BIN)/ragquake suite ci $(RUN_FLAGS)

chaos-%: $(SETUP_FOR_RUN) FORCE ## run the experiment of that name, e.g. make chaos-spike
	$(BIN)/ragquake run $* $(RUN_FLAGS)

list: setup ## list the experiments
	@$(BIN)/ragquake list

doctor: setup ## say what this machine offers and what follows from it
	@$(BIN)/ragquake doctor

setup: ## install what is missing: packages, Toxiproxy, search index
	@sh scripts/setup

setup-dev: ## the same, with what the tests need
	@sh scripts/setup --dev

vllm: ## the same, with real vLLM in an environment of its own and a tiny model for it (6 GB)
	@sh scripts/setup --vllm

test: setup-dev check ## linters, types, import rules, unit and contract tests
	$(PYTEST) $(TESTS) --ignore=tests/scenario -n $(WORKERS) --dist loadfile $(ARGS)

test-all: test ## the same and the scenarios, which start real stacks, one after the other
	$(BIN)/pytest tests/scenario $(ARGS)

test-vllm: setup-dev vllm ## the model server's conformance suite and a disturbed run, against real vLLM
	RAGQUAKE_TEST_VLLM=1 $(PYTEST) tests/conformance tests/scenario/test_real_vllm.py $(ARGS)

check: setup-dev ## linters, types and import rules alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy scripts/*.py
	$(BIN)/lint-imports

recall: setup ## recall@5 of each retrieval leg and of both (ARGS='--check' holds the baseline)
	$(BIN)/python -m bench.recall $(ARGS)

bench-service: setup-dev ## CPU per answer; goodput to 10x of capacity, on, off, and a tutorial's (ARGS='--quick': 4 minutes)
	$(BIN)/python -m bench.service $(ARGS)

bench-embedder: setup ## embedding in micro-batches against one question at a time, at 64 callers
	$(BIN)/python -m bench.embedder $(ARGS)

bench-vector-db: setup ## a million vectors behind HTTP at 50 searches/s, with recall (some 5 minutes, 6 GB of memory)
	$(BIN)/python -m bench.vector_db $(ARGS)

bench-model-server: setup ## streamed tokens/s per core of the simulator, beside mock servers from PyPI (ARGS='--quick')
	$(BIN)/python -m bench.model_server $(ARGS)

bench-proxy: setup ## the built-in proxy beside Toxiproxy: requests/s, MB/s, added p50/p99 (4 minutes; ARGS='--quick')
	$(BIN)/python -m bench.proxy $(ARGS)

calibration: vllm ## the simulator beside published H100 curves and beside real vLLM (5 minutes; ARGS='--out DIR')
	$(BIN)/python -m bench.calibration $(ARGS)

soak: setup ## ten minutes at half capacity: memory, descriptors, tasks, connections (ARGS='--minutes 2')
	$(BIN)/python -m bench.soak $(ARGS)

reference: setup-dev ## make the generated parts of docs/reference anew: commands, keys, faults, assertions, schemas
	$(BIN)/python -m chaos.cli.reference
	$(BIN)/python -m chaos.experiment.reference
	$(BIN)/python -m slo.assertions.reference > docs/reference/assertions.md

format: setup-dev ## put the code into its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## make the locks in requirements/ anew (needs uv; UPGRADE=1 takes newer versions)
	sh scripts/lock $(if $(UPGRADE),--upgrade)

clean: ## remove what set-up and runs made here (bundles in runs/ stay)
	rm -rf .venv .ragquake .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

FORCE:
