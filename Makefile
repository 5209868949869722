# `make help` lists the targets. Needs Python 3.11 to 3.13 and nothing else: PYTHON=python3.12 make test chooses one.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
UV := $(VENV)/bin/uv
DEMO := demo
SIZE := 3.4 GiB to fetch, 7 GiB of disk, 2 to 4 minutes; make setup TORCH=cpu leaves out 2.9 GiB, PyTorch with CUDA
SIZE_CPU := 0.5 GiB to fetch and PyTorch for the CPU, 1.8 GiB of disk and PyTorch; docs/install.md

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint mutants bench bench-gpu lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 19

setup: $(VENV)/.ready  ## make the environment: .venv with the versions of requirements.lock; TORCH=cpu: without CUDA

# sync, not install: what is no longer in the lock, such as the project under a former name, is removed
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "$(PYTHON) is no Python 3.11 to 3.13: name one with make PYTHON=python3.12 ..."; exit 2; }
	@echo "$(VENV): $(if $(TORCH),$(SIZE_CPU),$(SIZE))"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
ifdef TORCH
	awk '/^[a-z]/ { keep = !/^(torch|torchvision|triton|nvidia-[^=]*|cuda-[^=]*)==/ } keep' requirements.lock >$(VENV)/cpu.lock
	$(UV) pip sync --compile-bytecode --python $(RUN) --require-hashes $(VENV)/cpu.lock
	$(UV) pip install --compile-bytecode --python $(RUN) --no-deps --torch-backend $(TORCH) \
		$$(grep -oE '^(torch|torchvision)==[^ ]+' requirements.lock)
else
	$(UV) pip sync --compile-bytecode --python $(RUN) --require-hashes requirements.lock
endif
	$(UV) pip install --quiet --python $(RUN) --no-deps --editable .
	@touch $@

demo: setup  ## color photographs; train on generated scenes for a few minutes of CPU, score unseen ones; two pictures
	$(RUN) train.py experiment=demo hydra.run.dir=$(DEMO)/train
	$(RUN) eval.py ckpt_path=$(DEMO)/train/checkpoints/best.ckpt hydra.run.dir=$(DEMO)/eval
	$(RUN) -m colorize.inference.showcase $(DEMO)/photographs.jpg

test: setup  ## run all tests
	$(RUN) -m pytest -n auto --dist worksteal

lint: setup  ## check style and formatting
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

mutants: setup  ## put 100 small faults into the code and count those that a test notices, about an hour
	$(RUN) -m benchmarks.mutants

bench: setup  ## measure this machine's CPU, about 10 minutes: tables, and benchmarks/results/*.json
	$(RUN) -m benchmarks.train_step --no-compile --rounds 2
	$(RUN) -m benchmarks.epoch
	$(RUN) -m benchmarks.data_path
	$(RUN) -m benchmarks.inference
	$(RUN) -m benchmarks.scaling
	$(RUN) -m benchmarks.start

# No setup: a GPU is often on a machine without a network; benchmarks/gpu_proof.py says what must be there
bench-gpu:  ## check what one GPU computes and measure it, under 9 minutes; without .venv by PYTHON
	$(if $(wildcard $(RUN)),$(RUN),$(PYTHON)) -m benchmarks.gpu_proof

lock: setup  ## renew requirements.lock from pyproject.toml
	$(UV) pip compile pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url \
		--upgrade --quiet --custom-compile-command 'make lock' --output-file requirements.lock

clean:  ## remove the environment and the demo; data and runs stay
	rm -rf $(VENV) $(DEMO)
