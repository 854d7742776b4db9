"""The generator and the client of the release before in a run of this one: what a rolling upgrade goes through."""

import asyncio
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from areal_mesh.client import MeshClient
from tests.chaos.nodes import BATCH_GROUPS, Nodes, Watch, started
from tests.chaos.recovery import check_books
from tests.e2e.whole_mesh import ROLES, read_json

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "235d177"
"""The release before: a tag once there is one, and the state that the contracts had to keep to until then."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The release before, as files."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", BEFORE], capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip(f"release before: needs {BEFORE} in the history of this checkout (git fetch --unshallow)")
    folder = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def test_the_release_before_generates_for_this_one_and_asks_it(tmp_path: Path, before: Path) -> None:
    paths = os.pathsep.join(str(before / part) for part in ("services", "clients", "protos"))
    # Its own presets, too: those of now may name settings that it does not know.
    code = {"PYTHONPATH": paths, "AREAL_MESH_PRESETS": str(before / "deploy" / "presets")}
    with started(tmp_path, without=("generator",)) as (nodes, controller):
        nodes.start("generator", code, unknown=("replay.keep_released",))
        asyncio.run(some_steps(nodes, controller, code, before))
    folder = tmp_path / "rolling"
    assert check_books(folder, BATCH_GROUPS, max_staleness=1) >= 4
    assert set(read_json(folder / "summary.json")["checksums"]) == {"agreed"}


async def some_steps(nodes: Nodes, controller: str, code: dict[str, str], before: Path) -> None:
    async with MeshClient.connect(controller, timeout=60.0, waits=True) as mesh, asyncio.TaskGroup() as tasks:
        watch = Watch(mesh)
        looking = tasks.create_task(watch.look())
        await watch.until("steps", "generator", 1, 4)
        looking.cancel()
        command = [sys.executable, "-m", "areal_mesh.cli"]
        asked = await asyncio.to_thread(
            subprocess.run,
            [*command, "status", "--json", "--controller", controller],
            env=nodes.environment | code,
            cwd=before,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout)["step"] >= 4
        where = [
            *command[:1],
            "-c",
            "import areal_mesh.cli, areal_mesh.generator as g; print(areal_mesh.cli.__file__, g.__file__)",
        ]
        found = await asyncio.to_thread(
            subprocess.run, where, env=nodes.environment | code, capture_output=True, text=True
        )
        assert all(path.startswith(str(before)) for path in found.stdout.split()), found
        await mesh.stop("enough")
        for role in ROLES:
            assert await nodes.ended(role) == 0, nodes.last_lines(role)
