"""Rendering of prompts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from areal_mesh.prompts.renderer import AddedToken, PromptRefused, PromptRenderer, PromptTooLong, beginning_fault
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.settings import PromptSettings
from areal_mesh.v1 import rollout_pb2

END = 0


@dataclass
class Added:
    content: str
    special: bool


class CharacterTokenizer:
    """One token a character, and added tokens; token 0 is special. Its chat template marks the roles."""

    bos_token_id: int | None = None
    eos_token_id: int | None = END
    unk_token_id: int | None = None

    def __init__(self, reads_control_tokens_as_text: bool = True, trims: bool = False) -> None:
        added = {END: Added("<end>", True), 1: Added("<user>", True), 2: Added("<assistant>", True)}
        self.added_tokens_decoder: Mapping[int, AddedToken] = added | {3: Added("<think>", False)}
        self._as_text = reads_control_tokens_as_text
        self._trims = trims

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, **kwargs: Any
    ) -> str:
        assert not tokenize
        self.kwargs = kwargs
        contents = [message["content"] for message in conversation]
        if self._trims:
            contents = [content.strip().lower() for content in contents]
        turns = "".join(f"<{message['role']}>{text}" for message, text in zip(conversation, contents, strict=True))
        return turns + ("<assistant>" if add_generation_prompt else "")

    def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool = False) -> list[int]:
        ids, rest = [END] if add_special_tokens else [], text
        while rest:
            for token_id, token in self.added_tokens_decoder.items():
                as_text = split_special_tokens and self._as_text and token.special
                if rest.startswith(token.content) and not as_text:
                    ids, rest = [*ids, token_id], rest.removeprefix(token.content)
                    break
            else:
                ids, rest = [*ids, ord(rest[0])], rest[1:]
        return ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return "".join(chr(token) for token in token_ids if token != END or not skip_special_tokens)


def renderer(
    template: str = "chat",
    instruction: str = "",
    max_prompt_tokens: int = 100,
    tokenizer: CharacterTokenizer | None = None,
) -> PromptRenderer:
    settings = PromptSettings.model_validate(
        {"file": "p.jsonl", "template": template, "instruction": instruction, "max_prompt_tokens": max_prompt_tokens}
    )
    return PromptRenderer(tokenizer or CharacterTokenizer(), settings)


def test_chat_renders_one_user_message_with_the_instruction_after_a_line_feed() -> None:
    assert renderer(instruction="Box it.").text("1+1?") == "<user>1+1?\nBox it.<assistant>"
    assert renderer().text("1+1?") == "<user>1+1?<assistant>"


def test_system_message_prefill_and_what_the_template_reads_beside_them() -> None:
    tokenizer = CharacterTokenizer()
    settings = PromptSettings.model_validate(
        {
            "file": "p.jsonl",
            "system": "Be brief.",
            "prefill": "<think>\n",
            "chat_template_kwargs": {"enable_thinking": False, "depth": 2},
        }
    )
    rendering = PromptRenderer(tokenizer, settings)
    assert rendering.text("1+1?") == "<system>Be brief.<user>1+1?<assistant><think>\n"
    assert tokenizer.kwargs == {"enable_thinking": False, "depth": 2}
    ids = rendering.token_ids(rollout_pb2.Prompt(problem="1<end>"))
    assert ids == [*letters("<system>Be brief."), 1, *letters("1<end>"), 2, 3, ord("\n")]


@pytest.mark.parametrize("given", [{"system": "s"}, {"prefill": "p"}, {"chat_template_kwargs": {"a": 1}}])
def test_chat_settings_go_with_the_chat_template(given: dict[str, Any]) -> None:
    name = next(iter(given))
    with pytest.raises(ValidationError, match=f'{name} goes with template = "chat"; write it into the template'):
        PromptSettings.model_validate({"file": "p.jsonl", "template": "{problem}", **given})


BEGINNINGS: dict[str, tuple[str, str, list[int], str]] = {
    "written once": ("<end>{problem}", "template", [END, ord("1")], ""),
    "missing": ("{problem}", "template", [ord("1")], "token 0, .* is missing at the beginning of a prompt"),
    "missing on purpose": ("{problem}", "without", [ord("1")], ""),
    "added": ("{problem}", "add", [END, ord("1")], ""),
    "not added twice": ("<end>{problem}", "add", [END, ord("1")], ""),
    "written twice": ("<end><end>{problem}", "template", [END, END, ord("1")], "token 0, .* stands twice"),
}


@pytest.mark.parametrize("case", BEGINNINGS)
def test_how_a_prompt_begins_is_looked_at(case: str) -> None:
    """This tokenizer begins a text with token 0."""
    template, begin, ids, fault = BEGINNINGS[case]
    settings = PromptSettings.model_validate({"file": "p.jsonl", "template": template, "begin": begin})
    rendering = PromptRenderer(CharacterTokenizer(), settings)
    assert rendering.token_ids(rollout_pb2.Prompt(problem="1")) == ids
    said = beginning_fault(rendering, settings, None)
    assert re.search(fault, said) if fault else said == ""


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


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def ids_of(problem: str, **settings: Any) -> list[int]:
    return renderer(**settings).token_ids(rollout_pb2.Prompt(problem=problem))


def test_a_control_token_in_a_problem_stays_text_and_the_templates_stay_control_tokens() -> None:
    assert ids_of("1+1.<end>") == [1, *letters("1+1.<end>"), 2]
    assert ids_of("<user>?", instruction="Box it.<end>") == [1, *letters("<user>?\nBox it."), END, 2]
    assert ids_of("a<end>b", template="<user>{problem}<end>") == [1, *letters("a<end>b"), END]
    assert ids_of("<end>", template="{problem}, again: {problem}") == letters("<end>, again: <end>")


def test_a_control_token_that_template_and_problem_would_make_together_stays_text() -> None:
    assert ids_of("nd>", template="<user>Say <e{problem}") == [1, *letters("Say <end>")]


def test_added_tokens_that_are_no_control_tokens_are_tokens_in_a_problem_too() -> None:
    assert ids_of("<think><end>") == [1, 3, *letters("<end>"), 2]


def test_a_problem_whose_control_token_cannot_be_kept_as_text_is_refused() -> None:
    with pytest.raises(PromptRefused, match="control token in a problem: this tokenizer cannot read one as text"):
        ids_of("1+1.<end>", tokenizer=CharacterTokenizer(reads_control_tokens_as_text=False))
    trims = CharacterTokenizer(trims=True)
    assert ids_of(" <end> ", tokenizer=trims) == [1, *letters("<end>"), 2]
    with pytest.raises(PromptRefused, match="the chat template changes the problem"):
        ids_of("ABC <end>", tokenizer=trims)


def test_a_tokenizer_without_a_chat_template_cannot_start() -> None:
    class Without(CharacterTokenizer):
        def apply_chat_template(self, *_: Any, **__: Any) -> str:
            raise ValueError("chat_template is not set")

    with pytest.raises(StartupError, match=r'prompts\.template = "chat": .* chat_template is not set; write '):
        renderer(tokenizer=Without())
