"""Reads settings: a preset or a file, then `key=value` on top; errors name the key, the value and what would do."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from areal_mesh.runtime.settings.files import SettingsError, read_values
from areal_mesh.runtime.settings.run import RunSettings


def load_settings(source: str | Path, overrides: Iterable[str] = ()) -> RunSettings:
    """Loads a preset by name, or a TOML or JSON file by path, with `section.key=value` overrides.

    A file of either kind may name a preset or another file with `extends`, and then gives only what differs; a path is
    one from the folder of the file that names it.

    Raises:
        SettingsError: no such preset or file, a syntax error, an `extends` that goes round, an unknown key, a wrong
            type, a value out of range, or an impossible combination.
    """
    values = read_values(source)
    for override in overrides:
        _apply(values, override, str(source))
    try:
        return RunSettings.model_validate(values)
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
    child = target[_index(target, part, path, source)] if isinstance(target, list) else target.setdefault(part, {})
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
