"""What several unit tests are given."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from areal_mesh.controller.run import Run
from tests.unit.run_metrics import rows
from tests.unit.run_scene import Scene, begun_with
from tests.unit.stage_support import stage


@pytest.fixture
def metrics_file(tmp_path: Path) -> Path:
    """A `metrics.jsonl` of six steps."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(6)))
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A run of two stages whose controller can be killed."""
    scene = Scene(tmp_path / "ledger.db", begun_with(stage("short", 8, 2), stage("long", 16, 2)))
    yield scene
    for ledger in scene.ledgers:
        ledger.close()


@pytest.fixture
def run(scene: Scene) -> Run:
    """The run of `scene`, its first version published."""
    run = scene.open()
    scene.publish(run, 0)
    return run
