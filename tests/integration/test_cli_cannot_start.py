"""A service or a launcher that cannot start says why in its last line within seconds, and exits with its own code."""

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.settings import load_settings

PATIENCE_SECONDS = 60.0
# The bound is five seconds of a machine to itself; a shared one gets some grace.
SOON_SECONDS = 5.0
GRACE = 3.0


async def command(*arguments: str) -> tuple[int, str, float]:
    """Runs `areal-mesh`; returns exit code, last line of its errors, and the seconds it took."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "areal_mesh.cli",
        *arguments,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (errors.decode().splitlines() or [""])[-1], time.monotonic() - began


@pytest.fixture
def taken_address() -> Iterator[str]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield f"127.0.0.1:{holder.getsockname()[1]}"


@pytest.fixture
def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"id": "1", "problem": "Compute 1+1.", "answer": "2", "source": "test"}\n')
    return file


def overrides(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


async def test_a_service_whose_port_is_taken_says_so(taken_address: str, tmp_path: Path) -> None:
    arguments = overrides(f"replay.listen={taken_address}", f"directory={tmp_path}")
    code, line, seconds = await command("serve", "replay", "--config", "trial", *arguments)
    assert code == EXIT_CANNOT_START
    assert line.startswith(
        f"areal-mesh replay-0: cannot start: replay.listen = {taken_address}: address already in use"
    )
    assert seconds < SOON_SECONDS * GRACE


async def test_a_service_without_its_model_says_so(tmp_path: Path) -> None:
    arguments = overrides(f"model.folder={tmp_path / 'none'}", f"directory={tmp_path}")
    code, line, seconds = await command("serve", "learner", "--config", "trial", *arguments)
    assert code == EXIT_CANNOT_START
    assert line.startswith(f"areal-mesh learner-0: cannot start: model.folder = {tmp_path / 'none'}: no such folder")
    assert seconds < SOON_SECONDS * GRACE


async def test_a_service_with_an_unknown_setting_says_so() -> None:
    code, line, _ = await command("serve", "verifier", "--config", "trial", "--set", "verifier.wokers=2")
    assert code == EXIT_CANNOT_START
    assert "verifier.wokers: unknown key; did you mean workers?" in line


async def test_a_launcher_without_its_model_says_so_before_it_makes_anything(
    free_address: str, prompts: Path, tmp_path: Path
) -> None:
    arguments = overrides(
        f"directory={tmp_path / 'runs'}",
        f"controller.listen={free_address}",
        f"prompts.file={prompts}",
        "model.recipe=",
        f"model.folder={tmp_path / 'none'}",
    )
    code, line, _ = await command("up", "trial", *arguments)
    assert code == EXIT_CANNOT_START
    assert line.startswith(f"areal-mesh: trial: model.folder = {tmp_path / 'none'}: not there yet; ")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("fresh", [False, True])
async def test_the_launcher_starts_nothing_where_its_controllers_port_is_taken(
    taken_address: str, prompts: Path, tmp_path: Path, fresh: bool
) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = tmp_path / "runs" / "trial"
    if fresh:
        before.mkdir(parents=True)
        (before / "settings.json").write_text("{}")
    arguments = overrides(
        f"directory={tmp_path / 'runs'}",
        f"controller.listen={taken_address}",
        f"prompts.file={prompts}",
        "model.recipe=",
        f"model.folder={tmp_path}",
    )
    code, line, seconds = await command("up", "trial", *arguments, *["--fresh"] * fresh)
    assert code == EXIT_CANNOT_START
    assert line.startswith(f"areal-mesh: controller.listen = {taken_address}: address already in use; choose another")
    assert line.endswith(f"; `areal-mesh status --controller {taken_address}` shows a run that is there")
    assert seconds < SOON_SECONDS * GRACE
    assert before.exists() == fresh, "nothing is written, and nothing deleted"


async def test_a_finished_runs_table_needs_no_port(taken_address: str, tmp_path: Path) -> None:
    choices = (f"directory={tmp_path}", f"controller.listen={taken_address}")
    settings = load_settings("trial", choices)
    settings.run_directory.mkdir()
    (settings.run_directory / "settings.json").write_text(settings.model_dump_json())
    (settings.run_directory / "summary.json").write_text('{"finished": true, "run": "trial", "stages": []}')
    code, _, _ = await command("up", "trial", *overrides(*choices))
    assert code == 0


async def test_a_launcher_with_an_unknown_setting_says_so(tmp_path: Path) -> None:
    code, line, _ = await command("up", "trial", *overrides(f"directory={tmp_path}", "learner.learning_rat=1"))
    assert code == EXIT_CANNOT_START
    assert line == "areal-mesh: trial: learner.learning_rat: unknown key; did you mean learning_rate?"
    assert not (tmp_path / "trial").exists()


async def test_checking_settings_reports_each_and_fails_for_any() -> None:
    code, _, _ = await command("config", "check", "trial", "distill-1.5b-1node")
    assert code == 0
    code, line, _ = await command("config", "check", "trial", "no-such-preset")
    assert (code, line) == (EXIT_CANNOT_START, "areal-mesh: 1 of 2 do not hold")
