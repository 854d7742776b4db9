"""Loads a reward function and finds out how it wants to be called. Standard library alone."""

import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from areal_mesh.rewards.values import EACH, SHARED, RewardUnusable

_LISTS = tuple(EACH.values())
_TAKES = (
    f"of one response, any of {', '.join((*SHARED, *EACH))}; or of its whole group, any of "
    f"{', '.join((*SHARED, *_LISTS))}"
)


@dataclass(frozen=True)
class RewardFunction:
    """A function, and what it takes."""

    call: Callable[..., Any]
    arguments: tuple[str, ...]
    """What it is given by name of what there is to know."""
    options: Mapping[str, Any]
    """Given with each call."""
    of_group: bool
    """Whether it takes the lists over a group and returns a list."""
    is_async: bool
    file: str
    """Where it was loaded from; faults are named by their line in it."""


def load_function(target: str, options: Mapping[str, Any]) -> RewardFunction:
    """The function named by `FILE.py:FUNCTION` or `MODULE:FUNCTION`.

    Raises:
        RewardUnusable: it cannot be loaded, or asks for something that there is not.
    """
    place, _, name = target.rpartition(":")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_module(place)
    file = getattr(module, "__file__", None) or place
    found = getattr(module, name, None)
    if not callable(found):
        offered = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        near = difflib.get_close_matches(name, offered, n=1)
        meant = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(offered) or 'no function'}"
        raise RewardUnusable(f"{place} has no function {name!r}{meant}")
    return _described(found, name, place, str(file), options)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise RewardUnusable(f"{path}: no such file, looked for from {Path.cwd()}; give its path")
    # As `python FILE` has it: what lies beside the file can be imported.
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RewardUnusable(described(error, str(path.resolve()))) from error
    return module


def _from_module(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise RewardUnusable(f"module {name}: {described(error, name)}") from error


def _described(
    call: Callable[..., Any], name: str, place: str, file: str, options: Mapping[str, Any]
) -> RewardFunction:
    parameters = inspect.signature(call).parameters.values()
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    taken = {parameter.name for parameter in named}
    needed = [parameter.name for parameter in named if parameter.default is parameter.empty]
    needed += [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    only_lists = taken & (set(_LISTS) - set(EACH))
    only_each = taken & (set(EACH) - set(_LISTS))
    if only_lists and only_each:
        mixed = f"{sorted(only_each)[0]} (of one response) and {sorted(only_lists)[0]} (of all)"
        raise RewardUnusable(f"{place}: {name} takes {mixed}; take one kind: {_TAKES}")
    known = (*SHARED, *(_LISTS if only_lists else EACH))
    strange = [key for key in needed if key not in known and key not in options]
    if strange:
        raise RewardUnusable(f"{place}: {name} takes {strange[0]!r}, which there is not; a reward takes {_TAKES}")
    unused = [key for key in options if key in known or not (anything or key in taken)]
    if unused:
        raise RewardUnusable(f"{place}: options.{unused[0]}: {name} takes no such option; take it out")
    return RewardFunction(
        call=call,
        arguments=tuple(key for key in known if anything or key in taken),
        options=dict(options),
        of_group=bool(only_lists),
        is_async=inspect.iscoroutinefunction(call),
        file=file,
    )


def described(error: BaseException, file: str) -> str:
    """An exception with the line of `file` that it came through last, or of where it was raised."""
    return f"{place_of(error, file)}: {type(error).__name__}: {error}"


def place_of(error: BaseException, file: str) -> str:
    """`FILE.py:LINE` of an exception: the last line of `file` on its way, else where it was raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else Path(file).name
