"""Every recipe, by the `type` of its settings: what it makes, and the module that is run to make it.

Light: a recipe's own module, which may load torch, is run in a process of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.recipes import ArithmeticRecipeSettings, SmolLM2RecipeSettings


@dataclass(frozen=True)
class Recipe:
    """A recipe as others see it."""

    module: str
    """Run as `python -m`."""
    makes: Callable[[Any], tuple[str, ...]]
    """Keys of the settings whose paths it makes, from its own settings: `model.folder`, `prompts.file`."""
    arguments: Callable[[RunSettings, Any], list[str]]
    """Of the module, from the run's settings and the recipe's own."""

    def targets(self, settings: RunSettings) -> dict[str, Path]:
        """What it makes, by key."""
        paths = {"model.folder": settings.model.folder, "prompts.file": settings.prompts.file}
        return {key: paths[key] for key in self.makes(settings.model.recipe)}


def _arithmetic(settings: RunSettings, recipe: ArithmeticRecipeSettings) -> list[str]:
    return [
        *_model(settings, recipe),
        *("--prompts", str(settings.prompts.file)),
        *("--problems", str(recipe.problems)),
        *("--seed", str(recipe.seed)),
    ]


def _smollm2(settings: RunSettings, recipe: SmolLM2RecipeSettings) -> list[str]:
    problems = ["--prompts", str(settings.prompts.file), "--problems", str(recipe.problems), "--seed", str(recipe.seed)]
    return [*_model(settings, recipe), *(problems if recipe.problems else ())]


def _model(settings: RunSettings, recipe: object) -> list[str]:
    return ["--model-folder", str(settings.model.folder)]


def _both(recipe: object) -> tuple[str, ...]:
    return ("model.folder", "prompts.file")


def _both_where_problems_are_asked_for(recipe: SmolLM2RecipeSettings) -> tuple[str, ...]:
    return _both(recipe) if recipe.problems else ("model.folder",)


RECIPES: Mapping[str, Recipe] = {
    "arithmetic": Recipe("areal_mesh.recipes.arithmetic", _both, _arithmetic),
    "smollm2": Recipe("areal_mesh.recipes.smollm2", _both_where_problems_are_asked_for, _smollm2),
}


def recipe_of(settings: RunSettings) -> Recipe | None:
    """The recipe that the settings name; None where they name none."""
    return None if settings.model.recipe is None else RECIPES[settings.model.recipe.type]


def recipe_targets(settings: RunSettings) -> dict[str, Path]:
    """What the settings' recipe makes, by key."""
    recipe = recipe_of(settings)
    return {} if recipe is None else recipe.targets(settings)
