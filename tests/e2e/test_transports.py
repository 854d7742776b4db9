"""A short real run over each transport that needs no GPU, but for Gloo, over which the other runs go."""

from pathlib import Path

import pytest

from tests.e2e.whole_mesh import read_json, started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WAYS = {
    "ipc": ("weights.transport.type=ipc", "weights.transport.folder={}"),
    "delta over disk": (
        "weights.transport.type=delta",
        "weights.transport.over.type=disk",
        "weights.transport.over.folder={}",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_engine_and_learner_hold_the_same_weights_after_every_publish(tmp_path: Path, way: str) -> None:
    chosen = [override.format(tmp_path / "weights") for override in WAYS[way]]
    # A rate at which every version is far from the one before.
    overrides = (*chosen, "learner.learning_rate=1e-3", "controller.listen=127.0.0.1:7453")
    with started("trial-short", tmp_path, *overrides) as launcher:
        output, _ = launcher.communicate(timeout=500)
        assert launcher.returncode == 0, output
    summary = read_json(tmp_path / "trial-short" / "summary.json")
    assert (summary["steps"], summary["versions_published"]) == (6, 7)
    assert summary["checksums"] == {"agreed": 7}
    assert summary["mismatch_kl"] < 1e-6
    assert not list((tmp_path / "weights").iterdir()), "nothing is left of it"
