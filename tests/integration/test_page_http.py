"""The page's server over HTTP: what it answers about a real run directory, and whom it refuses."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from areal_mesh.runtime.settings import RunSettings
from tests.integration.page_process import SECONDS, served, write_run
from tests.integration.tls_mesh import certificate_folder, echo_controller, write_tokens
from tests.integration.tools import command
from tests.unit.rollout_logs import Answer, group_of, open_log, store

ANSWERS = (
    Answer("Two doubled: \\boxed{2}", True, extracted="2"),
    Answer("No idea", rule="no answer", truncated=True),
)


@pytest.fixture
async def settings(tmp_path: Path) -> RunSettings:
    return await write_run(tmp_path, ANSWERS)


@pytest.fixture
async def client(settings: RunSettings) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        served(str(settings.run_directory)) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=SECONDS) as client,
    ):
        yield client


async def asked(client: httpx.AsyncClient, path: str, **given: str) -> Any:
    answer = await client.get(f"/api/runs/looked-at/{path}", params=given)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def all_indexed(client: httpx.AsyncClient, count: int) -> None:
    """Waits until so many rollouts are found."""
    end = time.monotonic() + SECONDS
    while (await asked(client, "rollouts"))["count"] != count:
        assert time.monotonic() < end
        await asyncio.sleep(0.1)  # the server reads the log by itself


async def test_a_run_is_shown_from_its_directory_alone(client: httpx.AsyncClient, settings: RunSettings) -> None:
    [run] = (await client.get("/api/runs")).json()
    assert (run["name"], run["goes_on"], run["planned_steps"]) == ("looked-at", False, 6)
    metrics = await asked(client, "metrics")
    assert metrics["step"] == [1, 2, 3, 4, 5, 6]
    assert metrics["mismatch_kl"] == [1e-8, None, 1e-8, None, 1e-8, None]
    assert "staleness" not in metrics
    assert (await asked(client, "metrics", after="4"))["step"] == [5, 6]
    assert await asked(client, "status") == {"status": None}
    await all_indexed(client, 12)
    assert await asked(client, "choices") == {
        "rule": {"rational": 6, "no answer": 6},
        "source": {"sums": 6, "powers": 6},
    }
    first = (await asked(client, "sources"))[0]
    assert (first["step"], first["source"], first["reward"], first["truncated"]) == (1, "powers", 0.0, 0.5)


async def test_rollouts_are_found_and_shown_whole_and_explained(client: httpx.AsyncClient) -> None:
    await all_indexed(client, 12)
    found = await asked(client, "rollouts", text="doubled", source="powers", order="oldest")
    assert found["count"] == 3
    assert found["rollouts"][0]["rollout_id"] == "g00000001.0"
    whole = await asked(client, "rollouts/g00000001.0")
    assert "".join(whole["tokens"]) == "Two doubled: \\boxed{2}<|end|>"
    assert len(whole["log_probs"]) == len(whole["tokens"]) == whole["spans"][-1]["end"]
    assert [other["rollout_id"] for other in whole["group"]] == ["g00000001.0", "g00000001.1"]
    steps = (await asked(client, "rollouts/g00000001.0/why"))["steps"]
    assert steps[-1].startswith("verdict: correct")


async def test_what_is_stored_meanwhile_is_shown(client: httpx.AsyncClient, settings: RunSettings) -> None:
    await all_indexed(client, 12)
    buffer = open_log(settings)
    await store(buffer, group_of(settings, 7, "New", ["1"], ANSWERS, ""))
    await all_indexed(client, 14)
    buffer.close()
    assert (await asked(client, "rollouts", source="-"))["count"] == 2


REFUSED = (
    ("/api/runs/other/metrics", 404, "no run other"),
    ("/api/runs/looked-at/rollouts/g9.0", 404, "no such rollout"),
    ("/api/runs/looked-at/rollouts?after=-1", 400, "after = -1"),
    ("/api/runs/looked-at/rollouts?step=one", 400, "step = one"),
    ("/api/runs/looked-at/rollouts?order=random", 400, "is none of newest"),
    ("/static/../app.py", 404, ""),
    ("/static/%2e%2e/app.py", 404, ""),
)


async def test_what_cannot_be_answered_is_refused(client: httpx.AsyncClient) -> None:
    for path, code, says in REFUSED:
        answer = await client.get(path)
        assert (path, answer.status_code) == (path, code)
        assert says in answer.text
        assert "import" not in answer.text


async def test_nothing_but_the_page_is_loaded_and_nobody_elsewhere_is_let_in(client: httpx.AsyncClient) -> None:
    for path in ("/", "/static/app.js", "/api/runs", "/nothing"):
        policy = (await client.get(path)).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
    # A name elsewhere that resolves to this machine.
    answer = await client.get("/api/runs", headers={"host": "attacker.example"})
    assert answer.status_code == 400
    assert "folder" not in answer.text


async def test_a_controller_that_answers_is_shown(tmp_path: Path, address: str) -> None:
    settings = await write_run(tmp_path, ANSWERS, "example")
    async with (
        served(str(settings.run_directory), "--controller", address) as page,
        httpx.AsyncClient(base_url=page, trust_env=False, timeout=SECONDS) as client,
    ):
        status = (await client.get("/api/runs/example/status")).json()["status"]
    assert status["step"] == 7
    assert status["services"][0]["service_id"] == "generator-0"


async def test_a_controller_over_tls_is_asked_with_certificates_and_a_token(
    settings: RunSettings, tmp_path: Path
) -> None:
    certificate_folder(tmp_path / "certs")
    (tmp_path / "token").write_text(write_tokens(tmp_path / "certs", anna="read-only")["anna"])
    async with echo_controller(tmp_path / "certs") as (controller, address):
        given = (str(settings.run_directory), "--controller", address)
        proof = ("--certificates", str(tmp_path / "certs"), "--token-file", str(tmp_path / "token"))
        for options, reached in (((), False), (proof, True)):
            async with (
                served(*given, *options) as page,
                httpx.AsyncClient(base_url=page, trust_env=False, timeout=SECONDS) as client,
            ):
                # Another run's controller, by its name: it is not shown.
                assert await asked(client, "status") == {"status": None}
            assert ("GetStatus" in controller.calls) == reached


async def test_the_command_says_what_it_cannot_show(tmp_path: Path, settings: RunSettings) -> None:
    code, _, errors = await command("view", str(tmp_path / "none"))
    assert (code, "no such run directory" in errors) == (1, True)
    async with served(str(settings.run_directory)) as address:
        port = address.rstrip("/").rpartition(":")[2]
        code, _, errors = await command("view", str(settings.run_directory), "--port", port)
    assert code == 1
    assert errors == f"areal-mesh: --port {port}: is taken; name another, or 0 for any that is free\n"


async def test_a_page_leaves_with_the_run_whose_end_it_waits_for(settings: RunSettings) -> None:
    """Its controller answers no more, and its summary says that it is finished."""
    run = settings.run_directory
    code, _, errors = await command("view", str(run), "--port", "0", "--until-over")
    assert (code, errors) == (1, "areal-mesh: --until-over: say whose run's end to wait for, with --controller\n")
    (run / "summary.json").write_text('{"finished": true}')
    code, out, errors = await command("view", str(run), "--port", "0", "--until-over", "--controller", "127.0.0.1:9")
    assert (code, errors) == (0, "")
    assert out.startswith("looked-at: http://127.0.0.1:")


async def test_a_host_that_is_not_this_machine_s_is_named(settings: RunSettings) -> None:
    code, _, errors = await command("view", str(settings.run_directory), "--host", "203.0.113.1")
    assert (code, errors) == (
        1,
        "areal-mesh: --host 203.0.113.1: is no address of this machine; leave it out for loopback\n",
    )
