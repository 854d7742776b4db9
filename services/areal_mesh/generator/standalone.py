"""The generator's engine without a run: ``python -m areal_mesh.generator.standalone PLAN``.

Answers the requests of a plan with a model folder's weights, as a generator samples them, and writes each response as
it ends: one JSON object a line on standard output, which nothing else is written to. It knows nothing of grading, nor
of what the responses are for. The lines:

    {"event": "ready", "max_prompt_tokens": 310, "max_response_tokens": 4096}
    {"event": "response", "id": ..., "text": ..., "tokens": 83, "finish_reason": "stop"}
    {"event": "refused", "id": ..., "reason": ...}
    {"event": "progress", "tokens": 10240}
"""

import asyncio
import json
import os
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from areal_mesh.generator.assembly import check_completions
from areal_mesh.generator.engine import Engine
from areal_mesh.generator.tokenizer import load_tokenizer
from areal_mesh.generator.values import Sampling
from areal_mesh.prompts.renderer import TOO_LONG, PromptRefused, PromptRenderer
from areal_mesh.runtime.end_tokens import end_token_ids
from areal_mesh.runtime.environment import show_gpus
from areal_mesh.runtime.model_config import position_count
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import rollout_pb2

Write = Callable[[Mapping[str, Any]], None]
_NO_LIMIT = 1 << 30
_PULSE_SECONDS = 2.0
_STALL_SECONDS = 300.0
"""Without a token in so long the engine is given up: a step of the largest models takes seconds."""
_VERSION = 0


class NothingGenerated(RuntimeError):
    """The engine made no token for too long."""


@dataclass(frozen=True)
class Request:
    """One response that is wanted."""

    identifier: str
    problem: str
    seed: int


@dataclass(frozen=True)
class Plan:
    """What is to be answered, and how."""

    settings: RunSettings
    """Model, prompts, engine, and the sampling of an evaluation."""
    requests: tuple[Request, ...]


def write_plan(plan: Plan, path: Path) -> None:
    """Writes a plan for `read_plan`."""
    value = {
        "settings": plan.settings.model_dump(mode="json"),
        "requests": [[request.identifier, request.problem, request.seed] for request in plan.requests],
    }
    path.write_text(json.dumps(value), encoding="utf-8")


def read_plan(path: Path) -> Plan:
    """The inverse of `write_plan`."""
    value = json.loads(path.read_text(encoding="utf-8"))
    settings = RunSettings.model_validate(value["settings"])
    return Plan(settings, tuple(Request(*request) for request in value["requests"]))


def fitted(longest_prompt: int, wanted_response: int, positions: int | None) -> tuple[int, int]:
    """Tokens of the longest prompt that is taken and of the longest response, within a model's `positions`.

    The response limit that is wanted comes first, up to three quarters of the positions; prompts that then have no
    room are refused.
    """
    if positions is None or longest_prompt + wanted_response <= positions:
        return longest_prompt, wanted_response
    prompt = min(longest_prompt, max(positions - wanted_response, positions // 4))
    return prompt, min(wanted_response, positions - prompt)


@dataclass(frozen=True)
class _Prompts:
    """The prompts of a plan: token ids of each problem, or why it is refused."""

    renderer: PromptRenderer
    token_ids: dict[str, list[int]]
    refusals: dict[str, str]

    @classmethod
    def of(cls, plan: Plan, tokenizer: Any) -> "_Prompts":
        """Renders each problem once. Raises StartupError."""
        unlimited = plan.settings.prompts.model_copy(update={"max_prompt_tokens": _NO_LIMIT})
        prompts = cls(PromptRenderer(tokenizer, unlimited), {}, {})
        for problem in dict.fromkeys(request.problem for request in plan.requests):
            try:
                prompts.token_ids[problem] = prompts.renderer.token_ids(rollout_pb2.Prompt(problem=problem))
            except PromptRefused as error:
                prompts.refusals[problem] = str(error)
        return prompts

    def refuse_over(self, most: int) -> None:
        """Refuses prompts of more than `most` tokens."""
        for problem in [problem for problem, ids in self.token_ids.items() if len(ids) > most]:
            tokens = len(self.token_ids.pop(problem))
            self.refusals[problem] = f"{TOO_LONG}: {tokens} tokens, and the model has room for {most}"


async def answer(plan: Plan, write: Write) -> None:
    """Answers every request of a plan.

    Raises:
        StartupError, EndTokenError: the model folder cannot be used.
        NothingGenerated, EngineDied, UnusableCompletion: the engine failed, or the weights are no numbers.
    """
    settings = plan.settings
    tokenizer: Any = load_tokenizer(settings.model.folder)
    prompts = _Prompts.of(plan, tokenizer)
    longest = max((len(ids) for ids in prompts.token_ids.values()), default=1)
    positions = position_count(settings.model.folder)
    prompt_tokens, response_tokens = fitted(longest, settings.evaluation_response, positions)
    prompts.refuse_over(prompt_tokens)
    for request in plan.requests:
        if request.problem in prompts.refusals:
            write({"event": "refused", "id": request.identifier, "reason": prompts.refusals[request.problem]})
    if not prompts.token_ids:
        return
    ends = end_token_ids(settings.model.folder, tokenizer.eos_token_id, settings.model.end_token_ids)
    engine = await Engine.start(_with_limits(settings, prompt_tokens, response_tokens), ends, _VERSION)
    try:
        write({"event": "ready", "max_prompt_tokens": prompt_tokens, "max_response_tokens": response_tokens})
        sampling = Sampling(1, response_tokens, settings.evaluation_temperature, settings.evaluation.top_p)
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(engine.watch()), tasks.create_task(_pulse(engine, write))]
            await _answer_all(plan, engine, prompts, sampling, write)
            for task in watching:
                task.cancel()
    finally:
        await asyncio.to_thread(engine.shutdown)


def _with_limits(settings: RunSettings, prompt_tokens: int, response_tokens: int) -> RunSettings:
    """Settings whose engine has room for such prompts and responses and no more."""
    prompts = settings.prompts.model_copy(update={"max_prompt_tokens": prompt_tokens})
    stage = settings.stages[-1].model_copy(update={"max_response_tokens": response_tokens})
    return settings.model_copy(update={"prompts": prompts, "stages": [stage]})


async def _answer_all(plan: Plan, engine: Engine, prompts: _Prompts, sampling: Sampling, write: Write) -> None:
    """Keeps the engine full, with a quarter of its slots waiting in it, until every request is answered."""
    section = plan.settings.generator
    slots = section.max_sequences * section.data_parallel_size
    asked = iter([request for request in plan.requests if request.problem in prompts.token_ids])
    # One thread, for a tokenizer is not safe to use from several; a long text would hold the event loop.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenizer") as thread:
        async with asyncio.TaskGroup() as workers:
            for _ in range(slots + slots // 4):
                workers.create_task(_work(asked, engine, prompts, sampling, write, thread))


async def _work(
    asked: Iterator[Request],
    engine: Engine,
    prompts: _Prompts,
    sampling: Sampling,
    write: Write,
    thread: ThreadPoolExecutor,
) -> None:
    for request in asked:
        one = replace(sampling, seed=request.seed)
        request_id = f"{request.identifier}/{uuid.uuid4().hex}"
        completions = await engine.generate(prompts.token_ids[request.problem], one, request_id)
        check_completions(completions, 1)
        [completion] = completions
        ids: Sequence[int] = completion.token_ids.tolist()
        text = await asyncio.get_running_loop().run_in_executor(thread, prompts.renderer.response_text, ids)
        reason = completion.finish_reason
        write(
            {"event": "response", "id": request.identifier, "text": text, "tokens": len(ids), "finish_reason": reason}
        )


async def _pulse(engine: Engine, write: Write) -> None:
    """Says how many tokens were generated, while there are more. Raises NothingGenerated."""
    loop = asyncio.get_running_loop()
    tokens, since = -1, loop.time()
    while True:
        generated = engine.stats().tokens_generated
        if generated != tokens:
            tokens, since = generated, loop.time()
            write({"event": "progress", "tokens": tokens})
        elif loop.time() - since > _STALL_SECONDS:
            raise NothingGenerated(f"the engine made no token in {_STALL_SECONDS:g} s")
        await asyncio.sleep(_PULSE_SECONDS)


def cause_of(error: BaseException) -> str:
    """The first of the errors that ended a task group, on one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split()) or repr(error)


def main(arguments: Sequence[str]) -> None:
    """Answers the plan in the file that is named; the last line on standard error is the cause of a failure."""
    [path] = arguments
    # Libraries print where they like: standard output is for responses alone.
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def write(record: Mapping[str, Any]) -> None:
        lines.write(json.dumps(record) + "\n")

    plan = read_plan(Path(path))
    show_gpus(plan.settings.generator.gpus)
    try:
        asyncio.run(answer(plan, write))
    except Exception as error:  # noqa: BLE001 told on the last line, and the process ends
        traceback.print_exception(error)
        print(cause_of(error), file=sys.stderr, flush=True)
        os._exit(1)
    lines.flush()
    # Finalisers of libraries complain when the interpreter ends.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
