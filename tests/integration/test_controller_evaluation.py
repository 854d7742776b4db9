"""Evaluation in a run that trains, every service the real one but for the engine: what it writes and what it leaves."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.evaluation.requests import sample_seed
from areal_mesh.evaluation.responses import read_responses
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import status_pb2
from tests.integration.live_mesh import SECONDS, LiveMesh, live_mesh, live_settings

STEPS, EVERY, SAMPLES = 5, 2, 2


def evaluated_run(folder: Path) -> RunSettings:
    # The engine answers each problem with its own text.
    rows = [{"id": f"p-{n}", "problem": f"\\boxed{{{n}}}", "answer": str(n if n < 3 else 0)} for n in range(1, 5)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = live_settings(folder, steps=STEPS).model_dump()
    values["prompts"]["max_prompt_tokens"] = 16
    values["evaluation"] |= {"every": EVERY, "suites": ["sums"], "data": folder, "samples": SAMPLES, "temperature": 0.0}
    return RunSettings.model_validate(values)


async def until_evaluated(mesh: LiveMesh, version: int) -> status_pb2.RunStatus:
    async with asyncio.timeout(SECONDS):
        while True:
            status = await mesh.status()
            if status.step_metrics["evaluation/sums/policy_version"] == version:
                return status
            await asyncio.sleep(0.1)


async def test_every_so_many_versions_are_evaluated_and_the_last(tmp_path: Path) -> None:
    settings = evaluated_run(tmp_path)
    async with live_mesh(settings) as mesh:
        status = await until_evaluated(mesh, STEPS)
        assert status.step_metrics["evaluation/sums/pass_at_1"] == 0.5
        groups = status.groups
        assert groups.leased == groups.trained + groups.stale + groups.filtered + groups.failed + groups.open
        asked = [sampling for problem, sampling in mesh.services["generator"]._engine.sampled if "boxed" in problem]
    run = settings.run_directory
    with sqlite3.connect(run / "ledger.db") as ledger:
        rows = ledger.execute("SELECT policy_version, suite, figures FROM evaluations ORDER BY 1").fetchall()
        assert not ledger.execute("SELECT 1 FROM groups WHERE prompt_id LIKE 'p-%'").fetchall()
    versions = [version for version, _, _ in rows]
    assert versions[0] == 0
    assert versions[-1] == STEPS
    assert [version // EVERY for version in versions[:-1]] == sorted({version // EVERY for version in versions[:-1]})
    for version, suite, figures in rows:
        assert suite == "sums"
        assert json.loads(figures)["pass_at_1"] == pytest.approx(0.5)
        assert json.loads(figures)["problems"] == 4
        responses = list(read_responses(run / "evaluations" / f"version-{version:08d}" / "responses.jsonl"))
        assert {response.key.checkpoint for response in responses} == {f"live@{version}"}
        assert len(responses) == 4 * SAMPLES
    wanted = {sample_seed(1, "sums", f"p-{n}", number) for n in range(1, 5) for number in range(SAMPLES)}
    assert {sampling.seed for sampling in asked} == wanted
    assert {(sampling.temperature, sampling.responses) for sampling in asked} == {(0.0, 1)}


async def test_training_goes_on_where_an_evaluation_never_ends(tmp_path: Path) -> None:
    settings = evaluated_run(tmp_path)
    values = settings.model_dump()
    values["stages"][0]["max_steps"] = 1000
    async with live_mesh(RunSettings.model_validate(values)) as mesh:
        engine = mesh.services["generator"]._engine
        at_once = engine.generate

        async def generate(prompt_token_ids: Any, sampling: Any, request_id: str) -> Any:
            if any(token == ord("b") for token in prompt_token_ids):
                await asyncio.Event().wait()
            return await at_once(prompt_token_ids, sampling, request_id)

        engine.generate = generate
        first = await mesh.until_step(2)
        status = await mesh.until_step(first.step + 6)
        assert status.published_version >= first.step + 4
        assert status.groups.stale == 0
        assert "evaluation/sums/pass_at_1" not in status.step_metrics
        metrics = mesh.services["generator"].report().metrics
        assert metrics["answers_running"] <= settings.evaluation.requests_at_once
    with sqlite3.connect(settings.run_directory / "ledger.db") as ledger:
        assert not ledger.execute("SELECT 1 FROM evaluations WHERE policy_version > 0").fetchall()


async def test_no_generator_is_asked_where_nothing_is_scheduled(tmp_path: Path) -> None:
    async with live_mesh(live_settings(tmp_path)) as mesh:
        await mesh.until_step(2)
        assert "answer_tokens/evaluation" not in mesh.services["generator"].report().metrics
    assert not (mesh.settings.run_directory / "evaluations").exists()
