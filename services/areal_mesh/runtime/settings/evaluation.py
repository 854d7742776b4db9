"""How a model is examined: by `areal-mesh eval`, and during training."""

from pathlib import Path

from pydantic import Field

from areal_mesh.runtime.settings.base import Seconds, Seed, Settings, SettingsPath


class EvaluationSettings(Settings):
    """What is asked of a model, and how often during training."""

    every: int = Field(default=0, ge=0)
    """Policy versions between two evaluations during training, the start model's the first; 0: none."""
    suites: list[str] = []
    """What a model is examined on: names of files in `data`, without .jsonl, or paths of such files."""
    data: SettingsPath = Path("data")
    """Folder in which suites are found by name."""
    limit: int = Field(default=0, ge=0)
    """The first so many problems of each suite; 0 for all."""
    samples: int = Field(default=32, gt=0, le=4096)
    """Responses to each problem."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Left out: as the run samples. 0 takes the likeliest token."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Of the sampling; nothing of it is trained on."""
    max_response_tokens: int | None = Field(default=None, gt=0)
    """Response limit; left out, the longest of all stages."""
    seed: Seed = 1
    """Each sample's seed follows from it, the suite, the problem and the sample's number."""
    share: float = Field(default=0.25, gt=0, le=1)
    """During training: of the generators, the share that is examined at once, one at least."""
    requests_at_once: int = Field(default=32, gt=0, le=512)
    """During training: responses that one generator is asked for at a time, beside its groups."""
    seconds: Seconds = 600.0
    """During training: how long an evaluation may take before it is given up."""
