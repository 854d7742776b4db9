"""What the pages of grading and of the verifier show works as they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("grading.md", "verifier.md"))
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGES, re.DOTALL)


@pytest.mark.parametrize("index", range(len(EXAMPLES)))
def test_documented_example_runs(index: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[index]], capture_output=True, text=True, timeout=90, check=False
    )

    assert done.returncode == 0, done.stderr


def test_benchmark_prints_its_table() -> None:
    pytest.importorskip("math_verify", reason="install math-verify (the dev extra) to run the benchmark")
    data = ROOT.parent / "shared" / "data"
    if not data.exists():
        pytest.skip(f"{data} is absent: put the public data sets there to run the benchmark")
    command = [sys.executable, "-m", "benchmarks.grading", "--answers", "15", "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)

    assert "times as many answers a CPU-second" in done.stdout, done.stderr
    assert "math-verify" in done.stdout
