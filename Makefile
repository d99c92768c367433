# make run    set up .venv and run the demo: video source -> detector -> topics; results in out/
# make test   set up .venv with the test packages and run linters and tests
# make test-large   export and build the large models at full size (minutes, 8 GB of memory); not part of make test
# make test-gpu   tests that need an NVIDIA GPU and a torch that can use it, TORCH=torch; skipped where there is none
#
# PYTHON=python3.11   the Python the environment is made with (3.10 to 3.12)
# TORCH='torch==2.11.0 --index-url https://download.pytorch.org/whl/cpu'   pip arguments that install torch for the tests
# MODEL=runs/bundle   the model of the demo, a bundle directory, instead of the default one
# ARGS='--seconds 60 --source 0'   further arguments of the demo
# PYTEST_ARGS='-k node'   further arguments of pytest

PYTHON ?= python3
VENV ?= .venv
TORCH ?=
MODEL ?=
ARGS ?=
PYTEST_ARGS ?=
BIN := $(VENV)/bin

# ROS 2 must not leave this machine, and two checkouts must not hear each other: decided before any process loads it.
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
ifndef ROS_DOMAIN_ID
export ROS_DOMAIN_ID := $(shell echo $$(( $$$$ % 100 + 1 )))
endif

.PHONY: run test test-gpu test-large lint env-run env-test clean

run: env-run
	@$(BIN)/python -m anydepth_ros.demo $(if $(MODEL),--bundle '$(MODEL)') $(ARGS)

# Plugins are named one by one: those of a sourced ROS 2 do not load with a recent pytest.
PYTEST := PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/python -m pytest -q -rs -p pytest_timeout
# 5 is pytest's "no test was selected", which PYTEST_ARGS may do in one of the two folders.
SELECTED := $(if $(PYTEST_ARGS),|| test $$? -eq 5)

# The core's tests share two processes of one thread each; those of the nodes watch the clock and run alone.
test: env-test lint
	@OMP_NUM_THREADS=1 $(PYTEST) -p xdist -n 2 --dist loadfile tests/anydepth_core $(PYTEST_ARGS) $(SELECTED)
	@$(PYTEST) tests/anydepth_ros $(PYTEST_ARGS) $(SELECTED)

# Not named test_*: only this collects them.
test-large: env-test
	@$(PYTEST) tests/anydepth_core/export/large_models.py $(PYTEST_ARGS)

test-gpu: env-test
	@$(PYTEST) tests/gpu $(PYTEST_ARGS)

lint: env-test
	@$(BIN)/ruff check .
	@$(BIN)/mypy

env-run:
	@$(PYTHON) tools/setup_env.py --venv $(VENV) --for run

env-test:
	@$(PYTHON) tools/setup_env.py --venv $(VENV) --for test --torch '$(TORCH)'

clean:
	rm -rf build install log out .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
