"""The script for GPUs says what it did not run."""

import sys

import pytest
import torch

from benchmarks import gpu_weights


def test_without_a_gpu_it_says_so_and_gives_no_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["gpu_weights"])
    gpu_weights.main()
    said = capsys.readouterr().out
    assert "not run: snapshot, staging, receive (no GPU)" in said
    assert "not run: NCCL (two GPUs are needed, 0 found)" in said
    assert "figure:" not in said


def test_what_one_device_does_is_exact_on_a_cpu_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_weights, "_ROWS", 64)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    cpu = torch.device("cpu")
    weights = gpu_weights.make_weights(0.001, cpu)
    gpu_weights.measure_one_gpu(weights, cpu)
    assert capsys.readouterr().out.count("figure:") == 3
