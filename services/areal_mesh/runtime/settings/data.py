"""Where the model and the prompts come from."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from areal_mesh.runtime.settings.base import Settings, SettingsPath
from areal_mesh.runtime.settings.recipes import RecipeSettings
from areal_mesh.runtime.settings.templates import TEMPLATES

CHAT_TEMPLATE = "chat"
PROBLEM_PLACE = "{problem}"


class ModelSettings(Settings):
    """The model that is trained."""

    folder: SettingsPath
    """Hugging Face folder. Where `recipe` is set it is made on first use."""
    recipe: RecipeSettings | None = Field(default=None, discriminator="type")
    """How the folder, and with some recipes the prompt file, is made if it is missing. Left out: it has to exist."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Of the arithmetic, and of the weights as they are published and generated with; the learner's own are float32.
    With `float16` the loss is scaled (`learner.loss_scale`)."""
    end_token_ids: list[Annotated[int, Field(ge=0)]] = []
    """Further tokens that end a response, besides those that the tokenizer and the folder's configs name."""


class ColumnSettings(Settings):
    """Which fields of the prompt file are what; one left out is guessed by its name, and what was guessed is said."""

    problem: str | None = None
    """`a.b` for b within a."""
    answer: str | None = None
    """Any of its values is right where it is a list."""
    id: str | None = None
    """Left out, and not there, problems are numbered."""
    source: str | None = None
    """By which rewards and tables tell problems apart."""


class FurtherFileSettings(Settings):
    """One more file of problems."""

    file: SettingsPath
    """As `prompts.file`."""
    weight: float = Field(default=1.0, ge=0.001, le=1000)
    """Prompts out of it for each one out of `prompts.file`."""
    columns: ColumnSettings = ColumnSettings()


class PromptSettings(Settings):
    """The problems: JSON lines, or a JSON array, plain or compressed, with a problem and its answer (or several)."""

    file: SettingsPath
    """The first file of problems; where a recipe makes it, it is made on first use."""
    columns: ColumnSettings = ColumnSettings()
    also: list[FurtherFileSettings] = []
    """Further files, mixed in by weight; each goes through its problems epoch by epoch."""
    count: int = Field(default=0, ge=0)
    """The first so many of each file; 0 for all."""
    max_prompt_tokens: int = Field(default=2048, gt=0)
    """Longer prompts are filtered."""
    template: str = CHAT_TEMPLATE
    """`chat`: the tokenizer's chat template with one user message; `deepscaler`, `orz` or `qwen-boxed`: AReaL's, which
    hold an instruction of their own; else literal text with `{problem}` in it."""
    chat_template: SettingsPath | None = None
    """A file with a chat template (jinja) that is used instead of the tokenizer's own; left out, that one."""
    instruction: str = ""
    """Appended to the problem, after a line feed."""
    system: str = ""
    """System message of the chat template; empty: none."""
    prefill: str = ""
    """What the response begins with, given and not sampled: it is written after what the chat template ends with, and
    the model goes on from there. Neither trained on nor graded."""
    chat_template_kwargs: dict[str, bool | int | float | str] = {}
    """What the chat template reads beside the messages, such as `enable_thinking = false` for Qwen3."""
    begin: Literal["template", "add", "without"] = "template"
    """The token with which the model's tokenizer begins a text: `template`, the template writes it, and one that does
    not is refused; `add`, it is put in front where the template does not write it; `without`, it may be missing."""
    shuffle: bool = True
    """Each epoch in an order of its own, by the run's seed."""

    @field_validator("template")
    @classmethod
    def _has_a_place_for_the_problem(cls, value: str) -> str:
        value = TEMPLATES.get(value, value)
        if value != CHAT_TEMPLATE and PROBLEM_PLACE not in value:
            raise ValueError(
                f"has no place for the problem; write {PROBLEM_PLACE} where it belongs, or "
                f'"{CHAT_TEMPLATE}" for the tokenizer\'s own template, or one of {", ".join(TEMPLATES)}'
            )
        return value

    @model_validator(mode="after")
    def _chat_settings_have_a_chat_template(self) -> Self:
        of_chat = ("system", "prefill", "chat_template", "chat_template_kwargs")
        given = [name for name in of_chat if getattr(self, name)]
        if given and self.template != CHAT_TEMPLATE:
            raise ValueError(
                f'{given[0]} goes with template = "{CHAT_TEMPLATE}"; write it into the template, or leave it out'
            )
        return self
