"""What people see of evaluations during training."""

from areal_mesh.cli.evaluation_lines import evaluation_figures, evaluation_lines


def test_a_status_has_a_line_for_each_suite_and_none_without() -> None:
    metrics = {
        "reward": 1.0,
        "evaluation/math500/policy_version": 40.0,
        "evaluation/math500/pass_at_1": 0.825,
        "evaluation/math500/response_length": 4100.0,
        "evaluation/math500/truncated": 0.0,
        "evaluation/aime24/policy_version": 20.0,
        "evaluation/aime24/pass_at_1": 0.3,
    }
    assert evaluation_lines(metrics) == [
        "evaluation aime24: version 20, pass@1 30.0%",
        "evaluation math500: version 40, pass@1 82.5%, length 4,100, truncated 0%",
    ]
    assert evaluation_lines({"reward": 1.0}) == []


def test_the_table_of_a_run_tells_every_version_of_a_suite() -> None:
    rows = [{"policy_version": version, "suite": "math500", "pass_at_1": version / 40} for version in (0, 20)]
    assert evaluation_figures(rows) == [("pass@1 math500", "0.0 (version 0), 50.0 (version 20)")]
    assert evaluation_figures([]) == []
