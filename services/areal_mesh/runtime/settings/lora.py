"""Settings of LoRA, by which the learner trains adapters of low rank and leaves the model's own weights as they are."""

from pydantic import Field, field_validator

from areal_mesh.runtime.settings.base import Settings

_EMBEDDING, _HEAD = "embed_tokens", "lm_head"


class LoraSettings(Settings):
    """Low-rank adapters beside frozen linear layers; `learner/model/adapters.py` says how they are computed."""

    rank: int = Field(default=16, gt=0)
    """Of each adapter: it adds the product of two matrices, of so many columns and so many rows."""
    alpha: int = Field(default=32, gt=0)
    """An adapter is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """0 alone, for what is dropped differs from pass to pass, and the ratio of two passes would be no policy's."""
    target_modules: list[str] | None = Field(default=None, min_length=1)
    """Linear layers that get an adapter, by the last parts of their names (`["q_proj", "v_proj"]`); left out, all of
    the decoder layers, which is what PEFT calls all-linear."""

    @field_validator("dropout")
    @classmethod
    def _drops_nothing(cls, value: float) -> float:
        if value:
            raise ValueError(
                "the passes of a step would each drop others, so that a response's ratio is not that of two policies "
                "and what is published is neither; set it to 0"
            )
        return value

    @field_validator("target_modules")
    @classmethod
    def _can_be_adapted(cls, value: list[str] | None) -> list[str] | None:
        for name in value or ():
            last = name.rpartition(".")[2]
            if last == _HEAD:
                raise ValueError(f"{name}: the head is fused with the log-probabilities and takes no adapter; leave it")
            if last == _EMBEDDING:
                raise ValueError(f"{name}: an embedding is a table, not a linear layer; leave it")
            if not last:
                raise ValueError(f"{name!r} names no layer; name one, such as q_proj")
        return value

    @property
    def scale(self) -> float:
        """What an adapter's product is multiplied with."""
        return self.alpha / self.rank
