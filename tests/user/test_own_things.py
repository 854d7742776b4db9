"""The tasks of `docs/own.md`, typed as they stand there, in a fresh clone, each at the first try and in its time."""

import json
import re
import time
from pathlib import Path

import pytest

from tests.user.clone import ROOT, fresh_clone, typed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PAGE = (ROOT / "docs" / "own.md").read_text(encoding="utf-8")
TASKS = re.findall(r"<!-- task: (\w+), (\d+) seconds -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
MAKING_SECONDS = 600.0


def test_each_task_works_at_the_first_try_and_in_its_time(tmp_path: Path) -> None:
    assert [name for name, _, _ in TASKS] == ["data", "reward", "template", "evaluation", "export", "picture"]
    clone = fresh_clone(tmp_path)
    began = time.monotonic()
    typed("areal-mesh prepare trial-short", clone, MAKING_SECONDS)
    print(f"\nmodel made or found: {time.monotonic() - began:.0f} s")
    said, took = {}, {}
    for name, limit, script in TASKS:
        began = time.monotonic()
        said[name] = typed(script, clone, MAKING_SECONDS)
        took[name] = time.monotonic() - began
        print(f"{name}: {took[name]:.0f} s of {limit} s", flush=True)
    assert "`question` is the problem, problems are numbered" in said["data"]
    assert "reward brevity: 0.9 for the first prompt's answer in a box, 0 for" in said["reward"]
    rows = [json.loads(line) for line in (clone / "runs/brief/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 6
    assert all(row["reward"] == pytest.approx(row["reward_correctness"] + row["reward_brevity"]) for row in rows)
    assert "<|user|>Compute" in said["template"]
    assert "<|assistant|>=" in said["template"]
    assert list(clone.glob("**/results.json")), said["evaluation"]
    assert (clone / "mine-model" / "config.json").is_file()
    more = json.loads((clone / "runs/more/settings.json").read_text(encoding="utf-8"))
    assert more["model"]["folder"].startswith("runs/mine/checkpoints/export-")
    assert len((clone / "runs/more/metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 6
    assert (clone / "both.png").read_bytes().startswith(b"\x89PNG")
    assert "verifier.reward" in said["picture"]
    assert {name: seconds for name, seconds in took.items() if seconds > dict_of_limits()[name]} == {}


def dict_of_limits() -> dict[str, float]:
    return {name: float(limit) for name, limit, _ in TASKS}
