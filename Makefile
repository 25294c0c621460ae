# Each target makes .venv and installs what it needs, once: from Python 3.10 or later with pip, nothing else.
#   make demo          train a digit classifier, write pictures into demo-output/
#   make examples      run all programs of examples/, about two minutes
#   make test          tests, doctests, lint
#   make bench         timings side by side with PyTorch
#   make bench-compile compiled functions against PyTorch and JAX [OPS="--inductor --jax /path/to/a/python/with/jax"]
#   make bench-conv    convolutions and pools against PyTorch [OPS="--threads 4"]
#   make bench-ops     every operation against PyTorch, forward and backward [OPS="--ops softmax --sizes small --all"]
#   make lint          ruff, mypy --strict, layers
#   make conformance HARNESS=path/to/opinfo.py [OPS="--ops @tier1.txt"]

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3 python python3.14 python3.13 python3.12 python3.11 python3.10; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
JOBS ?= 2
HARNESS ?=
# The 16-bit dtypes come last: tools/conformance_page.py tells by the first error whether others differ, too.
OPS ?= --modes forward,backward,gradgrad,jvp,vmap,inplace,inplace_backward,method,out,alias,error --timeout 240 \
    --dtypes float32,float64,complex64,complex128,int64,int32,int16,int8,uint8,bool,bfloat16,float16
EXAMPLES ?= digits vae gpt lstm reinforce neural_ode maml laplace finetune

# The products here are small: threads of BLAS gain nothing, and wait for each other where the machine is busy.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help demo examples test bench bench-ops bench-conv bench-compile lint conformance clean

help:
	@sed -n '2,11s/^#   //p' Makefile

# Where Python was packaged without ensurepip, the pip outside fills the environment.
.venv/.made:
	@test -n "$(PYTHON)" || { echo "flambeau needs Python 3.10 or later: make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv >/dev/null 2>&1 || { \
	    $(PYTHON) -m venv --clear --without-pip .venv && $(PYTHON) -m pip --python $(BIN)/python install -q pip; }
	@touch $@

# One stamp per extra; a changed pyproject.toml installs again.
.venv/.has-%: .venv/.made pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[$*]'
	@touch $@

demo: .venv/.has-demo
	$(BIN)/python examples/digits.py

examples: .venv/.has-demo
	@set -e; for name in $(EXAMPLES); do echo "== examples/$$name.py"; $(BIN)/python examples/$$name.py; done

test: .venv/.has-test .venv/.has-lint
	$(BIN)/python -m pytest -n $(JOBS)
	@$(MAKE) --no-print-directory lint

lint: .venv/.has-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# PyTorch is not to be had on every machine; the benchmarks say so and measure the rest.
bench: .venv/.made
	@test -e .venv/.has-reference || $(MAKE) --no-print-directory .venv/.has-reference \
	    || $(MAKE) --no-print-directory .venv/.has-test
	$(BIN)/python benchmarks/core.py

bench-ops: .venv/.made
	@test -e .venv/.has-reference || $(MAKE) --no-print-directory .venv/.has-reference \
	    || $(MAKE) --no-print-directory .venv/.has-test
	$(BIN)/python benchmarks/ops.py $(OPS)

# The settings above are the conformance harness's.
bench-ops bench-conv bench-compile: OPS =

bench-conv: .venv/.made
	@test -e .venv/.has-reference || $(MAKE) --no-print-directory .venv/.has-reference \
	    || $(MAKE) --no-print-directory .venv/.has-test
	$(BIN)/python benchmarks/conv.py $(OPS)

bench-compile: .venv/.made
	@test -e .venv/.has-reference || $(MAKE) --no-print-directory .venv/.has-reference \
	    || $(MAKE) --no-print-directory .venv/.has-test
	$(BIN)/python benchmarks/compiled.py $(OPS)

conformance: .venv/.made
	@if [ -z "$(HARNESS)" ] || [ ! -f "$(HARNESS)" ]; then \
	    echo "conformance: skipped, no harness. Run: make conformance HARNESS=/path/to/opinfo.py (see CONTRIBUTING.md)"; \
	elif $(MAKE) --no-print-directory .venv/.has-test .venv/.has-reference; then \
	    $(BIN)/python "$(HARNESS)" flambeau $(OPS); \
	else \
	    echo "conformance: skipped, torch==2.13.0 cannot be installed here"; \
	fi

clean:
	rm -rf .venv build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
