# The two commands: `make train` and `make test`. `make help` lists the rest.

ENV  = Walker2d-v4
ALGO = stddpg-al
ARGS =

PYTHON ?= python3
# Where libtorch comes from: lean, full, python, a folder or a package index (see docs/getting-started.md).
# The last choice is kept.
TORCH ?= $(or $(LIBTORCH),$(if $(LIBTORCH_USE_PYTORCH),python),$(shell cat .venv/torch 2>/dev/null),lean)

# Set-up runs again when its inputs, the choice of libtorch or the place of this checkout changed.
DONE = $(and $(filter $(TORCH),$(shell cat .venv/torch 2>/dev/null)),$(shell grep -sF '"$(CURDIR)/.venv/' .cargo/config.toml))
SETUP_INPUTS = scripts/setup.py pyproject.toml requirements.txt $(if $(DONE),,FORCE)
SETUP = $(PYTHON) scripts/setup.py --torch '$(TORCH)'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: setup ## set up, then train: ENV=Walker2d-v4 ALGO=stddpg-al ARGS="--steps 20000"
	@cargo run --release --locked -- --env $(ENV) --algo $(ALGO) $(ARGS)

test: .venv/setup-test ## set up, then check everything: format, lints, spelling, Rust tests, Python tests
	cargo fmt --all --check
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/typos
	.venv/bin/mypy
	cargo clippy --release --workspace --all-targets --locked -- -D warnings
	cargo build --release --locked
	cargo test --release --workspace --locked
	cargo test --release --package stac-agents --no-default-features --locked
	$(MAKE) wheel
	.venv/bin/python -m pip install --quiet --no-deps --force-reinstall --no-index --find-links dist stac-bench
	.venv/bin/python -m pytest tests --numprocesses 2 --dist loadfile

wheel: setup ## build the Python package into dist/
	.venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .

bench: setup .venv-bench/setup ## install the peers at their pinned versions, then measure against them (25 minutes)
	cargo build --release --locked --workspace --bins --examples
	.venv-bench/bin/python benchmarks/bench.py $(ARGS)

cost: setup .venv-bench/setup ## measure how an update's cost grows with batch, width and actions: ARGS="--quick"
	cargo build --release --locked --workspace --bins --examples
	.venv-bench/bin/python benchmarks/cost.py $(ARGS)

crash: .venv/setup-test ## kill and resume runs, and compare them: ARGS="--kills 200 --jobs 2"
	cargo build --release --locked
	.venv/bin/python benchmarks/crash.py $(ARGS)

docs: setup ## build the site into site/
	@$(SETUP) docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

report: setup ## install what `stac-bench report` needs
	@$(SETUP) report

results: report ## rebuild docs/results.md from the runs in benchmarks/figure3/data
	@PYTHONPATH=bridge/python .venv/bin/python benchmarks/figure3/answer.py

install: setup ## put stac-bench on the PATH
	cargo install --path . --locked

setup: .venv/setup-train ## Python packages, libtorch and cargo's settings, nothing built

clean: ## remove what set-up and build made; runs stay
	rm -rf .venv .venv-bench .cargo target site

.venv/setup-train: $(SETUP_INPUTS) | python
	@$(SETUP) train
	@touch $@

.venv/setup-test: .venv/setup-train
	@$(SETUP) test
	@touch $@

.venv-bench/setup: benchmarks/requirements.txt | python
	@echo 'Installing the peers, PyTorch with CUDA among them (5.7 GB)'
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt
	@touch $@

python:
	@command -v $(PYTHON) >/dev/null || { echo "missing: Python >= 3.10 ($(PYTHON)): apt install python3 python3-venv python3-dev" >&2; exit 1; }

.PHONY: help train test wheel bench cost crash docs report results install setup clean python FORCE
