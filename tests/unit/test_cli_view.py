"""What people are shown of a run: the live view, lines, and the table at its end."""

import dataclasses
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from areal_mesh.cli.display import PlainDisplay, display_for
from areal_mesh.cli.summary import summary_table
from areal_mesh.cli.view import changes, counted, run_view, step_line, step_of
from areal_mesh.client import GroupCounts, ReplayStatus, RunState, RunStatus, ServiceState, ServiceStatus, Stage, Step

SUMMARY = {
    "run": "trial",
    "steps": 110,
    "wall_seconds": 401.24,
    "mismatch_kl": 0.0004,
    "staleness": {"mean": 0.91, "max": 1},
    "groups": {"trained": 1760, "stale": 3, "filtered": 0, "failed": 0, "open": 5, "leased": 1768},
    "group_tokens": {"trained": 812.4, "stale": 2961.0},
    "stages": [
        {
            "name": "8",
            "max_response_tokens": 32,
            "steps": 40,
            "reward": {"first": -1.5, "last": 2.25},
            "response_length": {"first": 28.0, "last": 25.5},
            "truncated": {"first": 0.4, "last": 0.05},
        },
        {"name": "16", "reward": {"first": None, "last": None}},
    ],
}


def rendered(renderable: Any) -> str:
    console = Console(width=140, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_the_table_has_a_line_a_stage_and_dashes_for_what_is_absent() -> None:
    text = rendered(summary_table(SUMMARY))
    assert "40 steps of up to 32 tokens; reward -1.50 → +2.25; length 28.0 → 25.5; truncated 40% → 5%" in text
    assert "reward - → -" in text
    assert "mean 0.91, max 1" in text
    assert "leased 1,768: trained 1,760, stale 3, filtered 0, failed 0, open 5" in text
    assert "trained 812, stale 2,961" in text
    assert "401.2 s" in text


def test_an_empty_summary_still_makes_a_table() -> None:
    assert "steps" in rendered(summary_table({}))


def example(step: int = 4, state: RunState = RunState.RUNNING, stage: int = 0) -> RunStatus:
    service = ServiceStatus(
        "generator", "generator-0", "127.0.0.1:4000", ServiceState.SERVING, 3, 512.4, "tokens", 0.2, 0.1, 2
    )
    return RunStatus(
        run_name="trial",
        run_id="",
        state=state,
        stage=Stage(stage, ("8", "16")[stage], 32 * (stage + 1)),
        stages=2,
        step=step,
        stage_step=step,
        planned_steps=20,
        policy_version=step,
        published_version=step,
        step_metrics={
            "reward": -1.25,
            "response_length": 27.5,
            "truncated": 0.5,
            "equal_rewards": 0.25,
            "mismatch_kl": 1e-4,
            "generated_tokens_per_second": 1234.4,
            "trained_tokens_per_second": 1000.0,
        },
        replay=ReplayStatus(3, 2048, 9, 1 << 20),
        staleness={0: 1, 1: 3},
        groups=GroupCounts(10, 6, 1, 0, 0, 3),
        services=(service,),
        started=None,
        last_step=None,
        tokens_generated=1000,
        tokens_trained=900,
        weight_updates=4,
        steps_without_update=2,
        last_pause_seconds=0.027,
        group_tokens={"trained": 812.4, "stale": 2961.0},
    )


def test_the_view_shows_progress_figures_services_and_processes() -> None:
    processes = {"generator-0": "process 42", "learner-0": "restarting, 1 restart"}
    text = rendered(run_view(example(), [10, 10], processes, ["learner-0 ended"]))
    for part in ("4/20", "4/10", "reward -1.25", "truncated 50%", "0:1 1:3", "1,234 tok/s", "3 groups, 2 KiB", "27 ms"):
        assert part in text
    for part in ("512.4 tokens/s", "process 42", "restarting, 1 restart", "learner-0 ended"):
        assert part in text
    assert "equal rewards 25%" in text
    assert "steps without update 2" in text
    assert "tokens a group trained 812, stale 2,961" in text


def test_the_view_says_how_full_each_engine_is() -> None:
    figures = {"responses_open": 1130.0, "responses_limit": 1024.0, "kv_cache_use": 0.42, "preemptions": 1.0}
    status = example()
    assert "responses open" not in rendered(run_view(status, [10, 10], {})), "not before it has said so"
    full = dataclasses.replace(status, services=(dataclasses.replace(status.services[0], metrics=figures),))
    text = rendered(run_view(full, [10, 10], {}))
    assert "generator-0: 1,130 responses open, up to 1,024 at once, KV cache 42% full, 1 preemption" in text


def test_the_view_and_the_table_tell_why_groups_came_to_nothing_and_what_keeps_weights_from_a_generator() -> None:
    reasons = {f"failed: cause {letter}": 10 - place for place, letter in enumerate("abcdef")}
    (service,) = example().services
    waiting = dataclasses.replace(
        service, state=ServiceState.PENDING_WEIGHTS, waits_for="prepare failed, gone: x\nmore"
    )
    status = dataclasses.replace(example(), end_reasons=reasons, services=(waiting,))
    text = rendered(run_view(status, [10, 10], {}))
    assert "generator-0 waits for weights: prepare failed, gone: x\n" in text.replace("  ", "").replace(" \n", "\n")
    for part in ("10 groups failed: cause a", "7 groups failed: cause d", "11 groups for other reasons"):
        assert part in text
        assert part in rendered(summary_table({"end_reasons": reasons}))
    assert "generator-0 waits for weights: prepare failed, gone: x" in changes(example(), status)
    assert changes(status, status) == []


def test_the_table_tells_what_the_learner_waited_for() -> None:
    idle = {"rollouts": 3.0, "commit": 0.99, "order": 0.01}
    text = rendered(summary_table({"idle_seconds": idle, "updating_seconds": 12.0}))
    assert "25%: rollouts 75%, commit 25%" in text
    assert "order" not in text


def test_without_a_controller_the_view_shows_the_processes() -> None:
    text = rendered(run_view(None, [], {"controller": "process 41"}))
    assert "waiting for the controller" in text
    assert "process 41" in text


FIGURES = {
    "reward": -1.25,
    "response_length": 27.5,
    "truncated": 0.5,
    "equal_rewards": 0.25,
    "staleness_mean": 0.75,
    "generated_tokens_per_second": 1234.4,
    "trained_tokens_per_second": 1000.0,
}


def step(number: int, stage: int = 0, **figures: float) -> Step:
    return Step(number, Stage(stage, ("8", "16")[stage], 32 * (stage + 1)), FIGURES | figures)


def test_a_plain_line_tells_the_step() -> None:
    assert step_line(step(4), 20) == (
        "step 4/20  stage 8  reward -1.250  length 27.5  truncated 50%  equal rewards 25%  staleness 0.75"
        "  mismatch KL -  generated 1,234 tok/s  trained 1,000 tok/s"
    )
    assert step_line(step(4, optimizer_updates=0.0), 20).endswith("tok/s  no update")
    assert step_line(Step(4, Stage(0, "8", 32), {}), 0).startswith("step 4  stage 8  reward -  length -")


def test_a_line_of_the_metrics_file_is_the_step_it_tells_of() -> None:
    row = {"step": 4, "stage": 1, "stage_name": "16", "max_response_tokens": 64, "staleness": {"0": 4}, **FIGURES}
    read = step_of(row)
    assert (read.step, read.stage) == (4, Stage(1, "16", 64))
    assert step_line(read, 20) == step_line(step(4, 1), 20)


def test_plain_lines_of_services_come_for_changes_alone() -> None:
    assert changes(None, example(step=0)) == ["generator-0 serving at 127.0.0.1:4000", "run trial running"]
    assert changes(example(), example(step=9)) == []


def lines_of(console_file: io.StringIO) -> list[str]:
    return [line.split("  reward")[0] for line in console_file.getvalue().splitlines()]


def test_a_stage_is_said_once_whether_a_status_or_a_step_tells_of_it_first() -> None:
    output = io.StringIO()
    display = PlainDisplay(Console(file=output, width=140), [10, 10])
    display.show(example(step=0))
    display.step(step(1))
    display.show(example(step=2, stage=1))
    display.step(step(2))
    display.step(step(3, stage=1))
    display.show(example(step=3, stage=1))
    assert lines_of(output)[2:] == [
        "stage 8 (1 of 2): up to 32 tokens",
        "step 1/20  stage 8",
        "stage 16 (2 of 2): up to 64 tokens",
        "step 2/20  stage 8",
        "step 3/20  stage 16",
    ]


def test_one_is_one_and_all_else_are_many() -> None:
    counts = [counted(count, "restart") for count in (0, 1, 2, 1200)]
    assert counts == ["0 restarts", "1 restart", "2 restarts", "1,200 restarts"]


def test_a_terminal_that_cannot_take_anything_back_gets_lines_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    output = io.StringIO()
    with display_for(Console(file=output, force_terminal=True, width=140), [10, 10], dict) as display:
        display.show(example(step=0))
        display.step(step(1))
        assert lines_of(output)[-1] == "step 1/20  stage 8"


def test_a_terminal_gets_the_live_view_and_a_file_gets_lines() -> None:
    terminal, file = io.StringIO(), io.StringIO()
    for output, is_terminal in ((terminal, True), (file, False)):
        console = Console(file=output, force_terminal=is_terminal, width=140, color_system=None)
        with display_for(console, [10, 10], lambda: {"learner-0": "process 43"}) as display:
            display.show(None)
            display.show(example())
            display.say("learner-0 ended (killed by SIGKILL)")
    assert "process 43" in terminal.getvalue()
    assert "4/20" in terminal.getvalue()
    assert "learner-0 ended (killed by SIGKILL)" in terminal.getvalue()
    assert file.getvalue().splitlines()[-2:] == [
        "stage 8 (1 of 2): up to 32 tokens",
        "learner-0 ended (killed by SIGKILL)",
    ]


def test_the_only_step_of_a_stage_has_one_figure_and_no_way_between_two() -> None:
    stage = {"name": "8", "max_response_tokens": 32, "steps": 1, "reward": {"first": -3.33, "last": -3.33}}
    text = rendered(summary_table({"stages": [stage]}))
    assert "1 step of up to 32 tokens; reward -3.33; length -" in text
    assert "→" not in text


@pytest.mark.parametrize(("columns", "lines"), [(120, 35), (80, 24)])
def test_the_view_fits_the_terminal(columns: int, lines: int) -> None:
    (generator,) = example().services
    names = ("controller", "replay-0", "verifier-0", "learner-0")
    services = tuple(dataclasses.replace(generator, service_id=name, role=name.partition("-")[0]) for name in names)
    figures = {"responses_open": 1130.0, "responses_limit": 1024.0, "kv_cache_use": 0.42, "preemptions": 1.0}
    busy = dataclasses.replace(generator, metrics=figures)
    status = dataclasses.replace(
        example(),
        services=(*services, busy),
        started=datetime.now(UTC) - timedelta(seconds=100),
        step_metrics=example().step_metrics | {"step_seconds": 2.0},
        end_reasons={f"filtered: all {n} responses are right and there is nothing to compare": 9 - n for n in range(4)},
    )
    cause = "ended (killed by SIGKILL); started again, restart 1; its last line: " + "x" * 60
    processes = {service.service_id: "process 1234, 1 restart (signal SIGKILL: x)" for service in status.services}
    console = Console(width=columns, height=lines, color_system=None)
    with console.capture() as capture:
        console.print(run_view(status, [10, 10], processes, [cause] * 5, (columns, lines)))
    shown = capture.get().splitlines()
    assert len(shown) <= lines
    assert max(map(len, shown)) <= columns
    text = "\n".join(shown)
    for part in (
        "elapsed 1 min",
        "left 32 s at most",
        "4/20",
        "reward -1.250",
        "filtered 0",
        "generator-0",
        "512.4 tokens/s",
    ):
        assert part in text
    assert "filtered: all 0 responses are right" in text
    assert "ended (killed by SIGKILL)" in text


def test_a_service_that_has_not_registered_has_a_row_with_what_it_does() -> None:
    status = dataclasses.replace(example(), services=())
    for size in ((120, 35), (80, 24)):
        text = rendered(run_view(status, [10, 10], {"generator-0": "loading weights, 12 s"}, (), size))
        row = next(line for line in text.splitlines() if "generator-0" in line)
        assert "starting" in row
        assert "loading weights, 12 s" in row
