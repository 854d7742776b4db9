"""Algorithms by name: bundles of settings of `[algorithm]`, each a TOML file in `algorithms/` beside the presets.

A file names one with `algorithm = "grpo"`, or `extends = "grpo"` inside its section and what differs; the command line
with `--set algorithm=grpo`. The sections that a bundle has replace those of the preset whole; everything else of the
algorithm, such as the batch, stays as the preset has it.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECTION = "algorithm"


class UnknownBundleError(ValueError):
    """No such bundle, or one that cannot be read; the message says which there are."""


def bundle_names(presets: Path) -> list[str]:
    """Names of all bundles of a folder of presets."""
    return sorted(path.stem for path in (presets / "algorithms").glob("*.toml"))


def with_bundle(name: str, algorithm: Mapping[str, Any], presets: Path) -> dict[str, Any]:
    """The settings of an algorithm with a bundle over them. Raises UnknownBundleError."""
    known = bundle_names(presets)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UnknownBundleError(
            f"{SECTION}: there is no {name!r}; choose {', '.join(known) or f'none: {presets} has no algorithms'}{meant}"
        )
    try:
        return {**algorithm, **tomllib.loads((presets / "algorithms" / f"{name}.toml").read_text(encoding="utf-8"))}
    except (OSError, ValueError) as error:
        raise UnknownBundleError(f"{SECTION} = {name!r}: {error}") from error
