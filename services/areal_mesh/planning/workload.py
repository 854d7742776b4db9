"""What a step consists of, and on how many GPUs it is done."""

from dataclasses import dataclass

from areal_mesh.planning.lengths import ResponseLengths
from areal_mesh.planning.shapes import ModelShape


@dataclass(frozen=True)
class Workload:
    """A step of one stage."""

    shape: ModelShape
    lengths: ResponseLengths
    limit: int
    """Most tokens of a response."""
    groups: int
    responses: int
    """To a prompt."""
    max_sequences: int
    """Responses that an engine computes at once."""
    max_staleness: int
    """0: generation and training take turns."""
    extra_passes: float
    """Forward passes beside the update: of the reference model, of the proximal policy."""
    prompt_tokens: float = 100.0
    """Mean length; of AReaL's prompts, by the log in v0.1.1's tutorial, 106."""

    @property
    def sequences(self) -> int:
        """Responses of a step."""
        return self.groups * self.responses

    @property
    def tokens(self) -> float:
        """Tokens of a step, prompts included, as its log and the published tokens a second count them."""
        return self.sequences * (self.prompt_tokens + self.lengths.mean(self.limit))


@dataclass(frozen=True)
class Layout:
    """GPUs of a run."""

    generation_gpus: int
    training_gpus: int
    tensor_parallel: int = 1
    """GPUs of one engine."""
    time_shared: bool = False
    """Both kinds of work take turns on the same GPUs."""

    @property
    def engines(self) -> int:
        """Engines that generate."""
        return self.generation_gpus // self.tensor_parallel

    @property
    def gpus(self) -> int:
        """All of them."""
        return self.training_gpus if self.time_shared else self.generation_gpus + self.training_gpus

    def __str__(self) -> str:
        """As a person reads it."""
        turns = "in turn" if self.time_shared else f"TP{self.tensor_parallel}"
        return f"{self.generation_gpus}/{self.training_gpus} {turns}"
