"""Settings as files hold them: a preset by name, TOML or JSON by path; each may extend another.

What a file extends is looked up as anybody would read it: a preset by its name, a path from the folder of the file
that names it.
"""

import json
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from areal_mesh.runtime.settings.bundles import SECTION, UnknownBundleError, with_bundle

PRESETS_VARIABLE = "AREAL_MESH_PRESETS"
EXTENDS = "extends"
TYPE = "type"
"""What chooses one kind of several, such as `[algorithm.loss] type = "ppo"`."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, each of whose keys has to stand once, as in TOML: of two values one would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"{', '.join(twice)} stands twice in one object; take one out")
    return values


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once)


_PARSERS: Mapping[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": _json}
FILE_SUFFIXES = tuple(_PARSERS)
_A_SOURCE = f"the path of a {' or '.join(FILE_SUFFIXES)} file"


class SettingsError(Exception):
    """Settings that do not hold: one line a fault, each with the key's path and what would do."""

    def __init__(self, source: str, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{source}: {fault}" for fault in self.faults))


@dataclass(frozen=True)
class _Source:
    """A preset or a file of settings."""

    name: str
    """The preset's name, or the file's path."""
    heading: str
    """How a fault in it begins: its name, and where another extends it, that one's and how."""
    file: Path


def presets_folder() -> Path:
    """Folder of the presets: `deploy/presets` of the checkout, or where $AREAL_MESH_PRESETS points."""
    if configured := os.environ.get(PRESETS_VARIABLE):
        return Path(os.path.expanduser(configured))
    for base in (Path.cwd(), *Path(__file__).resolve().parents):
        if (base / "deploy" / "presets").is_dir():
            return base / "deploy" / "presets"
    return Path("deploy/presets")


def preset_names() -> list[str]:
    """Names of all presets."""
    return sorted(path.stem for path in presets_folder().glob("*.toml"))


def read_values(source: str | Path) -> dict[str, Any]:
    """What a preset or file sets, over what it extends; nothing is validated yet.

    Raises:
        SettingsError: no such preset or file, not UTF-8, a syntax error, or an `extends` that leads nowhere or round.
    """
    return _read(_located(str(source)), ())


def _read(source: _Source, extending: tuple[_Source, ...]) -> dict[str, Any]:
    values = _parsed(source)
    bundle = _bundle_named(values)
    base = _base(source, values.pop(EXTENDS), extending) if EXTENDS in values else {}
    return _merged(base if bundle is None else apply_bundle(base, bundle, source.heading), values)


def apply_bundle(values: Mapping[str, Any], name: str, heading: str) -> dict[str, Any]:
    """Settings with an algorithm by name over theirs. Raises SettingsError, whose faults begin with `heading`."""
    try:
        return {**values, SECTION: with_bundle(name, values.get(SECTION, {}), presets_folder())}
    except UnknownBundleError as error:
        raise SettingsError(heading, [str(error)]) from error


def _bundle_named(values: dict[str, Any]) -> str | None:
    """The bundle that a file's algorithm extends, taken out of what it says."""
    algorithm = values.get(SECTION)
    if isinstance(algorithm, str):
        del values[SECTION]
        return algorithm
    named = algorithm.pop(EXTENDS, None) if isinstance(algorithm, dict) else None
    return None if named is None else str(named)


def _base(source: _Source, given: Any, extending: tuple[_Source, ...]) -> dict[str, Any]:
    """What `source` extends, resolved."""
    if not isinstance(given, str):
        expected = f"expected the name of a preset or {_A_SOURCE} (got {given!r})"
        raise SettingsError(source.heading, [f"{EXTENDS}: {expected}"])
    base = _located(given, source)
    chain = (*extending, source)
    if os.path.realpath(base.file) in {os.path.realpath(link.file) for link in chain}:
        way = " → ".join(link.name for link in (*chain, base))
        raise SettingsError(chain[0].name, [f"{EXTENDS} goes round: {way}; take it out of one of them"])
    return _read(base, chain)


def _located(given: str, namer: _Source | None = None) -> _Source:
    """The preset or file called `given`, on the command line or in `namer`."""
    path = _expanded(given, namer)
    if path.suffix in FILE_SUFFIXES:
        if namer is None:
            return _Source(given, given, path)
        file = namer.file.parent / path
        return _Source(str(file), f'{namer.name}: {EXTENDS} = "{given}": {file}', file)
    heading = given if namer is None else f'{namer.name}: {EXTENDS} = "{given}"'
    file = presets_folder() / f"{given}.toml"
    if not file.is_file():
        known = ", ".join(preset_names()) or f"none in {presets_folder()}"
        raise SettingsError(heading, [f"no such preset; there are: {known}; or give {_A_SOURCE}"])
    return _Source(given, heading, file)


def _expanded(given: str, namer: _Source | None) -> Path:
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        heading = given if namer is None else f'{namer.name}: {EXTENDS} = "{given}"'
        raise SettingsError(heading, [f"{str(error).rstrip('.').lower()}; write the folder out"]) from error


def _parsed(source: _Source) -> dict[str, Any]:
    kind = source.file.suffix
    try:
        values = _PARSERS[kind](source.file.read_bytes().decode())
    except OSError as error:
        raise SettingsError(source.heading, [f"cannot be read: {error.strerror}; give the path of a file"]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        what = f"is not UTF-8: byte 0x{error.object[error.start]:02x} in line {line}; save it as UTF-8"
        raise SettingsError(source.heading, [what]) from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(source.heading, [f"is not {kind[1:].upper()}: {error}"]) from error
    if not isinstance(values, dict):
        what = f'holds a {type(values).__name__}; settings are a JSON object, such as {{"{EXTENDS}": "trial"}}'
        raise SettingsError(source.heading, [what])
    return values


def _merged(base: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` over `base`, section by section; a list replaces a list.

    A section of another `type` replaces the base's: the settings of the one kind mean nothing to the other.
    """
    if values.get(TYPE, base.get(TYPE)) != base.get(TYPE):
        return dict(values)
    merged = dict(base)
    for key, value in values.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged
