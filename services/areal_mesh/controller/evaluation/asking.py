"""The calls of an evaluation: a response from a generator, verdicts from a verifier."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import grpc.aio

from areal_mesh.evaluation.requests import SampleRequest
from areal_mesh.evaluation.responses import REFUSED, Response
from areal_mesh.runtime.errors import retry_seconds
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import (
    generator_pb2,
    generator_pb2_grpc,
    rollout_pb2,
    verifier_pb2,
    verifier_pb2_grpc,
)

TAG = "evaluation"
_BUSY_SECONDS = 0.2
_REASONS = {rollout_pb2.FINISH_REASON_STOP: "stop", rollout_pb2.FINISH_REASON_LENGTH: "length"}
_BATCH = 256


class VersionGone(Exception):
    """The generator holds another version by now: nothing more of this evaluation can be asked of it."""


class GeneratorGone(Exception):
    """The generator does not answer; another may be asked."""


@dataclass(frozen=True)
class GeneratorAsked:
    """Asks one generator for responses of one version."""

    stub: "generator_pb2_grpc.GeneratorServiceAsyncStub"
    settings: RunSettings
    version: int

    async def response(self, request: SampleRequest) -> Response:
        """One response, as whoever evaluates this version at any time gets it.

        Raises:
            VersionGone, GeneratorGone: see there.
            grpc.aio.AioRpcError: another refusal.
        """
        while True:
            try:
                return await self._ask(request)
            except grpc.aio.AioRpcError as error:
                code = error.code()
                if code is grpc.StatusCode.INVALID_ARGUMENT:
                    return Response.to(request, "", 0, REFUSED, error.details() or "")
                if code in (grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION):
                    raise VersionGone(error.details()) from error
                if code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise GeneratorGone(f"{code.name}: {error.details()}") from error
                await asyncio.sleep(retry_seconds(error, _BUSY_SECONDS))

    async def _ask(self, request: SampleRequest) -> Response:
        settings = self.settings
        message = generator_pb2.GenerateRequest(
            problem=request.problem,
            temperature=settings.evaluation_temperature,
            top_p=settings.evaluation.top_p,
            max_response_tokens=settings.evaluation_response,
            seed=request.seed,
            policy_version=self.version,
            tag=TAG,
            whole=True,
        )
        async for answer in self.stub.Generate(message, timeout=settings.evaluation.seconds):
            tokens = answer.tokens
            if answer.WhichOneof("event") == "tokens" and tokens.finish_reason in _REASONS:
                return Response.to(request, tokens.text, len(tokens.token_ids) // 4, _REASONS[tokens.finish_reason])
        raise GeneratorGone("the answer ended before its last token")


async def verdicts(
    channel: grpc.aio.Channel, responses: Sequence[Response], settings: RunSettings
) -> list[rollout_pb2.Verdict]:
    """A verdict for each response, in order; those that are errors are asked for again, as in a rollout.

    Raises:
        grpc.aio.AioRpcError: the verifier does not answer.
    """
    stub: verifier_pb2_grpc.VerifierServiceAsyncStub = verifier_pb2_grpc.VerifierServiceStub(channel)
    found: list[rollout_pb2.Verdict] = []
    for begin in range(0, len(responses), _BATCH):
        batch = [_item(response) for response in responses[begin : begin + _BATCH]]
        graded = await _verify(stub, batch, settings)
        for _ in range(1, settings.generator.verify_attempts):
            wrong = [index for index, verdict in enumerate(graded) if not is_graded(verdict)]
            if not wrong:
                break
            again = await _verify(stub, [batch[index] for index in wrong], settings)
            for index, verdict in zip(wrong, again, strict=True):
                graded[index] = verdict
        found += graded
    return found


async def _verify(
    stub: "verifier_pb2_grpc.VerifierServiceAsyncStub", items: Sequence[verifier_pb2.VerifyItem], settings: RunSettings
) -> list[rollout_pb2.Verdict]:
    request = verifier_pb2.VerifyRequest(items=items)
    return list((await stub.Verify(request, timeout=settings.generator.verify_seconds)).verdicts)


def is_graded(verdict: rollout_pb2.Verdict) -> bool:
    """Whether a verdict is correct or incorrect, and no error."""
    return verdict.status in (rollout_pb2.VERDICT_STATUS_CORRECT, rollout_pb2.VERDICT_STATUS_INCORRECT)


def _item(response: Response) -> verifier_pb2.VerifyItem:
    return verifier_pb2.VerifyItem(response=response.text, gold_answers=response.golds, response_tokens=response.tokens)
