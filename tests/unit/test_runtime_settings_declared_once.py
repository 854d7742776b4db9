"""A setting has one declaration: services take the frozen sections of `runtime.settings`, and copy none of them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from areal_mesh.grading.verdict import PROTOCOLS
from areal_mesh.runtime.settings import RunSettings, VerifierSettings

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("services/areal_mesh/runtime/settings", "services/areal_mesh/v1", "clients/areal_mesh/v1")
SHARED_FIELDS = 3
"""So many fields that one class has in common with one section make it a copy."""
COPIES = {
    "PoolSettings": "the grading library knows nothing of a run; its defaults are the settings' all the same",
    "Sampling": "of one group, as its lease says",
    "GenerateOptions": "of one request of a person, who may leave each out",
    "Started": "of one request, as the generator says",
    "Mended": "of one line, as it was mended",
    "PrepareOptions": "of one request of a person, for files that no run has yet",
}


def sections(annotation: Any = RunSettings) -> Iterator[type[BaseModel]]:
    """Every model of the settings, from the whole downwards."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from sections(field.annotation)
    for inner in get_args(annotation):
        yield from sections(inner)


def defaults() -> dict[str, set[Any]]:
    """Defaults by the setting's name, where they are a number, a word or a choice."""
    found: dict[str, set[Any]] = {}
    for section in sections():
        for name, field in section.model_fields.items():
            if isinstance(field.default, int | float | str | bool):
                found.setdefault(name, set()).add(field.default)
    return found


def sources() -> list[Path]:
    files = [path for folder in ("services", "clients") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in files if not path.relative_to(ROOT).as_posix().startswith(ELSEWHERE)]


def given_defaults(tree: ast.AST) -> Iterator[tuple[int, str, ast.expr]]:
    """Line, name and default of the fields of classes and of the parameters of functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for field in fields(node):
                if field.value is not None:
                    yield field.lineno, ast.unparse(field.target), field.value
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parameters = node.args.posonlyargs + node.args.args
            with_default = parameters[len(parameters) - len(node.args.defaults) :]
            by_keyword = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            for parameter, value in (*zip(with_default, node.args.defaults, strict=True), *by_keyword):
                if value is not None:
                    yield parameter.lineno, parameter.arg, value


def fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [statement for statement in node.body if isinstance(statement, ast.AnnAssign)]


def other_defaults(source: str, settings: dict[str, set[Any]]) -> list[str]:
    """Defaults that a setting of the same name does not have. Where a count begins, at nothing, is none."""
    found = []
    for line, name, value in given_defaults(ast.parse(source)):
        if isinstance(value, ast.Constant) and value.value and value.value not in settings.get(name, {value.value}):
            found.append(f"{line}: {name} = {value.value!r}, in the settings {settings[name]}")
    return found


def copies(source: str) -> list[str]:
    """Classes that repeat a section of the settings."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.name not in COPIES:
            names = {ast.unparse(field.target) for field in fields(node)}
            for section in sections():
                shared = names & set(section.model_fields)
                if len(shared) >= SHARED_FIELDS:
                    found.append(f"{node.lineno}: {node.name} repeats {sorted(shared)} of {section.__name__}")
    return found


def test_no_default_differs_from_that_of_the_setting_of_its_name() -> None:
    settings = defaults()
    faults = {path.name: found for path in sources() if (found := other_defaults(path.read_text("utf-8"), settings))}
    assert not faults


def test_no_class_copies_a_section() -> None:
    faults = {path.name: found for path in sources() if (found := copies(path.read_text("utf-8")))}
    assert not faults


def test_the_protocols_of_the_settings_are_those_of_the_grading_library() -> None:
    assert set(get_args(VerifierSettings.model_fields["protocol"].annotation)) == set(PROTOCOLS)


@pytest.mark.parametrize(
    "copy",
    [
        "class EngineSettings:\n    kv_cache_gib: float = 1.0",
        "def engine(kv_cache_gib=1.0): ...",
        "async def engine(*, folder, kv_cache_gib=1.0): ...",
    ],
)
def test_another_default_is_found(copy: str) -> None:
    assert other_defaults(copy, defaults()) == [
        f"{1 + copy.count(chr(10))}: kv_cache_gib = 1.0, in the settings {{2.0}}"
    ]


def test_a_copy_is_found() -> None:
    source = "class Transfer:\n    prepare_seconds: float\n    transfer_seconds: float\n    attempts: int"
    assert copies(source) == [
        "1: Transfer repeats ['attempts', 'prepare_seconds', 'transfer_seconds'] of WeightSettings"
    ]
