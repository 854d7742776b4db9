"""Seconds by phase: a phase has those of the work that it left to the device."""

import time
from pathlib import Path

import pytest
import torch

from areal_mesh.learner.model.parallel import Parallel
from areal_mesh.learner.stopwatch import Stopwatch
from tests.unit.learner_support import build, make_batch, write_model


def test_a_phase_counts_the_work_that_the_device_still_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def settle() -> None:
        now[0] += 2.0

    watch = Stopwatch(settle)
    with watch.phase("backward"):
        now[0] += 0.5
    assert watch.seconds() == {"backward": 2.5, "total": 2.5}


def test_every_phase_of_a_step_waits_for_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[Parallel] = []
    monkeypatch.setattr(Parallel, "settle", lambda self: waits.append(self))
    trainer = build(write_model(tmp_path), "algorithm.minibatches=2")
    phases = trainer.step(make_batch(0)).seconds
    assert {"prepare", "advantages", "backward", "update"} < set(phases)
    assert len(waits) >= 6


def test_a_gpu_is_waited_for_and_a_cpu_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
    Parallel(0, 1, torch.device("cpu"), None).settle()
    Parallel(0, 1, torch.device("cuda", 0), None).settle()
    assert asked == [torch.device("cuda", 0)]
