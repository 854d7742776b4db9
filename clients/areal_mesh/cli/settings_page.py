"""`areal-mesh config reference`: every setting with its type, its default and what it does, as Markdown.

Made from the models alone; `docs/settings.md` is what it prints.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from areal_mesh.runtime.settings import RunSettings

_HEAD = """\
# Settings

Every setting of a run, made from the models by `areal-mesh config reference`. A file gives what differs from the
defaults; `--set section.key=value` puts one on top. What has several kinds is chosen by `type`, and a word alone names
one: `--set algorithm.loss=cispo`. `areal-mesh config show trial` prints the whole of a preset, resolved.
"""
_BOUNDS = {
    annotated_types.Gt: ("gt", "> {}"),
    annotated_types.Ge: ("ge", ">= {}"),
    annotated_types.Lt: ("lt", "< {}"),
    annotated_types.Le: ("le", "<= {}"),
}
_NAMES = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path"}
_TYPE = "type"


def settings_page() -> str:
    """The page."""
    return "\n".join([_HEAD, *_section("", RunSettings)]).rstrip() + "\n"


def _section(path: str, model: type[BaseModel]) -> Iterator[str]:
    """A section's heading, its table, and the sections within it."""
    if path:
        yield f"## `{path}`\n"
        yield f"{_words(model)}\n"
    inner: list[tuple[str, Any, FieldInfo]] = []
    yield "| key | type | default | what it does |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        key = f"{path}.{name}".lstrip(".")
        models = list(_models(field.annotation))
        if models:
            inner.append((key, models, field))
        yield _row(key, field, models)
    yield ""
    for key, models, field in inner:
        if len(models) == 1:
            yield from _section(f"{key}.N" if _is_list(field.annotation) else key, models[0])
        else:
            yield from _kinds(f"{key}.N" if _is_list(field.annotation) else key, models)


def _kinds(path: str, models: list[type[BaseModel]]) -> Iterator[str]:
    """A table over the kinds of a section that has several."""
    yield f"## `{path}`\n"
    yield "| kind | what it is |"
    yield "|---|---|"
    for model in models:
        yield f'| `{_TYPE} = "{model.model_fields[_TYPE].default}"` | {_words(model)} |'
    yield ""
    rows = [
        _row(f"{path}.{name}", field, list(_models(field.annotation)), kind=str(model.model_fields[_TYPE].default))
        for model in models
        for name, field in model.model_fields.items()
        if name != _TYPE
    ]
    if rows:
        yield "| key | of the kind | type | default | what it does |"
        yield "|---|---|---|---|---|"
        yield from rows
        yield ""


def _row(key: str, field: FieldInfo, models: list[type[BaseModel]], kind: str = "") -> str:
    cells = [f"`{key}`", *([f"`{kind}`"] if kind else []), _type_of(field, models), _default(field, models)]
    return f"| {' | '.join([*cells, _cell(field.description or _words_of(models))])} |"


def _words_of(models: list[type[BaseModel]]) -> str:
    return _words(models[0]) if len(models) == 1 else ""


def _words(model: type[BaseModel]) -> str:
    return _cell(inspect.getdoc(model) or "")


def _cell(text: str) -> str:
    """A text on one line of a table, links and pipes kept out of the table's way."""
    return " ".join(text.split()).replace("|", "\\|")


def _type_of(field: FieldInfo, models: list[type[BaseModel]]) -> str:
    if models:
        which = "section" if len(models) == 1 else "one of the kinds below"
        return f"list: {which}" if _is_list(field.annotation) else which
    return _named(field.annotation, field.metadata)


def _named(annotation: Any, metadata: Any = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _named(arguments[0], (*arguments[1:], *metadata))
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_named(argument) for argument in arguments if argument is not NoneType) + _bounds(metadata)
    if origin is list:
        return f"list of {_named(arguments[0])}"
    if origin is dict:
        return f"table of {_named(arguments[1])}"
    return _NAMES.get(annotation, str(annotation)) + _bounds(metadata)


def _bounds(metadata: Any) -> str:
    found = []
    for entry in metadata:
        for held in entry.metadata if isinstance(entry, FieldInfo) else [entry]:
            if type(held) in _BOUNDS:
                name, form = _BOUNDS[type(held)]
                found.append(form.format(getattr(held, name)))
    return f" {', '.join(found)}" if found else ""


def _default(field: FieldInfo, models: list[type[BaseModel]]) -> str:
    default = field.get_default(call_default_factory=True) if field.default_factory is None else field.default_factory()  # type: ignore[call-arg]
    if default is PydanticUndefined:
        return "has to be given"
    if default is None:
        return "left out"
    if isinstance(default, BaseModel):
        return f"`{getattr(default, _TYPE)}`" if len(models) > 1 else "as below"
    if isinstance(default, list) and default and isinstance(default[0], BaseModel):
        return ", ".join(f"`{getattr(entry, _TYPE, '')}`" for entry in default)
    return f"`{json.dumps(str(default) if isinstance(default, Path) else default, ensure_ascii=False)}`"


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_list(get_args(annotation)[0])
    return origin is list


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for inner in get_args(annotation):
        yield from _models(inner)
