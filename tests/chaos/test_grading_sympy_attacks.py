"""Answers aimed at SymPy: none accepted, none over the deadline, none costs another answer."""

from collections import Counter

import pytest

from areal_mesh.grading.verdict import GradeRequest, Protocol, Verdict
from areal_mesh.grading.workers.pool import PoolSettings, WorkerPool
from tests.unit.sympy_attacks import ATTACKS

GOLDS = ("5", "x^2+1")
HONEST = [
    GradeRequest(r"\boxed{1+\sqrt{2}}", (r"\sqrt{3+2\sqrt{2}}",)),
    GradeRequest(r"\boxed{5.0}", ("5",)),
    GradeRequest(r"\boxed{(z+1)^2}", ("z^2+2z+1",)),
]
LONGEST_SECONDS = 1.1


def test_there_are_more_than_a_hundred() -> None:
    assert sum(map(len, ATTACKS.values())) > 100
    assert len({attack for attacks in ATTACKS.values() for attack in attacks}) == sum(map(len, ATTACKS.values()))


@pytest.mark.parametrize("kind", ATTACKS)
async def test_an_attack_is_refused_in_time_and_costs_no_other_answer(kind: str) -> None:
    seconds: list[tuple[float, str, str]] = []
    rules: Counter[str] = Counter()

    def observe(verdict: Verdict, taken: float) -> None:
        assert verdict.extracted is not None
        if not any(verdict.extracted in request.response for request in HONEST):
            seconds.append((taken, verdict.rule, verdict.extracted[:60]))

    async with WorkerPool(PoolSettings(cache_items=0), observe=observe) as pool:
        for attack in ATTACKS[kind]:
            for gold in GOLDS:
                hostile = GradeRequest(rf"\boxed{{{attack}}}", (gold,))
                verdict, *others = await pool.grade_many([hostile, *HONEST], 30.0)

                rules[verdict.rule] += 1
                assert not verdict.correct, (attack, gold, verdict.rule)
                assert verdict.status == "incorrect" or verdict.rule == "deadline", (attack, verdict.rule)
                assert [other.status for other in others] == ["correct"] * len(HONEST), attack
    assert pool.statistics.crashes == 0
    # A machine with other work may wake this process late, now and then.
    late = [attack for attack in seconds if attack[0] >= LONGEST_SECONDS]
    assert len(late) <= len(seconds) // 20, sorted(late)
    print(f"{kind}: {dict(rules)}, longest {max(seconds)[0]:.2f} s")


@pytest.mark.parametrize("kind", ATTACKS)
async def test_an_attack_under_the_strict_protocol_costs_no_other_answer(kind: str) -> None:
    protocol: Protocol = "strict_qwen"
    seconds: list[float] = []
    async with WorkerPool(PoolSettings(cache_items=0), observe=lambda verdict, taken: seconds.append(taken)) as pool:
        for attack in ATTACKS[kind]:
            hostile = GradeRequest(rf"\boxed{{{attack}}}", ("x^2+1",), protocol)
            verdict, *others = await pool.grade_many([hostile, *HONEST], 30.0)

            # Which bound an attack meets first, time or memory, is the machine's affair.
            assert verdict.status == "incorrect" or verdict.rule in ("deadline", "worker ended"), (attack, verdict.rule)
            assert [other.status for other in others] == ["correct"] * len(HONEST), attack


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"5", r"\sqrt{10^{3000}+1}-10^{1500}+5"),
        (r"5", r"5\sqrt[3500]{1+10^{-900}}"),
        (r"\sqrt{26}", r"\sqrt{26+10^{-3000}}"),
        (r"\ln 5", r"\ln(5+10^{-1900})"),
        (r"20000!", r"20000!+1"),
    ],
)
async def test_what_differs_beyond_the_digits_worked_out_is_not_accepted(gold: str, answer: str) -> None:
    async with WorkerPool(PoolSettings(workers=1)) as pool:
        (verdict,) = await pool.grade_many([GradeRequest(rf"\boxed{{{answer}}}", (gold,))], 30.0)

    assert verdict.status == "incorrect"
