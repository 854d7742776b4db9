"""The whole settings of a run, and what has to hold between its parts."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from areal_mesh.runtime.roles import SERVICE_ROLES
from areal_mesh.runtime.settings.algorithm import AlgorithmSettings
from areal_mesh.runtime.settings.base import Seed, Settings, SettingsPath
from areal_mesh.runtime.settings.data import ModelSettings, PromptSettings
from areal_mesh.runtime.settings.evaluation import EvaluationSettings
from areal_mesh.runtime.settings.security import SecuritySettings
from areal_mesh.runtime.settings.services import (
    ControllerSettings,
    GeneratorSettings,
    LearnerSettings,
    ReplaySettings,
    ServiceSettings,
    VerifierSettings,
)
from areal_mesh.runtime.settings.sinks import SinkList, TensorBoardSinkSettings
from areal_mesh.runtime.settings.stage_overrides import FOR_A_RUN, SAMPLING, overridden
from areal_mesh.runtime.settings.stages import StageSettings
from areal_mesh.runtime.settings.weights import WeightSettings


class RunSettings(Settings):
    """Everything a run is made of. One file; each service reads its own section."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; its directory is `directory`/`name`."""
    directory: SettingsPath = Path("runs")
    """Folder of the runs."""
    seed: Seed = 1
    """Of the prompts' order and of the sampling."""
    plaintext_beyond_loopback: bool = False
    """Allows addresses other than loopback without TLS: only inside a network that is trusted."""
    stages: list[StageSettings] = Field(min_length=1)
    algorithm: AlgorithmSettings = AlgorithmSettings()
    model: ModelSettings
    prompts: PromptSettings
    controller: ControllerSettings = ControllerSettings()
    generator: GeneratorSettings = GeneratorSettings()
    verifier: VerifierSettings = VerifierSettings()
    replay: ReplaySettings = ReplaySettings()
    learner: LearnerSettings = LearnerSettings()
    weights: WeightSettings = WeightSettings()
    sinks: SinkList = [TensorBoardSinkSettings()]
    """Where the figures of each step go, beside `metrics.jsonl`: `["tensorboard", "wandb"]`."""
    evaluation: EvaluationSettings = EvaluationSettings()
    security: SecuritySettings = SecuritySettings()

    @property
    def run_directory(self) -> Path:
        """Folder in which everything of the run lies."""
        return self.directory / self.name

    @property
    def planned_steps(self) -> int:
        """Steps of the whole schedule at most."""
        return sum(stage.max_steps for stage in self.stages)

    @property
    def longest_response(self) -> int:
        """Largest response limit of all stages, in tokens."""
        return max(stage.max_response_tokens for stage in self.stages)

    def in_stage(self, stage: int) -> Self:
        """The settings as they are in a stage, with what it sets otherwise."""
        plan = self.stages[stage]
        if not plan.learner and not plan.sampling:
            return self
        learning = frozenset(LearnerSettings.model_fields) - FOR_A_RUN
        learner = overridden(self.learner, plan.learner, learning, "learner")
        algorithm = overridden(self.algorithm, plan.sampling, SAMPLING, "sampling")
        return self.model_copy(update={"learner": learner, "algorithm": algorithm})

    @property
    def evaluation_temperature(self) -> float:
        """The temperature at which an evaluation samples."""
        chosen = self.evaluation.temperature
        return self.algorithm.temperature if chosen is None else chosen

    @property
    def evaluation_response(self) -> int:
        """Response limit of an evaluation, in tokens."""
        return self.evaluation.max_response_tokens or self.longest_response

    def service(self, role: str) -> ServiceSettings:
        """The section of a role."""
        section = getattr(self, role)
        assert isinstance(section, ServiceSettings), role
        return section

    @model_validator(mode="after")
    def _stages_override_what_they_may(self) -> Self:
        for number, stage in enumerate(self.stages):
            try:
                self.in_stage(number)
            except ValueError as error:
                raise ValueError(f"stages.{number}.{error}") from error
            if stage.sampling and self.algorithm.max_staleness > 0:
                raise ValueError(
                    f"stages.{number}.sampling with algorithm.max_staleness = {self.algorithm.max_staleness}: groups "
                    "of the stage before would be trained at another temperature than they were sampled at; set "
                    "algorithm.max_staleness to 0, or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _own_rewards_are_waited_for(self) -> Self:
        slow = [reward for reward in self.verifier.reward if reward.seconds > self.generator.verify_seconds * 0.9]
        if slow:
            raise ValueError(
                f"verifier.reward: {slow[0].term} may take {slow[0].seconds:g} s, and a generator waits "
                f"generator.verify_seconds = {self.generator.verify_seconds:g} for its verdicts; lower the one, or "
                "raise the other"
            )
        return self

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: the names {names} are not all different; rename one")
        if self.weights.transport.needs_gpus and "cpu" in (self.learner.device, self.generator.device):
            raise ValueError(
                f'weights.transport.type = "{self.weights.transport.type}" needs learner.device and generator.device '
                '"cuda"; on CPU use "gloo"'
            )
        if self.evaluation.every and not self.evaluation.suites:
            raise ValueError(
                f"evaluation.every = {self.evaluation.every} with no evaluation.suites: there is nothing to ask; name "
                "suites, or set evaluation.every to 0"
            )
        if self.evaluation.every and self.evaluation_response > self.longest_response:
            raise ValueError(
                f"evaluation.max_response_tokens = {self.evaluation_response} with evaluation.every: during training "
                f"the engine has room for the longest stage's {self.longest_response}; lower it, or leave it out"
            )
        bound = self.algorithm.max_staleness
        if self.weights.sync_every > bound + 1:
            raise ValueError(
                f"weights.sync_every = {self.weights.sync_every} with algorithm.max_staleness = {bound}: groups would "
                f"be too old before the next publish; set weights.sync_every to at most {bound + 1}"
            )
        if self.algorithm.batch_groups * self.algorithm.responses < self.algorithm.minibatches:
            raise ValueError(
                f"algorithm.minibatches = {self.algorithm.minibatches} is more than the "
                f"{self.algorithm.batch_groups * self.algorithm.responses} responses of a batch; lower it"
            )
        self._check_plain_text()
        return self

    def _check_plain_text(self) -> None:
        if self.security.certificates is not None:
            if self.plaintext_beyond_loopback:
                raise ValueError(
                    "plaintext_beyond_loopback = true with security.certificates: the one is plain text, the other "
                    "TLS; take one of them out"
                )
            return
        for role in SERVICE_ROLES:
            address = self.service(role).address
            if not (address.is_loopback or self.plaintext_beyond_loopback):
                raise ValueError(
                    f"{role}.listen = {address} is beyond loopback in plain text; make certificates (`areal-mesh certs "
                    'init`, `areal-mesh certs issue`) and set security.certificates = "certs", listen on 127.0.0.1, or '
                    "set plaintext_beyond_loopback = true inside a trusted network"
                )
