"""Reads settings: a preset or a file, then `key=value` on top; errors name the key, the value and what would do."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from areal_mesh.runtime.settings.files import SettingsError, read_values
from areal_mesh.runtime.settings.overrides import override_value
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
    """Sets one `section.key=value`."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise SettingsError(
            source, [f"--set {override}: expected section.key=value, such as learner.learning_rate=1e-6"]
        )
    parts = key.strip().split(".")
    value = override_value(text, _annotation(parts))
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
    if not (part.isascii() and part.isdigit()) or int(part) >= len(target):
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
    known = list(_section(_annotation(location[:-1])).model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def _annotation(location: Sequence[int | str]) -> Any:
    """Annotation of the setting at a location, with all that its field says; None where there is no such setting."""
    annotation: Any = RunSettings
    for part in location:
        if isinstance(part, int) or part.isdigit():
            continue
        field = _section(annotation).model_fields.get(part)
        if field is None:
            return None
        annotation = field.annotation
    return annotation


def _section(annotation: Any) -> Any:
    """The settings model inside an annotation such as list[StageSettings]."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return RunSettings
