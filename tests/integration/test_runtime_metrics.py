"""Every service of a real mesh is scraped: what it shows is what the table of the documents has."""

import asyncio
import re
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from areal_mesh.controller.run_metrics import RUN_METRICS
from areal_mesh.runtime.metrics.endpoint import OF_EVERY_SERVICE
from areal_mesh.runtime.metrics.members import BY_ROLE, COMMON, row_of
from areal_mesh.runtime.roles import SERVICE_ROLES
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.waiting import wait_until
from tests.integration.live_mesh import SECONDS, LiveMesh, live_mesh, live_settings

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
OURS = "areal_mesh_"
NOT_ALWAYS = {
    "areal_mesh_open_call_age_seconds",
    "areal_mesh_generator_answer_tokens_total",
    "areal_mesh_certificate_expiry_timestamp_seconds",
}
"""Nobody waits for a call, nobody asks beside the run, and it has no certificates."""


def documented() -> set[str]:
    """Names in the tables' first column."""
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(rf"`({OURS}[a-z_]+)`", row)}


def measured(settings: RunSettings) -> RunSettings:
    values = settings.model_dump(mode="json")
    for role in SERVICE_ROLES:
        values[role]["metrics_port"] = 0
    return RunSettings.model_validate(values)


async def scraped(mesh: LiveMesh, role: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Values by name and labels, as the endpoint of a role shows them."""
    url = f"http://127.0.0.1:{mesh.watches[role].metrics_port}/metrics"
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(page):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        values = found.setdefault(name, {})
        for sample in family.samples:
            values[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def scraped_once_heard(mesh: LiveMesh, role: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The same once the service has reported."""
    async with asyncio.timeout(SECONDS):
        while "areal_mesh_service_state" not in (found := await scraped(mesh, role)):
            await wait_until(asyncio.Event(), 0.05)
    return found


async def test_every_service_shows_what_the_table_lists_and_nothing_else(tmp_path: Path) -> None:
    settings = measured(live_settings(tmp_path))
    shown: set[str] = set()
    async with live_mesh(settings) as mesh:
        await mesh.until_step(3)
        for role in SERVICE_ROLES:
            found = await scraped_once_heard(mesh, role)
            shown |= {name for name in found if name.startswith(OURS)}
            assert found["areal_mesh_service_state"][("state", "serving"),] == 1
            assert found["process_resident_memory_bytes"][()] > 1e6
            # What is reported in heartbeats has its row.
            unknown = [name for name in mesh.services[role].report().metrics if row_of(role, name) is None]
            assert not unknown, f"{role} reports what no metric shows: {unknown}"
        run = await scraped(mesh, "controller")
        assert run["areal_mesh_run_steps_total"][()] >= 3
        assert run["areal_mesh_run_state"][("state", "running"),] == 1
        assert run["areal_mesh_run_members"][("role", "generator"), ("state", "serving")] == 1
        assert ("figure", "reward") in {labels[0] for labels in run["areal_mesh_run_step_figure"]}
        learner = await scraped(mesh, "learner")
        assert learner["areal_mesh_learner_tokens_total"][()] > 0
    assert shown <= documented()
    assert documented() - shown <= NOT_ALWAYS


def test_every_metric_that_the_code_declares_is_documented() -> None:
    declared = {metric.name for metric in (*OF_EVERY_SERVICE, *COMMON, *RUN_METRICS)}
    declared |= {row.metric.name for rows in BY_ROLE.values() for row in rows}
    assert declared <= documented()


def test_names_follow_the_conventions() -> None:
    for metric in (*COMMON, *RUN_METRICS, *(row.metric for rows in BY_ROLE.values() for row in rows)):
        assert re.fullmatch(r"areal_mesh(_[a-z]+)+", metric.name), metric.name
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not re.search(r"_(ms|milliseconds|minutes|mib|gib|percent)\b", metric.name), metric.name
