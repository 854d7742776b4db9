"""What the control plane's benchmark writes for the controller that it measures is what a controller reads."""

from pathlib import Path

from areal_mesh.runtime.settings import load_settings
from benchmarks.controller_process import write_settings


def test_the_settings_of_a_measured_controller_hold(tmp_path: Path) -> None:
    settings = load_settings(write_settings(tmp_path, 1234, 0, 512, 4))
    assert (settings.algorithm.batch_groups, settings.algorithm.max_staleness) == (512, 4)
    assert [rule.type for rule in settings.stages[0].rules] == ["truncated_above"]
    assert settings.controller.listen == "127.0.0.1:1234"
