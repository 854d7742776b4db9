"""`areal-mesh eval` with a real engine: killed outright in the middle, gone on with, and nothing generated twice."""

import json
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from areal_mesh.evaluation.responses import read_responses
from areal_mesh.recipes.arithmetic.choices import WarmStartSettings
from areal_mesh.recipes.arithmetic.folder import make_model
from areal_mesh.recipes.arithmetic.problems import write_prompts
from tests.e2e.whole_mesh import COMMAND

pytest.importorskip("vllm", reason="needs vLLM: install the generator and cpu extras")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
PROBLEMS, SAMPLES, SECONDS = 64, 8, 150.0


def eval_command(folder: Path) -> list[str]:
    options = {
        "--suite": folder / "sums.jsonl",
        "--samples": SAMPLES,
        "--max-tokens": 60,
        "--temperature": 1.0,
        "--output": folder / "out",
        "--set": "generator.kv_cache_gib=0.25",
    }
    words = [word for option, value in options.items() for word in (option, str(value))]
    return [str(COMMAND), "eval", str(folder / "model"), *words, "--set", "generator.max_sequences=32"]


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def test_killed_in_the_middle_it_goes_on_and_generates_nothing_twice(tmp_path: Path) -> None:
    make_model(tmp_path / "model", seed=1, settings=WarmStartSettings(steps=2))
    write_prompts(tmp_path / "sums.jsonl", PROBLEMS, seed=5)
    responses = tmp_path / "out" / "responses.jsonl"
    first = subprocess.Popen(eval_command(tmp_path), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + SECONDS
    while len(lines_of(responses)) < 20:
        assert first.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline, "no response came"
        time.sleep(0.02)
    children = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(signal.SIGKILL)
    first.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive, "the engine outlives its command"
    kept = [line for line in lines_of(responses) if line.endswith(b"\n")]
    assert 20 <= len(kept) < PROBLEMS * SAMPLES
    second = subprocess.run(eval_command(tmp_path), capture_output=True, text=True, timeout=SECONDS, check=True)
    assert f"{len(kept)} of them there already" in second.stderr
    assert lines_of(responses)[: len(kept)] == kept
    found = list(read_responses(responses))
    assert len(found) == len({response.key for response in found}) == PROBLEMS * SAMPLES
    assert {response.finish_reason for response in found} <= {"stop", "length"}
    [row] = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert (row["problems"], row["samples"]) == (PROBLEMS, SAMPLES)
    assert row["response_length"] == pytest.approx(sum(response.tokens for response in found) / len(found))
