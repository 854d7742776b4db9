#!/bin/sh
# Makes a virtual environment of Python 3.11 from pinned files: deploy/install.sh [--gpu|--light] VENV PYTHON FILE...
# PYTHON is any Python 3 with venv. It brings uv, and uv takes 3.11 from the machine or fetches it.
# torch is a step of its own: from a wheel folder that pip is told of, else from PyTorch's CPU index, which uv knows by
# name. Which build of a version an index serves is its own affair, so torch alone is pinned without a hash.
# With --gpu that step is left out: torch is the build for CUDA, among the files; with --light there is no torch.
set -eu
build=cpu
case "${1-}" in --gpu | --light)
    build=${1#--}
    shift
    ;;
esac
venv=$1 python=$2
shift 2
requirements=$(dirname "$0")/requirements

fail() {
    echo "deploy/install.sh: $1" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "$python: not found; install a Python 3, or name one: make PYTHON=..."
bootstrap=$venv.bootstrap
trap 'rm -rf "$bootstrap"' EXIT
"$python" -m venv --clear "$bootstrap" >/dev/null ||
    fail "$python makes no virtual environment; install its venv (python3-venv), or name another: make PYTHON=..."
"$bootstrap/bin/python" -m pip install --quiet --require-hashes -r "$requirements/bootstrap.txt"
uv=$bootstrap/bin/uv

# uv reads none of pip's settings; those that a machine needs to reach packages at all are handed on.
settings=$("$bootstrap/bin/python" -m pip config list)
pip_setting() {
    printf '%s\n' "$settings" | sed -n "s/^[^=]*\.$1='\(.*\)'\$/\1/p" | sed -n '1s/\\n/ /gp;1t;1p'
}
given() {
    value=$(pip_setting "$2")
    [ -z "$value" ] || eval "export $1=\${$1:-\$value}"
}
given SSL_CERT_FILE cert
given UV_DEFAULT_INDEX index-url
given UV_FIND_LINKS find-links
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"

# An environment of the other build is made anew: packages of both own the same files.
{ [ "$(cat "$venv/.build" 2>/dev/null || echo cpu)" = $build ] &&
    "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; } ||
    "$uv" venv --quiet --clear --python 3.11 "$venv" ||
    fail "no Python 3.11 is on this machine and none could be fetched; install one (uv looks for python3.11)"

echo $build >"$venv/.build"

# Bytecode now, once: five processes that each compile vLLM and torch for themselves start minutes later.
install() {
    "$uv" pip install --quiet --python "$venv/bin/python" --no-deps --compile-bytecode "$@"
}
install --require-hashes -r "$requirements/bootstrap.txt"
torch=$requirements/torch-cpu.txt
if [ $build != cpu ]; then
    : # among the files, or none
elif "$uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-index --dry-run -r "$torch" 2>/dev/null; then
    install --no-index -r "$torch"
else
    install --torch-backend cpu -r "$torch"
fi
for file in "$@"; do
    install --require-hashes -r "$file"
done
