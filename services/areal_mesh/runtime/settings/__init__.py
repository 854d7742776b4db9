"""Settings of a run: one pydantic model a service, TOML presets, `--set` on top, errors that say what would do.

Importable with the base install; nothing here knows torch.
"""

from areal_mesh.runtime.settings.algorithm import AlgorithmSettings
from areal_mesh.runtime.settings.data import ModelSettings, PromptSettings
from areal_mesh.runtime.settings.evaluation import EvaluationSettings
from areal_mesh.runtime.settings.files import FILE_SUFFIXES, SettingsError, preset_names
from areal_mesh.runtime.settings.load import load_settings
from areal_mesh.runtime.settings.run import RunSettings
from areal_mesh.runtime.settings.security import LimitSettings, SecuritySettings
from areal_mesh.runtime.settings.services import (
    ControllerSettings,
    GeneratorSettings,
    LearnerSettings,
    ReplaySettings,
    ServiceSettings,
    VerifierSettings,
)
from areal_mesh.runtime.settings.stages import StageSettings
from areal_mesh.runtime.settings.weights import WeightSettings

__all__ = [
    "FILE_SUFFIXES",
    "AlgorithmSettings",
    "ControllerSettings",
    "EvaluationSettings",
    "GeneratorSettings",
    "LearnerSettings",
    "LimitSettings",
    "ModelSettings",
    "PromptSettings",
    "ReplaySettings",
    "RunSettings",
    "SecuritySettings",
    "ServiceSettings",
    "SettingsError",
    "StageSettings",
    "VerifierSettings",
    "WeightSettings",
    "load_settings",
    "preset_names",
]
