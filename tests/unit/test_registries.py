"""What grows is a row of a table: every table, its settings and its page name the same kinds."""

from pathlib import Path
from typing import Annotated, Any, get_args

import pytest

from areal_mesh.controller.rules.table import RULES
from areal_mesh.learner.advantages.table import ADVANTAGES
from areal_mesh.learner.losses.table import LOSSES
from areal_mesh.recipes.table import RECIPES
from areal_mesh.runtime.settings.advantages import AdvantageSettings
from areal_mesh.runtime.settings.losses import LossSettings
from areal_mesh.runtime.settings.recipes import RecipeSettings
from areal_mesh.runtime.settings.stages import RuleSettings
from areal_mesh.runtime.settings.weights import TransportSettings
from areal_mesh.weights.transports.table import TRANSPORTS

ROOT = Path(__file__).parents[2]
REGISTRIES: dict[str, tuple[Any, Any, str]] = {
    "losses": (LOSSES, LossSettings, "docs/learner.md"),
    "advantages": (ADVANTAGES, AdvantageSettings, "docs/learner.md"),
    "recipes": (RECIPES, Annotated[RecipeSettings, "type"], "docs/cli.md"),
    "stage rules": (RULES, RuleSettings, "docs/controller.md"),
    "transports": (TRANSPORTS, TransportSettings, "docs/weights.md"),
}


def types_of(union: Any) -> list[str]:
    """The `type` of each settings model in a union that is discriminated by it."""
    return [model.model_fields["type"].default for model in get_args(get_args(union)[0])]


@pytest.mark.parametrize("registry", REGISTRIES)
def test_a_table_its_settings_and_its_page_name_the_same_kinds(registry: str) -> None:
    table, union, page = REGISTRIES[registry]
    assert sorted(table) == sorted(types_of(union))
    text = (ROOT / page).read_text()
    assert [name for name in table if f"`{name}`" not in text] == [], f"{page} leaves some out"


@pytest.mark.parametrize("registry", ["losses", "advantages", "transports"])
def test_a_kind_is_built_from_its_own_settings(registry: str) -> None:
    table, union, _ = REGISTRIES[registry]
    for model in get_args(get_args(union)[0]):
        built: Any = table[model.model_fields["type"].default](model())
        assert built.settings == model()
