"""Prompts as token ids: the tokenizer's chat template, or the run's own."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.settings import PromptSettings
from areal_mesh.runtime.settings.data import CHAT_TEMPLATE, PROBLEM_PLACE
from areal_mesh.v1 import rollout_pb2

TOO_LONG = "prompt too long"
CONTROL_TOKEN = "control token in a problem"
_PROBLEM = "1+1?"
# Private-use characters: no problem, template or instruction holds them.
_PLACE = "\ue000problem\ue001"


class AddedToken(Protocol):
    """A token that the tokenizer finds before it splits a text."""

    content: str
    special: bool


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a text; None where the tokenizer names none."""

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends one."""

    @property
    def unk_token_id(self) -> int | None:
        """The token of what has none."""

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]:
        """Added tokens by their ids; control tokens are the special ones."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, **kwargs: Any
    ) -> str:
        """The conversation as text; `kwargs` are what the template reads beside it."""

    def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool = False) -> list[int]:
        """Token ids of a text; with `split_special_tokens` those that stand in it are text."""

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Text of token ids."""


class PromptRefused(ValueError):
    """The prompt cannot be given to the model: its group is filtered with the reason."""


class PromptTooLong(PromptRefused):
    """The prompt has more tokens than the settings allow."""


class PromptRenderer:
    """Renders prompts by one tokenizer and the run's prompt settings.

    Control tokens are those of the template, the instruction, the system message and the prefill. One that stands as
    text in a problem, such as the token that ends a turn, stays text: the problem's author is not the one who speaks to
    the model in control tokens.

    Raises:
        StartupError: the template cannot be rendered.
    """

    def __init__(self, tokenizer: Tokenizer, settings: PromptSettings) -> None:
        self._tokenizer = tokenizer
        self._settings = settings
        special = {id_: token.content for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
        # What has no token of its own may become the unknown one, control token though that is.
        self._control_ids = set(special) - {tokenizer.unk_token_id}
        longest_first = sorted(filter(None, special.values()), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self.begin_token_id = begin_token_id(tokenizer)
        """What the tokenizer puts before a text by itself; None where it puts nothing there."""
        self._own_template = own_chat_template(settings)
        try:
            self._template = self.text(_PLACE)
        except Exception as error:
            # jinja's errors are of no common type, and a second try would fail as well.
            raise StartupError(
                f'prompts.template = "{settings.template}": the model\'s tokenizer cannot render a problem: {error}; '
                f"write the prompt out with {PROBLEM_PLACE} in it"
            ) from error

    def text(self, problem: str) -> str:
        """The prompt as the model reads it, special tokens written out."""
        instruction = self._settings.instruction
        content = f"{problem}\n{instruction}" if instruction else problem
        if self._settings.template == CHAT_TEMPLATE:
            return self._chat(content) + self._settings.prefill
        # Not str.format: a template may hold braces of its own, as in \boxed{}.
        return self._settings.template.replace(PROBLEM_PLACE, content)

    def _chat(self, content: str) -> str:
        """The conversation up to where the model begins."""
        system = self._settings.system
        messages = [{"role": "system", "content": system}] if system else []
        return self._tokenizer.apply_chat_template(
            [*messages, {"role": "user", "content": content}],
            tokenize=False,
            add_generation_prompt=True,
            **self._own_template,
            **self._settings.chat_template_kwargs,
        )

    def token_ids(self, prompt: rollout_pb2.Prompt) -> list[int]:
        """Token ids of a prompt.

        Raises:
            PromptTooLong: more than `max_prompt_tokens`.
            PromptRefused: a control token in the problem cannot be kept as text.
        """
        text = self.text(prompt.problem)
        if self._control.findall(text) == self._control.findall(self._template):
            # The template writes out the special tokens it wants: adding more would double the first.
            ids = self._tokenizer.encode(text, add_special_tokens=False)
        else:
            ids = self._with_problem_as_text(text, prompt.problem)
        begin = self.begin_token_id
        if self._settings.begin == "add" and begin is not None and ids[:1] != [begin]:
            ids.insert(0, begin)
        if len(ids) > self._settings.max_prompt_tokens:
            raise PromptTooLong(
                f"{TOO_LONG}: {len(ids)} tokens, prompts.max_prompt_tokens = {self._settings.max_prompt_tokens}"
            )
        return ids

    def written_token_ids(self, text: str) -> list[int]:
        """Token ids of a prompt that is written out whole, control tokens included."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _with_problem_as_text(self, text: str, problem: str) -> list[int]:
        """Token ids of `text`, in which the template's control tokens alone are such.

        They part the text for the tokenizer in any case, so that what stands between them is encoded by itself.
        """
        template = self._template
        inserted = next((form for form in (problem, problem.strip()) if template.replace(_PLACE, form) == text), None)
        if inserted is None:
            raise PromptRefused(f"{CONTROL_TOKEN}: the chat template changes the problem, which holds one as text")
        ids: list[int] = []
        end = 0
        for match in self._control.finditer(template):
            ids += self._plain(template[end : match.start()].replace(_PLACE, inserted))
            ids += self._tokenizer.encode(match.group(), add_special_tokens=False)
            end = match.end()
        return ids + self._plain(template[end:].replace(_PLACE, inserted))

    def _plain(self, text: str) -> list[int]:
        ids = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True) if text else []
        if not self._control_ids.isdisjoint(ids):
            raise PromptRefused(f"{CONTROL_TOKEN}: this tokenizer cannot read one as text, and the problem holds one")
        return ids

    def response_text(self, token_ids: Sequence[int]) -> str:
        """A response as the verifier reads it: without special tokens."""
        return self._tokenizer.decode(token_ids, skip_special_tokens=True)


def own_chat_template(settings: PromptSettings) -> dict[str, str]:
    """`chat_template` with the text of the settings' own; nothing where the tokenizer's is. Raises StartupError."""
    if settings.chat_template is None:
        return {}
    try:
        return {"chat_template": settings.chat_template.read_text(encoding="utf-8")}
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"prompts.chat_template = {settings.chat_template}: cannot be read: {error}") from error


def begin_token_id(tokenizer: Tokenizer) -> int | None:
    """The token that a tokenizer puts before a text by itself; None where it puts none there."""
    with_added, alone = (tokenizer.encode("a", add_special_tokens=added) for added in (True, False))
    added = len(with_added) - len(alone)
    return with_added[0] if added > 0 and with_added[1 : 1 + len(alone)] == alone else None


def beginning_fault(renderer: PromptRenderer, settings: PromptSettings, begin_token_id: int | None) -> str:
    """What is wrong with the beginning of every prompt; empty where nothing is.

    Args:
        begin_token_id: the token that the tokenizer names as the beginning of a text; None where it names none.
    """
    try:
        first, second = [*renderer.token_ids(rollout_pb2.Prompt(problem=_PROBLEM)), -1][:2]
    except PromptRefused:
        return ""
    own = renderer.begin_token_id
    if first == second and first in (own, begin_token_id):
        return (
            f"prompts: token {first}, with which a text begins for this model, stands twice at the beginning of a "
            "prompt; write it once in prompts.template"
        )
    if settings.begin == "template" and own is not None and first != own:
        return (
            f"prompts: token {own}, with which this model's tokenizer begins a text, is missing at the beginning of a "
            'prompt; set prompts.begin = "add", or "without" for a model that was trained without it'
        )
    return ""
