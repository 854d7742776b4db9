"""The settings of a preset's simulation: its real services are on this machine, whatever the preset says."""

import pytest

from areal_mesh.cli.simulate_preset import _simulated
from areal_mesh.runtime.settings import load_settings, preset_names


@pytest.mark.parametrize("preset", preset_names())
def test_its_real_services_share_no_port(preset: str) -> None:
    wanted = load_settings(preset)
    values = _simulated(wanted, "simulated")
    for role in ("controller", "replay"):
        asked = getattr(wanted, role).metrics_port
        # 0 is any that is free.
        assert values[role]["metrics_port"] == (None if asked is None else 0)
        assert values[role]["listen"].startswith("127.0.0.1:")
    assert values["controller"]["listen"] != values["replay"]["listen"]
