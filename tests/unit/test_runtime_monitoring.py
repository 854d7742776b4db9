"""Alert rules and dashboard: by the real promtool where it is, and with no query on a metric that nobody exports."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "areal-mesh.json"
METRICS = ROOT / "docs" / "metrics.md"
OPERATIONS = ROOT / "docs" / "operations.md"
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="alert rules: needs promtool (Debian: apt install prometheus)"
)


def exported() -> set[str]:
    """Names of the documented table, which a test holds to what services show."""
    return set(re.findall(r"`(areal_mesh_[a-z_]+)`", METRICS.read_text()))


def queried(text: str) -> set[str]:
    """Metrics of ours that a query names."""
    found = set(re.findall(r"\bareal_mesh_[a-z_]+", text))
    return {next((name.removesuffix(part) for part in HISTOGRAM_PARTS if name.endswith(part)), name) for name in found}


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Title and expression of each panel's queries, and those of its variables."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield f"${variable['name']}", variable["query"]["query"]


def alert_names(file: str) -> list[str]:
    """In an alert file or its test, in their order."""
    return re.findall(r"^ *-? *(?:\{.*)?\balert(?:name)?: (\w+)", (PROMETHEUS / file).read_text(), re.MULTILINE)


@needs_promtool
def test_promtool_runs_the_rules_tests() -> None:
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_to_fire_and_to_be_silent_and_has_its_action() -> None:
    names = alert_names("alerts.yml")
    assert len(names) == len(set(names)) >= 15
    tested = alert_names("alerts_test.yml")
    for name in names:
        assert tested.count(name) >= 2, f"{name}: test it silent on a run that is well, and firing"
    actions = re.findall(r"^\| `(\w+)` \|", OPERATIONS.read_text(), re.MULTILINE)
    assert [name for name in actions if name in names] == names


def test_every_rule_asks_for_metrics_that_are_exported() -> None:
    assert queried((PROMETHEUS / "alerts.yml").read_text()) <= exported()


def test_every_panel_asks_for_metrics_that_are_exported() -> None:
    queries = list(dashboard_queries())
    assert len(queries) > 30
    unknown = {title: sorted(queried(query) - exported()) for title, query in queries if queried(query) - exported()}
    assert not unknown
    assert all(queried(query) or "process_" in query for _, query in queries)
