"""Settings of the places that a run's figures go to, one model each, chosen by `type`; `views/sinks/` has them."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from areal_mesh.runtime.settings.base import Settings


class TensorBoardSinkSettings(Settings):
    """Events in the run's directory, `tensorboard/`."""

    needs: ClassVar[str] = "tensorboard"
    type: Literal["tensorboard"] = "tensorboard"


class WandbSinkSettings(Settings):
    """Weights & Biases. The key is its own affair: `wandb login`, or $WANDB_API_KEY."""

    needs: ClassVar[str] = "wandb"
    type: Literal["wandb"] = "wandb"
    project: str = "areal-mesh"
    """Under which the run stands there."""
    entity: str | None = None
    """Team or user; left out, the key's own."""
    mode: Literal["online", "offline"] = "online"
    """`offline` writes into the run's directory, for `wandb sync` later."""


class TrackioSinkSettings(Settings):
    """Trackio, on this machine unless a Space is named: `trackio show --project areal-mesh`."""

    needs: ClassVar[str] = "trackio"
    type: Literal["trackio"] = "trackio"
    project: str = "areal-mesh"
    """Under which the run stands there."""
    space: str | None = None
    """A Hugging Face Space that shows it, made private where it is not there; left out, none."""


def _named(value: Any) -> Any:
    """A word alone names a sink with its defaults."""
    if isinstance(value, str):
        return [] if value in ("", "none") else [{"type": value}]
    if not isinstance(value, list):
        return value
    return [{"type": entry} if isinstance(entry, str) else entry for entry in value]


def _once(sinks: list[Any]) -> list[Any]:
    names = [sink.type for sink in sinks]
    if len(set(names)) < len(names):
        raise ValueError(f"{', '.join(names)}: each may stand once; take one out")
    return sinks


SinkSettings = Annotated[TensorBoardSinkSettings | WandbSinkSettings | TrackioSinkSettings, Field(discriminator="type")]
"""Each says which package it needs, beside what every service has."""
SinkList = Annotated[list[SinkSettings], BeforeValidator(_named), AfterValidator(_once)]
"""`["tensorboard", "wandb"]`, or sections with a `type`."""
