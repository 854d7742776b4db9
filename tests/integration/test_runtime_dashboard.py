"""The dashboard's queries, put to the real Prometheus that scrapes a real mesh."""

import asyncio
import http
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.runtime.roles import SERVICE_ROLES
from areal_mesh.runtime.waiting import wait_until
from tests.integration.live_mesh import LiveMesh, live_mesh, live_settings
from tests.integration.test_runtime_metrics import measured
from tests.unit.test_runtime_monitoring import dashboard_queries

SECONDS = 40.0
pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="dashboard: needs prometheus (Debian: apt install prometheus)"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def prometheus(folder: Path, mesh: LiveMesh) -> AsyncIterator[str]:
    """Its address, while it scrapes every service of the mesh twice a second."""
    targets = [{"targets": [f"127.0.0.1:{mesh.watches[role].metrics_port}"]} for role in SERVICE_ROLES]
    scraping = {"job_name": "areal-mesh", "static_configs": targets, "scrape_interval": "500ms"}
    config = {"global": {"scrape_timeout": "500ms"}, "scrape_configs": [scraping]}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    words = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("wb") as log:
        words += [f"--web.listen-address=127.0.0.1:{port}"]
        process = await asyncio.create_subprocess_exec("prometheus", *words, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), SECONDS)


def asked(address: str, query: str) -> list[Any]:
    """The samples that a query gives now; none while Prometheus is not up yet."""
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as page:
            result: list[Any] = json.load(page)["data"]["result"]
            return result
    except ConnectionError:
        return []
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.SERVICE_UNAVAILABLE:  # it listens, and reads its storage
            return []
        raise AssertionError(f"{query}: {error.read().decode()}") from error
    except urllib.error.URLError:
        return []


def filled(query: str) -> str:
    """A panel's query with its variables as Grafana fills them in."""
    return query.replace("$controller", ".*").replace("$__rate_interval", "5s")


async def test_every_query_of_the_dashboard_finds_something_in_a_run(tmp_path: Path) -> None:
    panels = [(title, filled(query)) for title, query in dashboard_queries() if not title.startswith("$")]
    async with live_mesh(measured(live_settings(tmp_path))) as mesh, prometheus(tmp_path, mesh) as address:
        empty = dict(panels)
        try:
            async with asyncio.timeout(SECONDS):
                while empty := {
                    title: query for title, query in panels if not await asyncio.to_thread(asked, address, query)
                }:
                    await wait_until(asyncio.Event(), 1.0)
        except TimeoutError:
            log = (tmp_path / "prometheus.log").read_text()[-1000:]
            raise AssertionError(f"queries that find nothing: {empty}\n{log}") from None
        up = await asyncio.to_thread(asked, address, "up == 1")
        assert len(up) == len(SERVICE_ROLES)
