"""One answer in ten is hostile: through the service the honest ones are graded as ever, and soon."""

import asyncio
import os
import random
import time
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


async def test_honest_answers_are_graded_among_hostile_ones(tmp_path: Path) -> None:
    honest = [([said, gold], CORRECT if correct else INCORRECT) for said, gold, correct in labelled_answers()]
    # The cases stand by area, those that need most algebra together: as traffic comes, they are mixed.
    random.Random(0).shuffle(honest)
    batches: list[list[tuple[list[str], Expected | None]]] = []
    for start in range(0, len(honest), BATCH - 1):
        hostile = HOSTILE[len(batches) % len(HOSTILE)]
        batches.append([([rf"\boxed{{{hostile}}}", r"\sqrt{5}+\sqrt{2}"], None), *honest[start : start + BATCH - 1]])
    seconds: list[float] = []
    with verifier_process(tmp_path, workers=2) as service:
        async with open_channel(service.address, Identity("generator", "generator-0")) as channel:
            stub: verifier_pb2_grpc.VerifierServiceAsyncStub = verifier_pb2_grpc.VerifierServiceStub(channel)

            async def send(first: int) -> None:
                for batch in batches[first::AT_ONCE]:
                    items = [verifier_pb2.VerifyItem(response=said, gold_answers=[gold]) for (said, gold), _ in batch]
                    started = time.monotonic()
                    verdicts = (await stub.Verify(verifier_pb2.VerifyRequest(items=items), timeout=DEADLINE)).verdicts
                    seconds.append(time.monotonic() - started)
                    assert verdicts[0].status != CORRECT, items[0].response[:80]
                    for item, verdict, (_, expected) in zip(items[1:], verdicts[1:], batch[1:], strict=True):
                        assert verdict.status == expected, (item.response, item.gold_answers, verdict.rule)

            async with asyncio.TaskGroup() as senders:
                for first in range(AT_ONCE):
                    senders.create_task(send(first))
        assert service.process.poll() is None
    seconds.sort()
    assert len(seconds) == len(batches)
    assert os.listdir(tmp_path) == []

    def milliseconds(share: float) -> float:
        return 1000 * seconds[int(share * len(seconds))]

    print(
        f"{len(honest)} honest answers in {len(batches)} batches of {BATCH}, one hostile in each, {AT_ONCE} at once: "
        f"median {milliseconds(0.5):.1f} ms, p99 {milliseconds(0.99):.1f} ms a batch"
    )
