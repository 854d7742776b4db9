"""A grading worker's life: give up privileges, then grade one answer after another."""

from __future__ import annotations

import os
import resource
from typing import Any, Final

from areal_mesh.grading.grade import grade_extracted
from areal_mesh.grading.strict import qwen as strict_qwen
from areal_mesh.grading.symbolic.decide import DECIDERS
from areal_mesh.grading.verdict import Verdict
from areal_mesh.grading.workers import sandbox, wire

_WARM_UP: Final = (
    (r"\sin^2 x + \cos^2 x + \tan x + \cot x + \sec x + \csc x", r"1 + \tan x + \cot x + \sec x + \csc x"),
    (r"\arcsin x + \arccos x + \arctan 1 + \operatorname{arccot} 1", r"\pi"),
    (r"\sinh x + \cosh x + \tanh x + \coth x", r"e^x + \tanh x + \coth x"),
    (
        r"\log 2 \cdot e^{y} + |z| + \sqrt[3]{x} + 5\% + 30^\circ",
        r"|z| + \log 2 \cdot e^{y} + x^{1/3} + 0.05 + \frac\pi6",
    ),
    (r"\lfloor n/2 \rfloor", r"\frac{2n-1+(-1)^n}{4}"),
    (r"\max(x,y) + \min(x,y)", "x + y"),
    (r"\lceil x \rceil + \sqrt{-2}", r"\lceil x \rceil + i\sqrt2"),
    (r"\binom{n}{3} + \binom{x}{2}", r"\binom{n}{n-3} + \frac{x(x-1)}2"),
    (r"\frac{(x+1)!}{x!}", r"x+1"),
    (r"f(x) + \sqrt{3+2\sqrt{2}}", r"1+\sqrt{2} + f(x)"),
    (r"y=\frac1x", "xy=1"),
    (r"\sum_{k=1}^n k + \sum_{k=1}^\infty \frac1{k^2}", r"\frac{n(n+1)}2 + \frac{\pi^2}6"),
    (r"\sum_{k=0}^n \binom nk + \int_{-\infty}^\infty e^{-x^2} dx", r"2^n + \sqrt\pi"),
    (r"\int_0^1 \frac{dx}{1+x^2} + \lim_{x \to 0} \frac{\sin x}x", r"\frac\pi4 + 1"),
)


def warm_up() -> None:
    """Load what algebra needs, so that a worker opens no file."""
    for gold, answer in _WARM_UP:
        grade_extracted(answer, None, (gold,), DECIDERS["qwen"])
    strict_qwen.warm_up()


def serve(descriptor: int, limits: sandbox.SandboxLimits) -> None:
    """Grade requests from a descriptor until it closes. The first frame sent says who serves.

    Raises:
        BrokenFrame: when the pool closes the connection.
        MemoryError: when an answer needs more memory than the worker has; the pool sees the worker end.
    """
    filtered = sandbox.apply(limits)
    wire.write_blocking(descriptor, {"process": os.getpid(), "filtered": filtered})
    while True:
        request = wire.read_blocking(descriptor)
        wire.write_blocking(descriptor, _grade(request))


def _grade(request: dict[str, Any]) -> dict[str, Any]:
    golds = tuple(request["golds"])
    verdict: Verdict | None
    if request["protocol"] == "strict_qwen":
        verdict = strict_qwen.grade_extracted(request["extracted"], golds, DECIDERS["strict_qwen"])
    else:
        verdict = grade_extracted(request["extracted"], request["joined"], golds, DECIDERS["qwen"])
    assert verdict is not None  # algebra leaves nothing undecided
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "id": request["id"],
        "status": verdict.status,
        "normalised": verdict.normalised,
        "rule": verdict.rule,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }
