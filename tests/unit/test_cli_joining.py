"""`doctor --join`: what does not fit the run is named, with what would do."""

import pytest

from areal_mesh.cli.findings import Finding
from areal_mesh.cli.joining import Joining, address_findings, different, for_role, joining_findings, of_role
from areal_mesh.client import ControllerFacts
from areal_mesh.runtime.identity import version
from areal_mesh.runtime.settings import load_settings

ADDRESS = "controller:7400"


def found(joining: Joining, **changes: object) -> dict[str, Finding]:
    mine = dict(joining.run_settings) | changes
    return {finding.name: finding for finding in joining_findings(joining, mine)}


def test_a_controller_that_does_not_answer_is_the_only_finding() -> None:
    (finding,) = joining_findings(Joining(ADDRESS, unreachable="nobody answers"), {})
    assert (finding.level, finding.found) == ("fault", "nobody answers")


def test_a_node_that_fits_has_nothing_to_see_to() -> None:
    joining = Joining(ADDRESS, "", {"name": "run", "seed": 1}, ControllerFacts(100.0, version()), 100.2)
    levels = {name: finding.level for name, finding in found(joining).items()}
    assert levels == dict.fromkeys(("controller at controller:7400", "settings", "release", "clock"), "fine")


def test_other_settings_clock_and_release_are_named() -> None:
    joining = Joining(ADDRESS, "", {"name": "run", "seed": 1}, ControllerFacts(100.0, "0.0.9"), 107.5)
    findings = found(joining, seed=2)
    assert findings["settings"].found == "differ from the run's: seed"
    assert (findings["clock"].level, findings["clock"].found) == ("fault", "+7.50 s against the controller's")
    assert findings["release"].level == "remark"
    assert all(finding.remedy for finding in findings.values() if finding.level != "fine")


def test_what_a_node_has_for_itself_is_no_difference() -> None:
    theirs = {"generator": {"listen": "a:1", "advertise": "a", "gpus": [0], "max_sequences": 8}}
    mine = {"generator": {"listen": "b:2", "advertise": "b", "gpus": [1], "max_sequences": 9}}
    assert list(different(theirs, mine)) == ["generator.max_sequences"]


def test_a_node_without_gpus_may_run_a_verifier_of_a_run_on_gpus() -> None:
    settings = load_settings("distill-1.5b-1node", [])
    assert for_role(settings, "verifier").generator.device == "cpu"
    assert for_role(settings, "generator").generator.device == "cuda"
    kept = of_role(iter([Finding("GPUs", "fault", "none"), Finding("disk", "fine", "9 GiB")]), "verifier")
    assert [finding.name for finding in kept] == ["disk"]


@pytest.mark.parametrize(
    ("listen", "advertise", "level", "said"),
    [
        ("127.0.0.1:0", "", "fault", "no other machine reaches it there"),
        ("0.0.0.0:0", "", "fault", "every interface is no address"),
        ("0.0.0.0:0", "no-such-host.invalid", "fault", "no-such-host.invalid"),
        ("0.0.0.0:0", "{host}", "fine", "leads here"),
    ],
)
def test_an_address_that_does_not_lead_here_is_named(listen: str, advertise: str, level: str, said: str) -> None:
    overrides = [f"generator.listen={listen}", f"generator.advertise={advertise}", "plaintext_beyond_loopback=true"]
    section = load_settings("trial", overrides).generator
    (finding,) = address_findings("generator", section)
    assert said in finding.found, finding
    assert finding.level == level
