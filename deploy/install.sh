#!/bin/sh
# Makes a virtual environment from the pinned files: deploy/install.sh VENV [PYTHON]
# CPU torch comes from $PIP_FIND_LINKS (an air-gapped wheel folder) where that is set, else from PyTorch's own CPU
# index, which uv knows by name.
set -eu
venv=$1
python=${2:-python3.11}
requirements=$(dirname "$0")/requirements
if [ -n "${PIP_FIND_LINKS:-}" ]; then
    set -- --find-links "$PIP_FIND_LINKS"
else
    set -- --torch-backend cpu
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --require-hashes -r "$requirements/bootstrap.txt"
# Bytecode now, once: five processes that each compile vLLM and torch for themselves start minutes later.
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes --no-deps --compile-bytecode "$@" -r "$requirements/cpu.txt"
# The image installs the environment before the code is there.
[ ! -f pyproject.toml ] || "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
