"""What `config check` shows: the prompts, the first of them as the model reads it, and the GPUs."""

import textwrap
from collections.abc import Iterator

from areal_mesh.cli.findings import wanted_gpus
from areal_mesh.cli.machine import Machine
from areal_mesh.cli.reward_check import first_problem
from areal_mesh.prompts.plain_tokenizer import NoPlainTokenizer, load_plain_tokenizer
from areal_mesh.prompts.renderer import PromptRefused, PromptRenderer
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.problem_columns import said_of
from areal_mesh.runtime.problem_files import ProblemFileError, problem_files
from areal_mesh.runtime.problem_lines import LineError
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.data import CHAT_TEMPLATE
from areal_mesh.runtime.text import printable
from areal_mesh.v1 import rollout_pb2

PROMPTS_READ = 1000
"""Of each file: enough to see what is wrong with it, in a second."""
_LONGEST_SHOWN = 2000


def prompts_shown(settings: RunSettings) -> Iterator[str]:
    """The files of problems, what was taken for what in them, and the first prompt as the model reads it."""
    most = min(filter(None, (PROMPTS_READ, settings.prompts.count)))
    for key, source in problem_files(settings.prompts, answers_needed=not settings.verifier.reward_alone):
        try:
            count = sum(1 for _, _ in zip(range(most), source.lines(), strict=False))
            said = said_of(source.found)
        except (OSError, ProblemFileError, LineError):
            continue  # told among the faults
        more = "the first " if count == most else ""
        yield f"{key} = {source.path}: {more}{count:,} problems were read{f'; {said}' if said else ''}"
    yield from _first_prompt(settings)


def _first_prompt(settings: RunSettings) -> Iterator[str]:
    problem = first_problem(settings)
    if problem is None:
        return
    answer = f", answer {printable(', '.join(problem.gold_answers))}" if problem.gold_answers else ""
    try:
        tokenizer = load_plain_tokenizer(settings.model.folder)
        renderer = PromptRenderer(tokenizer, settings.prompts)
        ids = renderer.token_ids(rollout_pb2.Prompt(prompt_id=problem.prompt_id, problem=problem.problem))
    except (NoPlainTokenizer, StartupError, PromptRefused) as error:
        yield f"the first prompt, {problem.prompt_id}{answer}, cannot be shown as the model reads it: {error}"
        return
    own = settings.prompts.chat_template
    its = "its chat template" if own is None else f"the chat template of {own}"
    how = its if settings.prompts.template == CHAT_TEMPLATE else "prompts.template"
    text = textwrap.indent(printable(renderer.text(problem.problem)[:_LONGEST_SHOWN]), "    | ", lambda _: True)
    yield f"the first prompt, {problem.prompt_id}, by {how}: {len(ids)} tokens{answer}\n{text}"


def gpus_shown(machine: Machine, settings: RunSettings) -> str:
    """How many GPUs there are, and how many the run takes."""
    return f"GPUs: {len(machine.gpus)} here, the run takes {wanted_gpus(settings)}"
