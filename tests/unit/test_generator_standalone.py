"""The engine without a run: its plan, and how it says what went wrong."""

from pathlib import Path

from areal_mesh.generator.standalone import Plan, Request, cause_of, read_plan, write_plan
from areal_mesh.runtime.settings import load_settings


def test_a_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    settings = load_settings("trial", ["evaluation.temperature=0.5", "prompts.template=a {problem} \\boxed{}"])
    plan = Plan(settings, (Request("a/b/c/0", "1+1?", 1 << 60), Request("a/b/c/1", "two\nlines \u4e2d", 5)))
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan


def test_the_cause_of_a_task_groups_end_is_one_line() -> None:
    inner = ExceptionGroup("workers", [ValueError("weights are\n  NaN"), ValueError("second")])
    assert cause_of(ExceptionGroup("tasks", [inner])) == "weights are NaN"
    assert cause_of(KeyError()) == "KeyError()"
