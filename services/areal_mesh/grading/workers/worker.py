"""A grading worker's life: give up privileges, then grade one answer after another."""

from __future__ import annotations

import os
import resource
from typing import Any, Final

from areal_mesh.grading.grade import grade_extracted
from areal_mesh.grading.strict import qwen as strict_qwen
from areal_mesh.grading.symbolic.decide import decide
from areal_mesh.grading.verdict import Verdict
from areal_mesh.grading.workers import sandbox, wire

_WARM_UP: Final = (
    (r"\tan 15^\circ", r"2-\sqrt{3}"),
    (r"\sin^2 x + \cos^2 x + \log 2 \cdot e^{y}", r"1 + \log 2 \cdot e^{y}"),
    (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"),
    (r"\binom{5}{2} + \arctan 1 + |z|", r"10 + \frac{\pi}{4} + |z|"),
    (r"\binom{n}{3}", r"\binom{n}{n-3}"),
    (r"\frac{(n+1)!}{n!}", r"n+1"),
    (r"\sin 1+\sin 2+\sin 3+\sin 4+\sin 5+\sin 6+\sin 7+\sin 8+\sin 9", r"\frac{\sin\frac92\sin 5}{\sin\frac12}"),
)


def warm_up() -> None:
    """Load what algebra needs, so that a worker opens no file."""
    for gold, answer in _WARM_UP:
        grade_extracted(answer, None, (gold,), decide)
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
        verdict = strict_qwen.grade_extracted(request["extracted"], golds, decide)
    else:
        verdict = grade_extracted(request["extracted"], request["joined"], golds, decide)
    assert verdict is not None  # algebra leaves nothing undecided
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "id": request["id"],
        "status": verdict.status,
        "normalised": verdict.normalised,
        "rule": verdict.rule,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }
