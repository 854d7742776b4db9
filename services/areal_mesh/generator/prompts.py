"""Prompts as token ids: the tokenizer's chat template, or the run's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.settings import PromptSettings
from areal_mesh.runtime.settings.data import CHAT_TEMPLATE, PROBLEM_PLACE
from areal_mesh.v1 import rollout_pb2

TOO_LONG = "prompt too long"


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """The conversation as text."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of a text."""

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Text of token ids."""


class PromptTooLong(ValueError):
    """The prompt has more tokens than the settings allow."""


@dataclass(frozen=True)
class PromptRenderer:
    """Renders prompts by one tokenizer and the run's prompt settings."""

    tokenizer: Tokenizer
    settings: PromptSettings

    def text(self, problem: str) -> str:
        """The prompt as the model reads it, special tokens written out."""
        content = f"{problem}\n{self.settings.instruction}" if self.settings.instruction else problem
        if self.settings.template == CHAT_TEMPLATE:
            message = {"role": "user", "content": content}
            return self.tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        # Not str.format: a template may hold braces of its own, as in \boxed{}.
        return self.settings.template.replace(PROBLEM_PLACE, content)

    def token_ids(self, prompt: rollout_pb2.Prompt) -> list[int]:
        """Token ids of a prompt.

        Raises:
            PromptTooLong: more than `max_prompt_tokens`.
        """
        # The template writes out the special tokens it wants: adding more would double the first.
        ids = self.tokenizer.encode(self.text(prompt.problem), add_special_tokens=False)
        if len(ids) > self.settings.max_prompt_tokens:
            raise PromptTooLong(
                f"{TOO_LONG}: {len(ids)} tokens, prompts.max_prompt_tokens = {self.settings.max_prompt_tokens}"
            )
        return ids

    def response_text(self, token_ids: Sequence[int]) -> str:
        """A response as the verifier reads it: without special tokens."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder; takes seconds, for transformers is imported here.

    Raises:
        StartupError: the folder holds none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise StartupError(f"model.folder = {folder}: no tokenizer could be loaded from it: {error}") from error
    return tokenizer
