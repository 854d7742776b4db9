"""Answers to those who ask beside the run: `GeneratorService.Generate`, token by token, with the weights held.

Nothing of it is leased, verified or stored, and its tokens are not among those that the run counts. It shares the
engine with the run's groups, so a generator answers `generator.answers_at_once` requests at a time and no more. A
publish waits for none of them; a request that is bound to a version fails once another is held.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from areal_mesh.generator.answer_messages import sampling_message, sampling_of, tokens_message
from areal_mesh.generator.engine_process import EngineDied
from areal_mesh.generator.pieces_text import PiecesText
from areal_mesh.generator.values import Completion, Piece, Sampling
from areal_mesh.generator.vllm_arguments import context_tokens
from areal_mesh.generator.weight_receiver import NO_VERSION
from areal_mesh.prompts.renderer import PromptRefused, PromptRenderer
from areal_mesh.runtime.errors import (
    aborted,
    failed_precondition,
    invalid_argument,
    resource_exhausted,
    unavailable,
)
from areal_mesh.runtime.groups import decode_int32, encode_int32
from areal_mesh.runtime.model_config import vocabulary_size
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import generator_pb2, rollout_pb2

T = TypeVar("T")
UNTAGGED = "untagged"
EVALUATION = "evaluation"
"""The tag of the run's own evaluation, which has a bound of its own (`evaluation.requests_at_once`)."""
_RETRY_SECONDS = 1.0
_TAGS_COUNTED = 16
"""Tags with a metric of their own, the first that come; the others count as untagged."""


class Streamer(Protocol):
    """The part of the engine that answers, token by token or at once."""

    async def generate(
        self, prompt_token_ids: Sequence[int], sampling: Sampling, request_id: str
    ) -> tuple[Completion, ...]:
        """All responses, once the last has ended; cancelling the caller aborts the request."""

    def stream(self, prompt_token_ids: Sequence[int], sampling: Sampling, request_id: str) -> AsyncGenerator[Piece]:
        """The tokens of all responses as they come; closing it aborts the request."""


@dataclass(frozen=True)
class AnswerSource:
    """What answers are made with. `tokenizer_thread` has one thread, as `GroupWork`'s."""

    streamer: Streamer
    renderer: PromptRenderer
    tokenizer_thread: Executor

    async def with_tokenizer(self, work: Callable[[], T]) -> T:
        """Runs `work` where a tokenizer may be used."""
        return await asyncio.get_running_loop().run_in_executor(self.tokenizer_thread, work)


@dataclass
class Answers:
    """See the module. Answers once `source` is set, which the service does when its engine has started."""

    settings: RunSettings
    held_version: Callable[[], int]
    """The version held, NO_VERSION for none."""
    draining: asyncio.Event
    source: AnswerSource | None = None
    _running: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    """Requests under way: those of the run's own evaluation, and all others."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Sampled since the start, by tag."""

    async def generate(self, request: generator_pb2.GenerateRequest) -> AsyncGenerator[generator_pb2.GenerateResponse]:
        """What `Generate` answers. Raises MeshError, as the contract says."""
        source, version = self._ready(request)
        prompt = await self._prompt(source, request)
        sampling = sampling_of(request, self.settings)
        room = context_tokens(self.settings) - len(prompt)
        sampling = replace(sampling, max_response_tokens=min(sampling.max_response_tokens, room))
        with self._one_more(request.tag):
            started = generator_pb2.GenerationStarted(
                prompt_token_ids=encode_int32(prompt),
                sampling=sampling_message(sampling),
                policy_version=version,
            )
            yield generator_pb2.GenerateResponse(started=started)
            pieces = _pieces(source.streamer, prompt, sampling, request.whole)
            texts = [PiecesText(source.renderer.response_text) for _ in range(sampling.responses)]
            try:
                async with aclosing(pieces):
                    async for piece in pieces:
                        self._check_version(request, piece)
                        self._count(request.tag, len(piece.token_ids))
                        text = await source.with_tokenizer(_text_of(texts[piece.response], piece))
                        yield tokens_message(piece, text)
            except EngineDied as error:
                raise unavailable("the engine ended under the request; it is started again") from error

    def metrics(self) -> dict[str, float]:
        """Requests under way, and tokens by tag, by metric name."""
        by_tag = {f"answer_tokens/{tag}": float(count) for tag, count in self.tokens.items()}
        return by_tag | {"answers_running": float(sum(self._running.values()))}

    @property
    def all_tokens(self) -> int:
        """Sampled since the start."""
        return sum(self.tokens.values())

    def _ready(self, request: generator_pb2.GenerateRequest) -> tuple[AnswerSource, int]:
        version = self.held_version()
        if self.draining.is_set():
            raise unavailable("the generator drains; ask another")
        if self.source is None or version == NO_VERSION:
            raise unavailable("the generator holds no weights that the learner published yet; ask again")
        if request.HasField("policy_version") and request.policy_version != version:
            raise failed_precondition(f"policy_version: {request.policy_version} is asked for, {version} is held")
        return self.source, version

    async def _prompt(self, source: AnswerSource, request: generator_pb2.GenerateRequest) -> list[int]:
        """Token ids of the prompt. Raises MeshError: INVALID_ARGUMENT, it is none that the model could read."""
        kind = request.WhichOneof("prompt")
        try:
            match kind:
                case "problem":
                    problem = rollout_pb2.Prompt(problem=request.problem)
                    ids = await source.with_tokenizer(lambda: source.renderer.token_ids(problem))
                case "text":
                    ids = await source.with_tokenizer(lambda: source.renderer.written_token_ids(request.text))
                case "prompt_token_ids":
                    ids = self._given(request.prompt_token_ids)
                case _:
                    raise invalid_argument("prompt", "one of problem, text and prompt_token_ids has to be set")
        except PromptRefused as error:
            raise invalid_argument(kind or "prompt", str(error)) from error
        context = context_tokens(self.settings)
        if not 0 < len(ids) < context:
            raise invalid_argument(kind, f"{len(ids)} tokens; 1 to {context - 1} leave room for a response")
        return ids

    def _given(self, buffer: bytes) -> list[int]:
        field = "prompt_token_ids"
        if len(buffer) % 4:
            raise invalid_argument(field, f"{len(buffer)} bytes are no int32 values")
        ids = decode_int32(buffer).tolist()
        most = vocabulary_size(self.settings.model.folder) or 1 << 31
        outside = next((token for token in ids if not 0 <= token < most), None)
        if outside is not None:
            raise invalid_argument(field, f"token {outside} is outside the model's vocabulary of {most}")
        return ids

    @contextmanager
    def _one_more(self, tag: str) -> Iterator[None]:
        evaluates = tag == EVALUATION and self.settings.evaluation.every > 0
        most = self.settings.evaluation.requests_at_once if evaluates else self.settings.generator.answers_at_once
        if most == 0:
            raise failed_precondition("generator.answers_at_once = 0: this run answers nobody beside its own groups")
        if self._running[evaluates] >= most:
            raise resource_exhausted(f"{most} requests are answered already", _RETRY_SECONDS)
        self._running[evaluates] += 1
        try:
            yield
        finally:
            self._running[evaluates] -= 1

    def _check_version(self, request: generator_pb2.GenerateRequest, piece: Piece) -> None:
        if not request.HasField("policy_version"):
            return
        held = {self.held_version(), *(span.version for span in piece.version_spans)}
        if held != {request.policy_version}:
            newest = max(held)
            raise aborted(f"policy_version: {request.policy_version} was replaced by {newest} before the last token")

    def _count(self, tag: str, tokens: int) -> None:
        named = tag if tag in self.tokens or len(self.tokens) < _TAGS_COUNTED else ""
        self.tokens[named or UNTAGGED] = self.tokens.get(named or UNTAGGED, 0) + tokens


async def _pieces(streamer: Streamer, prompt: Sequence[int], sampling: Sampling, whole: bool) -> AsyncGenerator[Piece]:
    """What the engine answers; `whole`: each response as one piece."""
    request_id = f"answer/{uuid.uuid4().hex}"
    if not whole:
        async with aclosing(streamer.stream(prompt, sampling, request_id)) as pieces:
            async for piece in pieces:
                yield piece
        return
    for index, one in enumerate(await streamer.generate(prompt, sampling, request_id)):
        yield Piece(index, one.token_ids, one.log_probs, one.version_spans, one.finish_reason)


def _text_of(text: PiecesText, piece: Piece) -> Callable[[], str]:
    return lambda: text.add(piece.token_ids.tolist(), bool(piece.finish_reason))
