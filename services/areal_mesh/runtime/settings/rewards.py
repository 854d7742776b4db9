"""Settings of a run's own rewards, one model each, chosen by `type`; the library `rewards` loads and asks them."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from areal_mesh.runtime.settings.base import Settings

_TARGET = re.compile(r"(?P<place>[^:]+(?::[^:]+)?):(?P<function>[A-Za-z_]\w*)")
_NAME = r"^[a-z][a-z0-9_]{0,63}$"
_URL = ("http://", "https://")
CORRECTNESS = "correctness"
"""The term that the verdict gives by itself; no other has its name."""


class RewardSettings(Settings):
    """What every reward has."""

    check_seconds: ClassVar[float] = 60.0
    """Longest wait for its answer when a run is checked before it begins."""
    weight: float = 1.0
    """Its numbers count so many times in the reward."""
    seconds: float = Field(default=10.0, gt=0, le=50)
    """Deadline of the answer for a group's responses; what is late is asked again, and then its group is filtered."""
    at_once: int = Field(default=32, gt=0, le=1024)
    """Groups that are asked about at once, where the reward is asynchronous; any other takes one after the other."""


class FunctionRewardSettings(RewardSettings):
    """A Python function: `FILE.py:FUNCTION`, or `MODULE:FUNCTION`. It runs in a process of its own."""

    type: Literal["function"] = "function"
    function: str
    """Where it stands; a file is looked for from the folder that the services run in."""
    name: str = Field(default="", pattern=rf"{_NAME}|^$")
    """Of its metric, `reward_NAME`; left out, the function's."""
    options: dict[str, bool | int | float | str] = {}
    """Further arguments, given by name with each call."""

    @field_validator("function")
    @classmethod
    def _names_a_function(cls, value: str) -> str:
        if not _TARGET.fullmatch(value):
            raise ValueError('expected FILE.py:FUNCTION or MODULE:FUNCTION, such as "my_reward.py:score"')
        return value

    @property
    def term(self) -> str:
        """Name of the term."""
        return self.name or self.function.rpartition(":")[2].lower()


def check_url(url: str) -> str:
    """Raise ValueError for what no reward can be asked at, or what would show a password."""
    if not url.startswith(_URL):
        raise ValueError("expected a URL that begins with http:// or https://")
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise ValueError("a password in it would be printed with the settings; name a token_variable instead")
    return url


class HttpRewardSettings(RewardSettings):
    """A judge elsewhere: a group is posted to it as JSON, and it answers with a number for each response."""

    check_seconds: ClassVar[float] = 3.0
    type: Literal["http"] = "http"
    url: Annotated[str, AfterValidator(check_url)]
    """Where groups are posted to."""
    name: str = Field(default="judge", pattern=_NAME)
    """Of its metric, `reward_NAME`."""
    seconds: float = Field(default=30.0, gt=0, le=50)
    """Deadline of an answer, its repetitions among it."""
    token_variable: str = ""
    """Environment variable of the verifier with a token, sent as `Authorization: Bearer ...`; left out, none."""

    @property
    def term(self) -> str:
        """Name of the term."""
        return self.name


def _as_section(value: Any) -> Any:
    """A text alone is a URL or names a function."""
    if not isinstance(value, str):
        return value
    return {"type": "http", "url": value} if value.startswith(_URL) else {"type": "function", "function": value}


def _listed(value: Any) -> Any:
    """One reward alone is a list of one."""
    if isinstance(value, str):
        return [] if value in ("", "none") else [_as_section(value)]
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return value
    return [_with_type(_as_section(entry)) for entry in value]


def _with_type(section: Any) -> Any:
    if not isinstance(section, dict) or "type" in section:
        return section
    return {"type": "http" if "url" in section else "function", **section}


def _different(rewards: list[Any]) -> list[Any]:
    names = [reward.term for reward in rewards]
    for name in names:
        if names.count(name) > 1 or name == CORRECTNESS:
            raise ValueError(f"{name!r} names another term already; give one of them a `name` of its own")
    return rewards


OneRewardSettings = Annotated[FunctionRewardSettings | HttpRewardSettings, Field(discriminator="type")]
RewardList = Annotated[list[OneRewardSettings], BeforeValidator(_listed), AfterValidator(_different)]
"""One or several; each is a term of the reward, with a metric of its own."""
