"""The base of every settings model: unknown keys are errors, nothing is bent to fit, and values never change."""

from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
"""What every random generator takes: numpy's seeds, which vLLM sets as well, have 32 bits."""
Share = Annotated[float, Field(ge=0, le=1)]
NONE_WORDS = ("", "none")
"""How TOML and `--set`, which have no null, write that a setting is left out."""


def _path(value: Any) -> Any:
    """A path as a user writes it: `~` is a home directory."""
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise ValueError("expected a path")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{str(error).rstrip('.').lower()}; write the folder out") from error


SettingsPath = Annotated[Path, BeforeValidator(_path)]
"""A path; `~` and `~user` are expanded."""


class Settings(BaseModel):
    """A section of the settings.

    Invariants: a boolean or a string is never taken for a number, and numbers are finite; where a setting may be left
    out, `none` and the empty string leave it out.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _none_is_none(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        left_out = {name for name, field in cls.model_fields.items() if admits(field.annotation, NoneType)}
        return {
            key: None if key in left_out and isinstance(value, str) and value in NONE_WORDS else value
            for key, value in values.items()
        }

    @model_validator(mode="before")
    @classmethod
    def _default_type(cls, values: Any) -> Any:
        """A section of several kinds that names none is of the default's; a word alone names a kind."""
        if not isinstance(values, dict):
            return values
        kinds = {name: field.default for name, field in cls.model_fields.items() if field.discriminator}
        return {key: _with_type(value, kinds[key]) if key in kinds else value for key, value in values.items()}


def _with_type(value: Any, default: Any) -> Any:
    if isinstance(value, str):
        return value if default is None and value in NONE_WORDS else {"type": value}
    if isinstance(value, dict) and default is not None:
        return {"type": default.type, **value}
    return value


def admits(annotation: Any, wanted: type) -> bool:
    """Whether a field of this annotation holds values of the type `wanted`, by itself or in a union."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return admits(get_args(annotation)[0], wanted)
    if origin in (Union, UnionType):
        return any(admits(inner, wanted) for inner in get_args(annotation))
    return annotation is wanted


def kinds(union: Any) -> dict[str, Any]:
    """Models of a union that is discriminated by `type`, by that; `union` is annotated with the discriminator."""
    return {model.model_fields["type"].default: model for model in get_args(get_args(union)[0])}
