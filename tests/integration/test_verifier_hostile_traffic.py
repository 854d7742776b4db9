"""One answer in ten is hostile: through the service the honest ones are graded as ever, and soon.

The hostile answer goes beside its batch, at the same time and in a call of its own: what is timed is the honest one.
"""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.identity import Identity
from areal_mesh.v1 import rollout_pb2, verifier_pb2, verifier_pb2_grpc
from tests.e2e.verifier_process import labelled_answers, verifier_process

Expected: TypeAlias = rollout_pb2.VerdictStatus.ValueType
DEADLINE = 60.0
BATCH = 10
AT_ONCE = 4
RETRIES = 5
CORRECT = rollout_pb2.VERDICT_STATUS_CORRECT
INCORRECT = rollout_pb2.VERDICT_STATUS_INCORRECT
HOSTILE = [
    "9^{9^{9^{9}}}", "9!!!!!!!!", r"\binom{1000}{500}^{1000}", "(x+1)^{31}(x+2)^{31}(x+3)^{31}", "e^{e^{e^{e^{5}}}}",
    r"\lfloor \pi 10^{300}\rfloor", "+".join(rf"\sqrt{{{n}}}" for n in range(2, 90)), r"\sin(10^{1000})",
    "(" * 10_000 + "7" + ")" * 10_000, r"\frac{1}{" * 39 + "3" + "}" * 39, "1" * 1_000_000, "(a+)+$" + "a" * 500,
    '__import__("os").system("touch PWNED")', r"\write18{touch PWNED}", "open('PWNED','w')", "5=6", r"5 \text{ or } 6",
    r"(\sqrt2+\sqrt3+\sqrt5+\sqrt7+\sqrt{11}+\sqrt{13}+\sqrt{17}+1)^{32}+\infty", r"\tan(\cosh 10^9)",
    "A(" * 9 + "1" + "+1" * 360 + ")" * 9, r"\{0,0,\sum x,\sum x\}", "(" * 9 + "x+y" + ("!" * 15 + ")") * 9,
    "５", "1e999999999", r"\{" * 900, r"\int_0^{10^{100}} x^x", "5|6", ".*", "1=" * 800 + "1",
    r"\int_0^1 \sin(\sin(\sin x))\,dx", r"\lim_{x\to 0}\frac{\sin(\tan x)-\tan(\sin x)}{x^7}", r"\tan(10^{3000})",
    r"\sum_{k=1}^{999}\sqrt{k}", r"\sqrt{25+10^{-1900}\sqrt2}", r"\frac{d^4}{dx^4}x^{x^{x^{x}}}", "20000!^{20000}",
]  # fmt: skip


Pair: TypeAlias = tuple[list[str], Expected]
"""A response and its reference, and the verdict that it is to get."""


@dataclass
class Traffic:
    """Sends batches of honest answers, each with a hostile one beside it, and holds the verdicts to what they are."""

    stub: "verifier_pb2_grpc.VerifierServiceAsyncStub"
    batches: Sequence[Sequence[Pair]]
    seconds: list[float] = field(default_factory=list)
    """Of each honest batch."""
    again: int = 0
    """Answers asked again after an error, as a generator does: on a busy machine one may outlive its deadline."""

    async def send(self, first: int) -> None:
        """Sends every AT_ONCE-th batch."""
        for number in range(first, len(self.batches), AT_ONCE):
            async with asyncio.TaskGroup() as both:
                both.create_task(self._attack(number))
                both.create_task(self._ask(self.batches[number]))

    async def _verdicts(self, pairs: Sequence[Pair]) -> Sequence[rollout_pb2.Verdict]:
        items = [verifier_pb2.VerifyItem(response=said, gold_answers=[gold]) for (said, gold), _ in pairs]
        return (await self.stub.Verify(verifier_pb2.VerifyRequest(items=items), timeout=DEADLINE)).verdicts

    async def _attack(self, number: int) -> None:
        hostile = HOSTILE[number % len(HOSTILE)]
        [verdict] = await self._verdicts([([rf"\boxed{{{hostile}}}", r"\sqrt{5}+\sqrt{2}"], INCORRECT)])
        assert verdict.status != CORRECT, hostile[:80]

    async def _ask(self, batch: Sequence[Pair]) -> None:
        started = time.monotonic()
        verdicts = await self._verdicts(batch)
        self.seconds.append(time.monotonic() - started)
        for pair, verdict in zip(batch, verdicts, strict=True):
            for _ in range(RETRIES):
                if verdict.status != rollout_pb2.VERDICT_STATUS_ERROR:
                    break
                self.again += 1
                [verdict] = await self._verdicts([pair])
            assert verdict.status == pair[1], (pair, verdict.rule)


async def test_honest_answers_are_graded_among_hostile_ones(tmp_path: Path) -> None:
    honest = [([said, gold], CORRECT if correct else INCORRECT) for said, gold, correct in labelled_answers()]
    # The cases stand by area, those that need most algebra together: as traffic comes, they are mixed.
    random.Random(0).shuffle(honest)
    batches = [honest[start : start + BATCH - 1] for start in range(0, len(honest), BATCH - 1)]
    with verifier_process(tmp_path, workers=2) as service:
        async with open_channel(service.address, Identity("generator", "generator-0")) as channel:
            traffic = Traffic(verifier_pb2_grpc.VerifierServiceStub(channel), batches)
            async with asyncio.TaskGroup() as senders:
                for first in range(AT_ONCE):
                    senders.create_task(traffic.send(first))
        assert service.process.poll() is None
    seconds = sorted(traffic.seconds)
    assert len(seconds) == len(batches)
    assert os.listdir(tmp_path) == []

    def milliseconds(share: float) -> float:
        return 1000 * seconds[int(share * len(seconds))]

    print(
        f"{len(honest)} honest answers in {len(batches)} batches, a hostile one beside each, {AT_ONCE} at once: "
        f"median {milliseconds(0.5):.1f} ms, p99 {milliseconds(0.99):.1f} ms a batch, {traffic.again} asked again"
    )
