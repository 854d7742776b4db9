#!/bin/sh
# Takes out of an environment what only building, compiling or testing needs: deploy/slim.sh VENV
set -eu
packages=$1/lib/python3.11/site-packages
"$1/bin/uv" pip uninstall --quiet --python "$1/bin/python" hatchling editables pathspec pluggy tomlkit trove-classifiers
rm -rf "$1/bin/uv" "$1/bin/uvx" "$packages/torch/include" "$packages/torch/share" "$packages/torch/test"
find "$1" -name '*.a' -delete -o -name '*.dbg' -delete
# No module of these packages is imported outside their own tests.
for package in matplotlib networkx numba numpy sympy tensorboard; do
    [ ! -d "$packages/$package" ] || find "$packages/$package" -type d -name tests -prune -exec rm -rf {} +
done
