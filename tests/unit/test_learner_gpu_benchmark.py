"""The learner's script for one GPU: all of its own logic, on a CPU."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from areal_mesh.learner.batches.micro_batch import MicroBatchBuilder
from areal_mesh.learner.model.policy import load_policy
from areal_mesh.planning.shapes import MODELS
from areal_mesh.runtime.exits import EXIT_CANNOT_START, EXIT_CRASHED
from benchmarks import gpu_attention, gpu_learner
from benchmarks.gpu_attention import AttentionsDisagree, attention_flops, check, make_sides
from benchmarks.gpu_learner import Part, run_parts
from benchmarks.gpu_measuring import REAL, TINY, Deadline, OutOfTime, Report, nominal_flops, take_rounds
from benchmarks.gpu_steps import MINIBATCHES, Training, make_batch, step_flops, write_model


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gpu_learner", *arguments])
    monkeypatch.setattr(gpu_learner, "write_result", lambda *_: pytest.fail("a result was kept without a GPU"))
    return gpu_learner.main()


class Clock:
    """Stands still but for what is added."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def take(self, seconds: float) -> float:
        self.seconds += seconds
        return seconds


def test_without_a_gpu_it_says_so_in_one_line_and_gives_no_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(monkeypatch) == EXIT_CANNOT_START
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("not run: ")
    assert "finds no GPU" in line


def test_tiny_goes_through_every_part_and_ends_with_its_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--tiny") == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("figure: "))
    figures = {name: float(value) for _, name, value in (line.split() for line in lines[first:])}
    assert all(value > 0 for value in figures.values())
    assert figures.keys() >= {
        "matrix_tflops",
        "attention_8k_packed_ms",
        "attention_24k_equal_padded_over_packed",
        "steps_8k_backward_seconds",
        "steps_24k_mfu_of_measured",
    }
    assert not {name for name in figures if "nominal" in name or "peak" in name}


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_seconds_that_are_none_are_refused(
    seconds: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--tiny", f"--seconds={seconds}")
    assert f"{seconds}: expected a number of seconds over 0" in capsys.readouterr().err


def test_a_result_is_kept_only_where_every_part_ran_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    ran = [True]
    monkeypatch.setattr(sys, "argv", ["gpu_learner"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(gpu_learner, "run_parts", lambda *_: ran[0])
    monkeypatch.setattr(gpu_learner, "write_result", lambda name, _: kept.append(name))
    assert (gpu_learner.main(), kept) == (0, ["gpu_learner"])
    ran[0] = False
    assert (gpu_learner.main(), kept) == (EXIT_CRASHED, ["gpu_learner"])


def test_rounds_that_would_overrun_are_cut_and_said() -> None:
    clock, report = Clock(), Report(None)
    # Warm-up, and two rounds of 3 seconds: a third would end at 12.
    assert take_rounds("steps", lambda: clock.take(3.0), 5, Deadline(11.0, clock), report) == [3.0, 3.0]
    assert report.cuts == ["steps: 2 of 5 rounds, its time is up"]
    assert take_rounds("steps", lambda: clock.take(3.0), 2, Deadline(60.0, clock), report) == [3.0, 3.0]
    assert len(report.cuts) == 1


def test_a_warm_up_that_took_long_does_not_stand_for_the_rounds() -> None:
    clock = Clock()
    seconds = iter([5.0, 1.0, 1.0, 1.0])
    found = take_rounds("steps", lambda: clock.take(next(seconds)), 3, Deadline(11.0, clock), Report(None))
    assert found == [1.0, 1.0, 1.0]


def test_a_part_that_fails_or_has_no_time_is_said_and_the_others_run(capsys: pytest.CaptureFixture[str]) -> None:
    clock, report = Clock(), Report(None)
    deadlines = []

    def slow(deadline: Deadline, report: Report) -> None:
        take_rounds("slow", lambda: clock.take(40.0), 3, deadline, report)

    def broken(deadline: Deadline, report: Report) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    parts = (Part("slow", 0.5, slow), Part("broken", 0.6, broken), Part("last", 1.0, lambda d, _: deadlines.append(d)))
    assert not run_parts(parts, 100.0, report, clock)
    said = capsys.readouterr().out
    assert "cut: slow not run to its end: slow: 10 s left; a round takes 40.0 s or more" in said
    assert "failed: broken" in said
    assert "CUDA out of memory" in said
    assert [each.left for each in deadlines] == [60.0]


def test_what_a_part_leaves_of_its_time_is_the_next_ones() -> None:
    left = []
    parts = tuple(Part(str(share), share, lambda d, _: left.append(d.left)) for share in (0.25, 1.0))
    assert run_parts(parts, 480.0, Report(None), Clock())
    assert left == [120.0, 480.0]


def test_a_device_that_hangs_ends_the_process_with_its_stacks() -> None:
    script = (
        "import threading\n"
        "from benchmarks.gpu_learner import ended_when_it_hangs\n"
        "with ended_when_it_hangs(0.1): threading.Event().wait(600)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1
    assert "wait" in done.stderr


def test_attention_sides_agree_and_a_wrong_neighbour_is_seen() -> None:
    sides = make_sides((5, 9, 2), TINY)
    check("ragged", sides, TINY)
    packed = sides[gpu_attention.PACKED]
    # As if the sequences were one.
    joined = make_sides((16,), TINY)[gpu_attention.PACKED]
    with pytest.raises(AttentionsDisagree, match="output is"):
        check("joined", sides | {gpu_attention.PACKED: dataclasses.replace(packed, attend=joined.attend)}, TINY)


def test_attention_counts_the_pairs_of_real_tokens() -> None:
    # 3 and 10 pairs, four operations for each of the 4 x 8 numbers, forward and twice that backward.
    assert attention_flops((2, 4), TINY) == (3 + 10) * 4 * 32 * 3


def test_flops_of_a_step_are_those_that_torch_counts(tmp_path: Path) -> None:
    write_model(TINY, tmp_path)
    policy = load_policy(tmp_path, torch.float32, 1.0, activation_checkpointing=False)
    batch = make_batch(TINY.eight, TINY)
    data = MicroBatchBuilder(batch, 0, torch.device("cpu"), torch.float32).build(range(len(batch)))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        policy(data)
    counted = sum(flops for name, flops in counter.get_flop_counts()["Global"].items() if "attention" not in str(name))
    prompt, response = TINY.prompt_tokens, TINY.eight.response_tokens
    shape = TINY.shape
    attention = 2.0 * shape.layers * shape.heads * shape.head_size * (prompt + response) ** 2 * len(batch)
    passes = 3 + (MINIBATCHES - 1) / MINIBATCHES
    assert step_flops(shape, prompt, response, len(batch)) == pytest.approx(passes * (counted + attention))


def test_made_up_rollouts_are_trained_on_by_the_learners_own_trainer(tmp_path: Path) -> None:
    trainer = Training(TINY, tmp_path).trainer
    before = [tensor.clone() for _, tensor in trainer.named_tensors()]
    result = trainer.step(make_batch(TINY.twenty_four, TINY))
    assert result.figures["optimizer_updates"] == MINIBATCHES
    assert result.figures["ratio_mean"] == pytest.approx(1.0, abs=0.1)
    assert any(not torch.equal(old, new) for old, (_, new) in zip(before, trainer.named_tensors(), strict=True))
    assert {"prepare", "advantages", "proximal", "backward", "update", "total"} == set(result.seconds)


def test_what_is_measured_on_a_gpu_is_the_shape_of_qwen_at_8k_and_24k() -> None:
    assert REAL.shape is MODELS["Qwen2.5-1.5B"]
    assert (REAL.eight.response_tokens, REAL.twenty_four.response_tokens) == (8192, 24576)
    assert (REAL.dtype, REAL.device) == ("bfloat16", "cuda")


def test_a_nominal_rate_is_found_by_the_devices_name_or_not_at_all() -> None:
    assert nominal_flops("NVIDIA H200") == nominal_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert nominal_flops("NVIDIA GeForce RTX 4090") == 165e12
    assert nominal_flops("Unheard-of 9000") is None


def test_no_time_for_a_single_round_is_an_error() -> None:
    clock = Clock()
    with pytest.raises(OutOfTime, match="steps: 0 s left"):
        take_rounds("steps", lambda: clock.take(1.0), 5, Deadline(0.0, clock), Report(None))
