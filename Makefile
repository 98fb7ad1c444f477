# Everything below works with Python 3.11 or newer, make and git; uv, where there is one, makes the environment faster.
PYTHON ?= python3
DEVICE ?= cpu
CORES ?= all
UPGRADE ?=

BIN := .venv/bin
LOCKS := cpu cuda12 dev
# With a GPU the trained fits run there; the default is the CPU even where JAX would find one.
CHAIN := PATH="$(CURDIR)/$(BIN):$$PATH" $(if $(filter cpu,$(DEVICE)),,JAX_PLATFORMS=cuda) snakemake

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: reproduce verify paper smoke bench test lint lock clean help

reproduce: .venv/.locked-$(DEVICE) .venv/.editable ## every table, figure and the report from config/config.yaml, on the CPU
	$(call run_chain,results,)

paper: .venv/.locked-$(DEVICE) .venv/.editable ## the same at full scale from config/paper.yaml (with a GPU: DEVICE=cuda12)
	$(call run_chain,results/paper,--configfile config/paper.yaml$(if $(filter cpu,$(DEVICE)),, --resources gpu=1))

# Its programs are small, and compiled as those of tests/conftest.py: most of the time would go into compiling them well.
smoke: export JAX_DISABLE_MOST_OPTIMIZATIONS ?= 1
smoke: export XLA_FLAGS ?= --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
smoke: .venv/.locked-$(DEVICE) .venv/.editable ## the same at the smallest scale from config/smoke.yaml, to see that the chain runs
	$(call run_chain,results/smoke,--configfile config/smoke.yaml)

verify: reproduce ## the tables of results/ against those recorded in results/reference
	$(BIN)/python -m conjugate_moments.metrics.reference results/tables results/reference

bench: .venv/.locked-$(DEVICE) .venv/.editable ## conjugate, training step and fit timed beside their peers, into results/benchmarks (leave the machine idle)
	$(BIN)/python benchmarks/conjugate.py --fits results/benchmarks/fits results/benchmarks/conjugate.csv
	$(BIN)/python benchmarks/scaling.py results/benchmarks/scaling.csv
	$(BIN)/python benchmarks/fit.py results/benchmarks/fit.csv

test: lint ## every check, then the tests
	$(BIN)/pytest

lint: .venv/.locked-dev .venv/.editable ## style, rules of the chain, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(CHAIN) --lint
	$(BIN)/basedpyright
	$(BIN)/lint-imports

lock: ## compile requirements/*.in into hash-pinned locks (needs uv; UPGRADE=--upgrade moves to newer versions)
	cd requirements && for name in $(LOCKS); do \
	    uv pip compile $$name.in --output-file $$name.lock --quiet $(UPGRADE) --universal --fork-strategy fewest \
	        --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	        || exit 1; \
	done

clean: ## remove what the chain and the checks wrote; keeps .venv, results/README.md and results/reference
	find results -mindepth 1 -maxdepth 1 ! -name README.md ! -name reference -exec rm -rf {} +
	rm -rf .snakemake .pytest_cache .ruff_cache .import_linter_cache .hypothesis

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

# $(1): folder of the outputs, $(2): options. The report is written again only when a table or a figure is newer than it.
define run_chain
$(CHAIN) --cores $(CORES) $(2)
@if [ ! -e $(1)/report.html ] || [ -n "$$(find $(1)/tables $(1)/figures -type f -newer $(1)/report.html 2>/dev/null)" ]; then \
    $(CHAIN) $(2) --report $(1)/report.new.html && mv $(1)/report.new.html $(1)/report.html; \
fi
endef

# The environment: a stamp per lock, made again when that lock changes.
.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Python 3.11 or newer is needed, and PYTHON=$(PYTHON) is not one: try make PYTHON=python3.12" >&2; exit 1; }
	@if command -v uv >/dev/null; then uv venv --quiet --clear --python "$$(command -v $(PYTHON))" .venv; \
	else $(PYTHON) -m venv --clear .venv; fi

.venv/.locked-%: requirements/%.lock | .venv/pyvenv.cfg
	@echo "Installing requirements/$*.lock into .venv"
	@if command -v uv >/dev/null; then uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $<; \
	else $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip; \
	    $(BIN)/python -m pip install --quiet --require-hashes -r $<; fi
	@touch $@
	@if [ $* = dev ]; then touch .venv/.locked-cpu; fi # dev.lock holds all that cpu.lock holds

.venv/.editable: pyproject.toml | .venv/.locked-$(DEVICE)
	@if command -v uv >/dev/null; then uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .; fi
	@touch $@
