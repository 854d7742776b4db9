"""The value of a `--set key=value`: TOML where it reads as such, text where the setting is text."""

import tomllib
from pathlib import Path
from typing import Any

from areal_mesh.runtime.settings.base import admits

_QUOTES = "\"'"


def override_value(text: str, annotation: Any) -> Any:
    """What `text` stands for as the value of a setting.

    A setting that is text or a path takes `text` as it stands, `2024` and `true` too, unless it is quoted as in TOML.
    Any other takes the TOML value, and what is no TOML value is text for the settings to judge.

    Args:
        annotation: of the setting; None where there is no such setting.
    """
    value = _toml(text)
    if _is_text(annotation) and not (isinstance(value, str) and _quoted(text)):
        return text
    return value


def _toml(text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    # A line feed would begin a key of its own, which would be lost.
    return document["value"] if len(document) == 1 else text


def _is_text(annotation: Any) -> bool:
    return admits(annotation, str) or admits(annotation, Path)


def _quoted(text: str) -> bool:
    bare = text.strip()
    return len(bare) > 1 and bare[0] in _QUOTES and bare[-1] == bare[0]
