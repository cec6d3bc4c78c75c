# Every command works from a clean clone and, run again, only does what is still missing.
# What it makes lies in .dev/ (Python, models, data), in Cargo's target folder and in the user's cache (ONNX Runtime).

PYTHON ?= python3
CARGO ?= cargo
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export ORT_DISABLE_TELEMETRY = 1

DEV := .dev
VENV_PYTHON := $(DEV)/venv/bin/python
WHIMBREL := $(CARGO_TARGET_DIR)/debug/whimbrel
BENCH_ROWS ?= 1000000,10000000
comma := ,
TESTS ?=

# What reads the sample models and runs the binary as users do.
PYTHON_TESTS := WHIMBREL_BINARY='$(WHIMBREL)' TEST_MODELS='$(CURDIR)/$(DEV)/models' PYTHON='$(CURDIR)/$(VENV_PYTHON)' tools/run_python_tests

.PHONY: help demo test python chaos lint bench bench-kernels bench-lake bench-jobs bench-flight golden setup build models library fixtures zoo clean clean-all
.DEFAULT_GOAL := help

help:
	@echo 'make demo    score a million taxi trips on a pool inside one process'
	@echo 'make test    every test (TESTS=name runs those whose name holds it)'
	@echo 'make lint    formatting, clippy, sizes, dependency arrows, secrets, links'
	@echo 'make python  the wheel of the Python package, into $(DEV)/dist'
	@echo 'make chaos   stores that are away for half a minute, kills at twenty moments, ten million rows pulled, native models at 100,000 rows: what takes too long for make test'
	@echo 'make bench   pools beside plain Python (BENCH_ROWS=1000000 for a quick look), then bench-kernels'
	@echo 'make bench-kernels  the kernels alone, on one core, beside ONNX Runtime, LightGBM, XGBoost and lleaves'
	@echo 'make bench-lake  one huge CSV file, and ten thousand small files beside sixteen (needs 4 GB of disk)'
	@echo 'make bench-jobs  score jobs beside plain Python that writes Parquet too (BENCH_ROWS=1000000 for a quick look)'
	@echo 'make bench-flight  results pulled by Flight: first batch, rows/s, stalled clients; beside Sail and bare servers'
	@echo 'make golden  write the golden files anew; review the diff'
	@echo 'make setup   only what the others need: build, ONNX Runtime, Python packages, models'
	@echo 'make clean   remove what make made here, but for the build; make clean-all removes that too'

demo: setup $(DEV)/data/trips-1m/done.json
	@$(WHIMBREL) demo --trips $(DEV)/data/trips-1m --model $(DEV)/models/fare.onnx --out $(DEV)/demo

test: setup fixtures
	@$(VENV_PYTHON) tools/config_docs.py --whimbrel $(WHIMBREL) --check
	@PYTHON='$(CURDIR)/$(VENV_PYTHON)' tools/run_tests $(TESTS)
	@$(PYTHON_TESTS) $(TESTS)

python: $(DEV)/venv/tests-done
	@echo 'python: building the wheel'
	@mkdir -p $(DEV)/dist
	@$(VENV_PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation --wheel-dir $(DEV)/dist ./python
	@ls $(DEV)/dist/*.whl

chaos: setup fixtures
	@WHIMBREL_CHAOS=1 PYTHON='$(CURDIR)/$(VENV_PYTHON)' tools/run_tests stores_that_fail jobs_ flight_clients native_parity

golden: setup fixtures
	@$(VENV_PYTHON) tools/config_docs.py --whimbrel $(WHIMBREL)
	@WHIMBREL_GOLDEN=write PYTHON='$(CURDIR)/$(VENV_PYTHON)' tools/run_tests $(TESTS)

lint:
	@echo 'lint: tools'
	@$(PYTHON) tools/test_lint.py
	@$(PYTHON) tools/lint.py
	@echo 'lint: formatting'
	@$(CARGO) fmt --all --check
	@echo 'lint: clippy'
	@$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

bench: setup $(DEV)/venv/bench-done
	@$(VENV_PYTHON) bench/run.py --whimbrel $(WHIMBREL) --dev $(DEV) --rows $(BENCH_ROWS)
	@$(MAKE) --no-print-directory bench-kernels

# The crate has no dependencies whose features the rest of the workspace could change, so it is built alone.
bench-kernels: $(DEV)/venv/bench-done
	@$(CARGO) build --quiet --package whimbrel-graph --examples --locked
	@$(VENV_PYTHON) bench/kernels.py --examples $(CARGO_TARGET_DIR)/debug/examples --dev $(DEV)

bench-lake: setup $(DEV)/venv/bench-done
	@$(VENV_PYTHON) bench/lake.py --whimbrel $(WHIMBREL) --dev $(DEV)

setup: build library models

# The largest of BENCH_ROWS, which come in order.
bench-jobs: setup $(DEV)/venv/bench-done
	@$(VENV_PYTHON) bench/jobs.py --whimbrel $(WHIMBREL) --dev $(DEV) --rows $(lastword $(subst $(comma), ,$(BENCH_ROWS)))

bench-flight: setup $(DEV)/venv/tests-done
	@$(VENV_PYTHON) bench/flight.py --whimbrel $(WHIMBREL) --dev $(DEV) --rows $(lastword $(subst $(comma), ,$(BENCH_ROWS)))

# What only the tests need: models of every library with their libraries' own answers, and the servers that hold models.
fixtures: zoo $(DEV)/flavours/done.json $(DEV)/registry/done.json $(DEV)/azurite/done

zoo: $(DEV)/zoo/done.json

models: $(DEV)/models/done.json

build:
	@echo 'build: cargo build (the first one compiles the engine)'
	@$(CARGO) build --workspace --locked

# With the environment's Python first: it has pip, which fetches the library, where the system's may not.
library: build $(DEV)/venv/done
	@PATH="$(CURDIR)/$(DEV)/venv/bin:$$PATH" $(WHIMBREL) setup

$(DEV)/venv/done: tools/requirements.txt tools/make_venv
	@tools/make_venv $(PYTHON) $(DEV)/venv

$(DEV)/models/done.json: $(DEV)/venv/done tools/demo/models.py tools/demo/graphs.py tools/demo/trips.py
	@$(VENV_PYTHON) tools/demo/models.py --out $(@D)

$(DEV)/venv/tests-done: $(DEV)/venv/done tools/requirements-tests.txt
	@echo 'venv: installing what only the tests need (once)'
	@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: -r tools/requirements-tests.txt
	@touch $@

$(DEV)/venv/bench-done: $(DEV)/venv/tests-done bench/requirements.txt
	@echo 'venv: installing what only the benches need (once)'
	@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: -r bench/requirements.txt
	@touch $@

$(DEV)/zoo/done.json: $(DEV)/venv/tests-done tests/models/zoo.py tests/models/images.py tools/demo/trips.py
	@$(VENV_PYTHON) tests/models/zoo.py --out $(@D)

$(DEV)/flavours/done.json: $(DEV)/venv/tests-done tests/models/flavours.py tests/models/zoo.py tools/demo/trips.py
	@$(VENV_PYTHON) tests/models/flavours.py --out $(@D)

$(DEV)/registry/done.json: $(DEV)/zoo/done.json tests/models/registry.py
	@$(VENV_PYTHON) tests/models/registry.py --zoo $(DEV)/zoo --out $(@D)

$(DEV)/azurite/done: $(DEV)/venv/done tools/make_azurite
	@tools/make_azurite $(DEV)/venv $(@D)

$(DEV)/data/trips-1m/done.json: $(DEV)/venv/done tools/demo/trips.py
	@$(VENV_PYTHON) tools/demo/trips.py --rows 1000000 --files 8 --out $(@D)

clean:
	rm -rf $(DEV) .whimbrel

clean-all: clean
	$(CARGO) clean
