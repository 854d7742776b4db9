"""Rendering of prompts."""

from collections.abc import Sequence

import pytest

from areal_mesh.generator.prompts import PromptRenderer, PromptTooLong
from areal_mesh.runtime.settings import PromptSettings
from areal_mesh.v1 import rollout_pb2

END = 0


class CharacterTokenizer:
    """One token a character; token 0 is special. Its chat template marks the roles."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        turns = "".join(f"<{message['role']}>{message['content']}" for message in conversation)
        return turns + ("<assistant>" if add_generation_prompt else "")

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return ([END] if add_special_tokens else []) + [ord(character) for character in text]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return "".join(chr(token) for token in token_ids if token != END or not skip_special_tokens)


def renderer(template: str = "chat", instruction: str = "", max_prompt_tokens: int = 100) -> PromptRenderer:
    settings = PromptSettings.model_validate(
        {"file": "p.jsonl", "template": template, "instruction": instruction, "max_prompt_tokens": max_prompt_tokens}
    )
    return PromptRenderer(CharacterTokenizer(), settings)


def test_chat_renders_one_user_message_with_the_instruction_after_a_line_feed() -> None:
    assert renderer(instruction="Box it.").text("1+1?") == "<user>1+1?\nBox it.<assistant>"
    assert renderer().text("1+1?") == "<user>1+1?<assistant>"


def test_a_literal_template_keeps_its_own_braces() -> None:
    text = renderer(r"<u>{problem} in \boxed{}.<a>", instruction="Think.").text("x^{2}?")
    assert text == "<u>x^{2}?\nThink. in \\boxed{}.<a>"


def test_no_special_token_is_added_to_what_the_template_wrote() -> None:
    ids = renderer("{problem}").token_ids(rollout_pb2.Prompt(problem="ab"))
    assert ids == [ord("a"), ord("b")]


def test_a_prompt_over_the_limit_says_so_and_one_at_the_limit_passes() -> None:
    limited = renderer("{problem}", max_prompt_tokens=3)
    assert len(limited.token_ids(rollout_pb2.Prompt(problem="abc"))) == 3
    with pytest.raises(PromptTooLong, match="prompt too long: 4 tokens"):
        limited.token_ids(rollout_pb2.Prompt(problem="abcd"))


def test_responses_are_read_without_special_tokens() -> None:
    assert renderer().response_text([ord("4"), END]) == "4"
