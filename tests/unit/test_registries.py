"""What grows is a row of a table: every table, its settings and its page name the same kinds."""

import json
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest

from areal_mesh.controller.rules.table import RULES
from areal_mesh.generator.filters.table import FILTERS
from areal_mesh.learner.advantages.table import ADVANTAGES
from areal_mesh.learner.kl.estimators import ESTIMATORS
from areal_mesh.learner.losses.averaging import AVERAGES
from areal_mesh.learner.losses.table import LOSSES
from areal_mesh.learner.overlong.table import OVERLONG
from areal_mesh.recipes.table import RECIPES
from areal_mesh.rewards.table import REWARDS
from areal_mesh.runtime.settings.advantages import AdvantageSettings
from areal_mesh.runtime.settings.algorithm import Average
from areal_mesh.runtime.settings.base import kinds
from areal_mesh.runtime.settings.filters import FilterSettings
from areal_mesh.runtime.settings.kl import KlEstimator
from areal_mesh.runtime.settings.losses import LossSettings
from areal_mesh.runtime.settings.overlong import OverlongSettings
from areal_mesh.runtime.settings.recipes import RecipeSettings
from areal_mesh.runtime.settings.rewards import OneRewardSettings
from areal_mesh.runtime.settings.sinks import SinkSettings
from areal_mesh.runtime.settings.stages import RuleSettings
from areal_mesh.runtime.settings.weights import (
    CarrierSettings,
    DeltaSettings,
    IpcSettings,
    NcclSettings,
    TransportSettings,
)
from areal_mesh.verifier.rewards import ENTRY_POINT_GROUP
from areal_mesh.views.sinks.table import SINKS
from areal_mesh.weights.transports.table import TRANSPORTS

ROOT = Path(__file__).parents[2]
REGISTRIES: dict[str, tuple[Any, Any, str]] = {
    "losses": (LOSSES, LossSettings, "docs/learner.md"),
    "advantages": (ADVANTAGES, AdvantageSettings, "docs/learner.md"),
    "overlong": (OVERLONG, OverlongSettings, "docs/learner.md"),
    "filters": (FILTERS, FilterSettings, "docs/generator.md"),
    "recipes": (RECIPES, Annotated[RecipeSettings, "type"], "docs/cli.md"),
    "stage rules": (RULES, RuleSettings, "docs/controller.md"),
    "rewards": (REWARDS, OneRewardSettings, "docs/verifier.md"),
    "sinks": (SINKS, SinkSettings, "docs/controller.md"),
    "transports": (TRANSPORTS, TransportSettings, "docs/weights.md"),
}


@pytest.mark.parametrize("registry", REGISTRIES)
def test_a_table_its_settings_and_its_page_name_the_same_kinds(registry: str) -> None:
    table, union, page = REGISTRIES[registry]
    assert sorted(table) == sorted(kinds(union))
    text = (ROOT / page).read_text()
    assert [name for name in table if f"`{name}`" not in text] == [], f"{page} leaves some out"


@pytest.mark.parametrize("registry", ["losses", "advantages", "overlong", "transports"])
def test_a_kind_is_built_from_its_own_settings(registry: str) -> None:
    table, union, _ = REGISTRIES[registry]
    for name, model in kinds(union).items():
        built: Any = table[name](model())
        assert built.settings == model()


@pytest.mark.parametrize(("table", "words"), [(ESTIMATORS, KlEstimator), (AVERAGES, Average)])
def test_a_table_of_functions_has_every_word_of_its_setting(table: Any, words: Any) -> None:
    assert sorted(table) == sorted(get_args(words))
    text = (ROOT / "docs/learner.md").read_text()
    assert [word for word in table if f"`{word}`" not in text] == []


def test_reward_terms_of_the_project_are_installed_and_on_their_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    terms = project["entry-points"][ENTRY_POINT_GROUP]
    assert len(terms) >= 2
    assert set(terms) <= {point.name for point in entry_points(group=ENTRY_POINT_GROUP) if callable(point.load())}
    page = (ROOT / "docs" / "verifier.md").read_text(encoding="utf-8")
    assert [name for name in terms if f"`{name}`" not in page] == []


def test_what_a_kind_needs_is_said_by_its_own_settings() -> None:
    """No list of names beside the union: a kind that is added says it for itself."""
    assert {loss.fits_stale_rollouts for loss in kinds(LossSettings).values()} == {True, False}
    assert {estimate.compares_a_group for estimate in kinds(AdvantageSettings).values()} == {True, False}
    assert {transport().needs_gpus for transport in kinds(TransportSettings).values()} == {True, False}
    assert DeltaSettings(over=NcclSettings()).needs_gpus
    assert {transport().lends for transport in kinds(TransportSettings).values()} == {True, False}
    assert DeltaSettings(over=IpcSettings()).lends
    assert set(kinds(CarrierSettings)) == set(kinds(TransportSettings)) - {"delta"}


@pytest.mark.parametrize("registry", ["losses", "advantages", "overlong", "transports"])
def test_settings_of_a_kind_cross_a_process_boundary_as_plain_values(registry: str) -> None:
    _, union, _ = REGISTRIES[registry]
    for model in kinds(union).values():
        plain = json.loads(json.dumps(model().model_dump(mode="json")))
        assert model.model_validate(plain) == model()
