"""Reads settings: a preset or a file, then `key=value` on top; errors name the key, the value and what would do."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from areal_mesh.runtime.settings.base import NONE_WORDS
from areal_mesh.runtime.settings.bundles import SECTION
from areal_mesh.runtime.settings.files import TYPE, SettingsError, apply_bundle, read_values
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
    for override in sorted(overrides, key=_precedence):
        _apply(values, override, str(source))
    try:
        return RunSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(str(source), (_fault(detail) for detail in error.errors())) from error


def _precedence(override: str) -> int:
    """A whole algorithm first, then a `type`: each throws out what was set for another."""
    key = override.partition("=")[0].strip()
    return 0 if key == SECTION else 1 if key.endswith(f".{TYPE}") else 2


def _apply(values: dict[str, Any], override: str, source: str) -> None:
    """Sets one `section.key=value`."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise SettingsError(
            source, [f"--set {override}: expected section.key=value, such as learner.learning_rate=1e-6"]
        )
    parts = key.strip().split(".")
    value = override_value(text, _annotation(parts))
    if key.strip() == SECTION and isinstance(value, str):
        values.update(apply_bundle(values, value, source))
        return
    target: Any = values
    for position, part in enumerate(parts[:-1]):
        target = _child(target, part, ".".join(parts[: position + 1]), source, override)
    if isinstance(target, list):
        target[_index(target, parts[-1], key, source)] = value
        return
    if parts[-1] == TYPE and target.get(TYPE) != value:
        target.clear()  # as where a file says so: the settings of the one kind mean nothing to the other
    target[parts[-1]] = value


def _child(target: Any, part: str, path: str, source: str, override: str) -> Any:
    if isinstance(target, list):
        child = target[_index(target, part, path, source)]
    else:
        # A section that was left out by a word may be set after all.
        child = target.get(part)
        if child is None or (isinstance(child, str) and child in NONE_WORDS):
            child = target[part] = {}
    if not isinstance(child, dict | list):
        raise SettingsError(source, [f"--set {override}: {path} is a value, not a section"])
    return child


def _index(target: list[Any], part: str, path: str, source: str) -> int:
    if not (part.isascii() and part.isdigit()) or int(part) >= len(target):
        raise SettingsError(source, [f"--set {path}: {part} is not a position from 0 to {len(target) - 1}"])
    return int(part)


def _fault(detail: ErrorDetails) -> str:
    location = _without_types(detail["loc"])
    path = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown key{_suggestion(detail['loc'])}"
    if detail["type"] == "union_tag_invalid":
        context = detail["ctx"]
        return f"{path}.{TYPE}: there is no {context['tag']!r}; choose {context['expected_tags']}"
    message = detail["msg"].removeprefix("Value error, ")
    given = detail["input"]
    shown = "" if isinstance(given, Mapping | BaseModel) or not path else f" (got {given!r})"
    return f"{path}: {message}{shown}" if path else message


def _suggestion(location: tuple[int | str, ...]) -> str:
    """What the section does know, nearest first."""
    known = list(_sections(_annotation(location[:-1]))[0].model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def _without_types(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The keys of a location alone: behind a section of several kinds pydantic names the kind too."""
    return tuple(part for place, part in enumerate(location) if not _is_type(location[:place], part))


def _is_type(location: Sequence[int | str], part: int | str) -> bool:
    kinds = _sections(_annotation(location))
    return len(kinds) > 1 and any(kind.model_fields[TYPE].default == part for kind in kinds)


def _annotation(location: Sequence[int | str]) -> Any:
    """Annotation of the setting at a location, with all that its field says; None where there is no such setting."""
    annotation: Any = RunSettings
    for part in location:
        if isinstance(part, int) or part.isdigit():
            continue
        kinds = _sections(annotation)
        chosen = [kind for kind in kinds if len(kinds) > 1 and kind.model_fields[TYPE].default == part]
        if chosen:
            annotation = chosen[0]
            continue
        field = next((kind.model_fields[part] for kind in kinds if part in kind.model_fields), None)
        if field is None:
            return None
        annotation = field.annotation
    return annotation


def _sections(annotation: Any) -> list[Any]:
    """The settings models inside an annotation such as list[StageSettings]: several where a `type` chooses one."""
    return list(_models(annotation)) or [RunSettings]


def _models(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
