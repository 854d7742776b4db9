"""Reads settings: a preset or a file, then `key=value` on top; errors name the key, the value and what would do."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from areal_mesh.runtime.settings.run import RunSettings

PRESETS_VARIABLE = "AREAL_MESH_PRESETS"


class SettingsError(Exception):
    """Settings that do not hold: one line a fault, each with the key's path and what would do."""

    def __init__(self, source: str, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{source}: {fault}" for fault in self.faults))


def presets_folder() -> Path:
    """Folder of the presets: `deploy/presets` of the checkout, or where $AREAL_MESH_PRESETS points."""
    if configured := os.environ.get(PRESETS_VARIABLE):
        return Path(configured)
    for base in (Path.cwd(), *Path(__file__).resolve().parents):
        if (base / "deploy" / "presets").is_dir():
            return base / "deploy" / "presets"
    return Path("deploy/presets")


def preset_names() -> list[str]:
    """Names of all presets."""
    return sorted(path.stem for path in presets_folder().glob("*.toml"))


def load_settings(source: str | Path, overrides: Iterable[str] = ()) -> RunSettings:
    """Loads a preset by name, or a TOML or JSON file by path, with `section.key=value` overrides.

    A file may name another with `extends = "preset"` and then gives only what differs.

    Raises:
        SettingsError: no such preset or file, a syntax error, an unknown key, a wrong type, a value out of range, or
            an impossible combination.
    """
    values = _read(source)
    for override in overrides:
        _apply(values, override, str(source))
    try:
        return RunSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(str(source), (_fault(detail) for detail in error.errors())) from error


def _read(source: str | Path) -> dict[str, Any]:
    values = _read_one(source)
    base = values.pop("extends", None)
    return values if base is None else _merged(_read(base), values)


def _merged(base: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` over `base`, section by section; a list replaces a list."""
    merged = dict(base)
    for key, value in values.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _read_one(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if path.suffix not in (".toml", ".json"):
        path = presets_folder() / f"{source}.toml"
        if not path.is_file():
            known = ", ".join(preset_names()) or f"none in {presets_folder()}"
            raise SettingsError(str(source), [f"no such preset; there are: {known}; or give the path of a .toml file"])
    try:
        if path.suffix == ".json":
            return RunSettings.model_validate_json(path.read_bytes()).model_dump(mode="json")
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(str(source), [f"cannot be read: {error.strerror}; give the path of a file"]) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(source), [f"is not TOML: {error}"]) from error
    except ValidationError as error:
        raise SettingsError(str(source), (_fault(detail) for detail in error.errors())) from error


def _apply(values: dict[str, Any], override: str, source: str) -> None:
    """Sets one `section.key=value`; the value is TOML where it parses as such, else a string."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise SettingsError(
            source, [f"--set {override}: expected section.key=value, such as learner.learning_rate=1e-6"]
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    parts = key.strip().split(".")
    target: Any = values
    for position, part in enumerate(parts[:-1]):
        target = _child(target, part, ".".join(parts[: position + 1]), source, override)
    if isinstance(target, list):
        target[_index(target, parts[-1], key, source)] = value
    else:
        target[parts[-1]] = value


def _child(target: Any, part: str, path: str, source: str, override: str) -> Any:
    if isinstance(target, list):
        return target[_index(target, part, path, source)]
    child = target.setdefault(part, {})
    if not isinstance(child, dict | list):
        raise SettingsError(source, [f"--set {override}: {path} is a value, not a section"])
    return child


def _index(target: list[Any], part: str, path: str, source: str) -> int:
    if not part.isdigit() or int(part) >= len(target):
        raise SettingsError(source, [f"--set {path}: {part} is not a position from 0 to {len(target) - 1}"])
    return int(part)


def _fault(detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown key{_suggestion(detail['loc'])}"
    message = detail["msg"].removeprefix("Value error, ")
    given = detail["input"]
    shown = "" if isinstance(given, Mapping | BaseModel) or not path else f" (got {given!r})"
    return f"{path}: {message}{shown}" if path else message


def _suggestion(location: tuple[int | str, ...]) -> str:
    """What the section does know, nearest first."""
    model: Any = RunSettings
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        model = _section(model.model_fields[part].annotation)
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def _section(annotation: Any) -> Any:
    """The settings model inside an annotation such as list[StageSettings]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return RunSettings
