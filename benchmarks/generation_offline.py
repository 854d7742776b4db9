"""vLLM's own offline `LLM.generate` in a process of its own, which answers the same requests as the mesh."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from areal_mesh.generator.vllm_arguments import vllm_arguments, vllm_environment
from areal_mesh.runtime.settings import RunSettings

_SECONDS = 400.0
"""For a start, and for a round."""
_OF_A_PUBLISH = ("worker_extension_cls",)
"""Arguments of the mesh's engine that `LLM.generate` has no use for."""


@dataclass(frozen=True)
class Request:
    """One group, as both sides are asked for it."""

    prompt_token_ids: list[int]
    seed: int


@dataclass(frozen=True)
class Done:
    """What a side made of a round's requests."""

    tokens: int
    """Of all responses."""
    seconds: float

    @property
    def rate(self) -> float:
        """Response tokens a second."""
        return self.tokens / self.seconds


class Offline:
    """The process, from the outside."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def generate(self, requests: Sequence[Request]) -> Done:
        """Answers all of them in one call of `LLM.generate`. Raises TimeoutError, or EOFError when the process died."""
        self._pipe.send(list(requests))
        done: Done = self.result()
        return done

    def result(self) -> Any:
        """What the process says next."""
        if not self._pipe.poll(_SECONDS):
            raise TimeoutError(f"LLM.generate did not answer in {_SECONDS:g} s")
        return self._pipe.recv()


@contextmanager
def offline(settings: RunSettings, cores: Sequence[int], end_token_ids: Sequence[int]) -> Iterator[Offline]:
    """The process, started on `cores` with a thread on each; ended when left.

    Engine and front end are one process (`VLLM_ENABLE_V1_MULTIPROCESSING=0`), which spares `LLM` every message.
    """
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(settings, list(end_token_ids), theirs), daemon=True)
    environment, affinity = dict(os.environ), os.sched_getaffinity(0)
    # Before the process imports torch, which sizes its threads by them.
    os.environ.update(vllm_environment(settings, len(cores), os.environ) | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"})
    os.sched_setaffinity(0, cores)
    try:
        process.start()
    finally:
        os.sched_setaffinity(0, affinity)
        os.environ.clear()
        os.environ.update(environment)
    try:
        engine = Offline(ours)
        engine.result()
        yield engine
    finally:
        process.kill()
        process.join()


def _serve(settings: RunSettings, end_token_ids: list[int], pipe: Connection) -> None:
    from vllm import LLM, TokensPrompt

    arguments = {name: value for name, value in vllm_arguments(settings).items() if name not in _OF_A_PUBLISH}
    engine: Any = LLM(**arguments)
    pipe.send("ready")
    while True:
        requests: list[Request] = pipe.recv()
        prompts = [TokensPrompt(prompt_token_ids=request.prompt_token_ids) for request in requests]
        params = [_sampling(settings, end_token_ids, request.seed) for request in requests]
        began = time.perf_counter()
        outputs = engine.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - began
        pipe.send(Done(sum(len(answer.token_ids) for output in outputs for answer in output.outputs), seconds))


def _sampling(settings: RunSettings, end_token_ids: list[int], seed: int) -> Any:
    """What the generator's engine asks vLLM for, word for word."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    algorithm = settings.algorithm
    return SamplingParams(
        n=algorithm.responses,
        temperature=algorithm.temperature,
        top_p=algorithm.top_p,
        max_tokens=settings.stages[0].max_response_tokens,
        seed=seed,
        stop_token_ids=end_token_ids,
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
