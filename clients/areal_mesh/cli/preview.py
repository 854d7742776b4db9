"""`areal-mesh data preview`: prompts as the model will read them, token by token; and what of them cannot be right."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.resolving import resolved
from areal_mesh.prompts.inspection import unread_settings
from areal_mesh.prompts.plain_tokenizer import NoPlainTokenizer, PlainTokenizer, load_plain_tokenizer
from areal_mesh.prompts.renderer import PromptRefused, PromptRenderer, beginning_fault
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.problem_files import ProblemFile, ProblemFileError
from areal_mesh.runtime.problem_lines import LineError
from areal_mesh.runtime.problems import Problem
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.data import CHAT_TEMPLATE
from areal_mesh.runtime.text import printable
from areal_mesh.v1 import rollout_pb2


@dataclass(frozen=True)
class Preview:
    """One prompt."""

    problem: Problem
    text: str
    """With control tokens written out."""
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    """As the vocabulary has them."""
    refused: str = ""
    """Why the run will leave it out; then there are no tokens."""


def rendering_faults(settings: RunSettings) -> Iterator[str]:
    """What is wrong with every prompt of these settings, as far as the model's tokenizer is there and can be read."""
    try:
        tokenizer = load_plain_tokenizer(settings.model.folder)
    except NoPlainTokenizer:
        return  # the generator may read it, or says why not
    prompts = settings.prompts
    if prompts.template == CHAT_TEMPLATE and not (tokenizer.chat_template or prompts.chat_template):
        return  # told already
    try:
        renderer = PromptRenderer(tokenizer, prompts)
    except StartupError as error:
        yield str(error)
        return
    yield from unread_settings(tokenizer, prompts)
    if fault := beginning_fault(renderer, prompts, tokenizer.bos_token_id):
        yield fault


def preview(source: str, overrides: Sequence[str], count: int, as_json: bool) -> None:
    """Prints the first `count` prompts of a preset's or file's settings, then what is wrong with them.

    Raises:
        CommandFailed: the tokenizer or the prompt file cannot be read; or something is wrong with every prompt.
    """
    settings = resolved(source, overrides)
    try:
        tokenizer = load_plain_tokenizer(settings.model.folder)
        renderer = PromptRenderer(tokenizer, settings.prompts)
    except NoPlainTokenizer as error:
        raise CommandFailed(
            f"model.folder = {settings.model.folder}: no tokenizer to show prompts with: {error}; run "
            f"`areal-mesh prepare {source}`, or name a model's folder"
        ) from error
    except StartupError as error:
        raise CommandFailed(str(error)) from error
    for shown in previews(settings, renderer, tokenizer, count):
        print(json.dumps(_record(shown), ensure_ascii=True) if as_json else _lines(shown))
    faults = list(rendering_faults(settings))
    if faults:
        raise CommandFailed("\n".join(faults))


def previews(
    settings: RunSettings, renderer: PromptRenderer, tokenizer: PlainTokenizer, count: int
) -> Iterator[Preview]:
    """The first `count` prompts. Raises CommandFailed: the prompt file cannot be read."""
    for problem in islice(problems_of(settings), count):
        prompt = rollout_pb2.Prompt(prompt_id=problem.prompt_id, problem=problem.problem)
        text = renderer.text(problem.problem)
        try:
            ids = tuple(renderer.token_ids(prompt))
        except PromptRefused as error:
            yield Preview(problem, text, (), (), str(error))
            continue
        yield Preview(problem, text, ids, tuple(tokenizer.token(token) for token in ids))


def problems_of(settings: RunSettings) -> Iterator[Problem]:
    """The problems of `prompts.file`, in its order. Raises CommandFailed: it cannot be read."""
    file, number = settings.prompts.file, 0
    source = ProblemFile(file, settings.prompts.columns, not settings.verifier.reward_alone)
    try:
        for ordinal, (number, line) in enumerate(source.lines(), start=1):  # noqa: B007 an error names it
            yield source.problem(line, ordinal)
    except LineError as error:
        raise CommandFailed(f"prompts.file = {file}, {source.unit} {number}: {error}") from error
    except ProblemFileError as error:
        raise CommandFailed(f"prompts.file = {file}: {error}") from error
    except OSError as error:
        raise CommandFailed(f"prompts.file = {file}: {(error.strerror or str(error)).lower()}; name another") from error


def _record(shown: Preview) -> dict[str, object]:
    return {
        "id": shown.problem.prompt_id,
        "answers": list(shown.problem.gold_answers),
        "text": shown.text,
        "token_ids": list(shown.token_ids),
        "tokens": list(shown.tokens),
        "refused": shown.refused,
    }


def _lines(shown: Preview) -> str:
    head = (
        f"--- {shown.problem.prompt_id}: {len(shown.token_ids)} tokens; answer {', '.join(shown.problem.gold_answers)}"
    )
    if shown.refused:
        return printable(f"--- {shown.problem.prompt_id}: left out: {shown.refused}\n{shown.text}")
    tokens = " ".join(f"{token}:{text!r}" for token, text in zip(shown.token_ids, shown.tokens, strict=True))
    return f"{printable(head)}\n{printable(shown.text)}\n{tokens}"
