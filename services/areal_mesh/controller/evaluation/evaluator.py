"""The evaluator: one task that has every so many versions answer the suites, through the run's generators and verifier.

What it asks are tagged requests beside the run (`GeneratorService.Generate`): no lease, nothing in the replay buffer,
no group in the ledger's count. Every response is kept in `evaluations/version-N/responses.jsonl`; the figures of a
version are written down only where every response came from it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc.aio
import structlog

from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.evaluation.asking import (
    GeneratorAsked,
    GeneratorGone,
    VersionGone,
    is_graded,
    verdicts,
)
from areal_mesh.controller.evaluation.due import chosen, is_due
from areal_mesh.controller.evaluation.holds import Holds
from areal_mesh.controller.member import Member
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.records import EvaluationRow
from areal_mesh.controller.room import LedgerFull
from areal_mesh.controller.run import Run
from areal_mesh.evaluation.requests import SampleRequest, sample_requests
from areal_mesh.evaluation.responses import REFUSED, DamagedFile, Response, ResponseFile, read_responses
from areal_mesh.evaluation.scores import GradedSample, SuiteScore, score_suite
from areal_mesh.evaluation.suites import Suite, SuiteError, read_suites
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.settings import EvaluationSettings
from areal_mesh.v1 import common_pb2, generator_pb2_grpc, rollout_pb2

_LOG = structlog.get_logger("evaluation")
_LOOK_SECONDS = 5.0
_WATCHED = (Change.STEPS, Change.PUBLISHES, Change.MEMBERS, Change.EVALUATIONS)


class GivenUp(Exception):
    """An evaluation that did not come to its end: why."""


@dataclass
class _Asked:
    """The requests of one evaluation that are not answered yet."""

    waiting: deque[SampleRequest]
    file: ResponseFile
    end: str = ""
    """Why a generator answers no more; empty while all do."""


@dataclass
class Evaluator:
    """See the module."""

    run: Run
    roster: Roster
    holds: Holds
    changes: Changes
    clock: Clock
    suites: Sequence[Suite]
    channel_to: Callable[[str], grpc.aio.Channel]
    directory: Path
    ending: asyncio.Event
    tried: list[int] = field(default_factory=list)
    """Versions whose evaluation was given up."""
    _evaluating: bool = False

    @property
    def busy(self) -> bool:
        """Whether a version is evaluated, or is to be now."""
        return self._evaluating or self._ready()

    async def work(self) -> None:
        """Evaluates what is due, until the run's end."""
        if not self.run.settings.evaluation.every:
            return
        while not self.ending.is_set():
            if not await self.changes.until(self._ready, _LOOK_SECONDS, Change.PUBLISHES, Change.MEMBERS, Change.STATE):
                continue
            version = self.run.published_version
            try:
                self._evaluating = True
                await self._evaluate(version)
            except (GivenUp, LedgerFull, OSError, DamagedFile, grpc.aio.AioRpcError) as error:
                _LOG.warning("an evaluation is given up", policy_version=version, cause=str(error))
                self.tried.append(version)
            finally:
                self._evaluating = False
                self.changes.notify(Change.STATE)  # at the end of a run, members may leave now

    def _ready(self) -> bool:
        section, run = self.run.settings.evaluation, self.run
        last = run.finished and run.published_version == run.version
        due = is_due(section.every, run.evaluations.version, self.tried, run.published_version, last)
        return due and not run.stopping and bool(self._holders(run.published_version))

    def _holders(self, version: int) -> list[Member]:
        """Generators that serve this version."""
        return [
            member
            for member in self.roster.live(common_pb2.ROLE_GENERATOR)
            if member.policy_version == version
            and not member.quarantined
            and member.state != common_pb2.SERVICE_STATE_DRAINING
        ]

    async def _evaluate(self, version: int) -> None:
        section = self.run.settings.evaluation
        members = chosen(section.share, self._holders(version))
        label = f"{self.run.settings.name}@{version}"
        requests = list(sample_requests(label, self.suites, section.samples, section.seed))
        path = self.directory / f"version-{version:08d}" / "responses.jsonl"
        began = self.clock.monotonic()
        file = ResponseFile(path)
        try:
            asked = _Asked(deque(request for request in requests if request.key not in file.known), file)
            with self.holds.holding(member.key for member in members):
                await self._ask_all(asked, members, version)
            missing = sum(request.key not in file.known for request in requests)
            if missing:
                raise GivenUp(f"{asked.end or 'a generator left'}; {missing} responses are missing")
        finally:
            self.changes.notify(Change.PUBLISHES)  # whoever was held may be given what it lacks
            await asyncio.to_thread(file.close)
        seconds = self.clock.monotonic() - began
        responses = await asyncio.to_thread(lambda: list(read_responses(path)))
        rows = await self._rows(version, responses, seconds)
        self.run.evaluated(rows)
        self.changes.notify(Change.EVALUATIONS)
        pass_at_1 = {row.suite: round(float(row.figures["pass_at_1"]), 4) for row in rows}
        _LOG.info("evaluated", policy_version=version, seconds=round(seconds, 2), pass_at_1=pass_at_1)

    async def _ask_all(self, asked: _Asked, members: Sequence[Member], version: int) -> None:
        """Has every request answered, unless this version has to give way. Raises GivenUp."""
        section = self.run.settings.evaluation
        keys = {member.key for member in members}

        def gone() -> bool:
            return not self.holds.kept or any(
                member is None or member.policy_version != version for member in map(self.roster.find, keys)
            )

        try:
            async with asyncio.timeout(section.seconds), asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(self._ask_each(asked, members, version))
                while not await self.changes.until(lambda: asking.done() or gone(), _LOOK_SECONDS, *_WATCHED):
                    pass
                asking.cancel()
        except TimeoutError as error:
            raise GivenUp(f"not done in evaluation.seconds = {section.seconds:g}") from error
        if asking.cancelled():
            raise GivenUp("training needs the generators that are examined")

    async def _ask_each(self, asked: _Asked, members: Sequence[Member], version: int) -> None:
        try:
            async with asyncio.TaskGroup() as asking:
                for member in members:
                    stub = generator_pb2_grpc.GeneratorServiceStub(self.channel_to(member.address))
                    asking.create_task(self._ask_one(asked, GeneratorAsked(stub, self.run.settings, version)))
        finally:
            self.changes.notify(Change.EVALUATIONS)

    async def _ask_one(self, asked: _Asked, generator: GeneratorAsked) -> None:
        """Keeps one generator busy with as many requests as it may be asked at a time."""
        async with asyncio.TaskGroup() as lanes:
            for _ in range(self.run.settings.evaluation.requests_at_once):
                lanes.create_task(_lane(asked, generator))

    async def _rows(self, version: int, responses: Sequence[Response], seconds: float) -> list[EvaluationRow]:
        """The figures of each suite, graded by the run's verifier. Raises GivenUp."""
        verifier = next(iter(self.roster.live(common_pb2.ROLE_VERIFIER)), None)
        if verifier is None:
            raise GivenUp("no verifier is there to grade")
        graded = await verdicts(self.channel_to(verifier.address), responses, self.run.settings)
        # Intervals of large suites take longer than callers should wait.
        scores = await asyncio.to_thread(_scores, self.suites, responses, graded)
        now = self.clock.unix()
        return [
            EvaluationRow(version, suite, now, asdict(score) | {"seconds": seconds}) for suite, score in scores.items()
        ]


def suites_of(section: EvaluationSettings) -> list[Suite]:
    """The suites of a run that is evaluated; none of another.

    Raises:
        StartupError: one cannot be used.
    """
    try:
        return read_suites(section.suites, section.data, section.limit) if section.every else []
    except SuiteError as error:
        raise StartupError(f"evaluation.suites: {error}") from error


async def _lane(asked: _Asked, generator: GeneratorAsked) -> None:
    while asked.waiting:
        request = asked.waiting.popleft()
        try:
            asked.file.add(await generator.response(request))
        except (VersionGone, GeneratorGone, OSError) as error:
            # Another generator may answer it; a disk that is full may have room again.
            asked.waiting.append(request)
            asked.end = str(error)
            return


def _scores(
    suites: Sequence[Suite], responses: Sequence[Response], graded: Sequence[rollout_pb2.Verdict]
) -> dict[str, SuiteScore]:
    """The figures of each suite. Raises GivenUp."""
    samples: dict[str, list[GradedSample]] = {suite.name: [] for suite in suites}
    for response, verdict in zip(responses, graded, strict=True):
        samples[response.key.suite].append(_graded_sample(response, verdict))
    try:
        return {suite: score_suite(found) for suite, found in samples.items()}
    except ValueError as error:
        raise GivenUp(f"graded by the run's verifier: {error}") from error


def _graded_sample(response: Response, verdict: rollout_pb2.Verdict) -> GradedSample:
    correct = verdict.status == rollout_pb2.VERDICT_STATUS_CORRECT
    return GradedSample(
        problem_id=response.key.problem_id,
        correct=correct if is_graded(verdict) else None,
        answer=verdict.normalised,
        tokens=response.tokens,
        truncated=response.finish_reason == "length",
        refused=response.finish_reason == REFUSED,
    )
