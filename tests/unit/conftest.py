"""What several unit tests are given."""

import json
from pathlib import Path

import pytest

from tests.unit.run_metrics import rows


@pytest.fixture
def metrics_file(tmp_path: Path) -> Path:
    """A `metrics.jsonl` of six steps."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(6)))
    return path
