"""Settings of the recipes, by which a preset makes its model or its prompts itself; chosen by `type`."""

from typing import Literal

from pydantic import Field

from areal_mesh.runtime.settings.base import Seed, Settings


class ArithmeticRecipeSettings(Settings):
    """A small model warm-started on worked arithmetic, and problems for it."""

    type: Literal["arithmetic"] = "arithmetic"
    problems: int = Field(default=4096, gt=0)
    """How many the prompt file gets."""
    seed: Seed = 1
    """Of the weights and of the problems."""


class SmolLM2RecipeSettings(Settings):
    """SmolLM2-135M out of its Python package, and sums that it sometimes gets right."""

    type: Literal["smollm2"] = "smollm2"
    problems: int = Field(default=0, ge=0, le=81)
    """How many the prompt file gets; 0: the problems are the user's."""
    seed: Seed = 1
    """Of the problems."""


RecipeSettings = ArithmeticRecipeSettings | SmolLM2RecipeSettings
