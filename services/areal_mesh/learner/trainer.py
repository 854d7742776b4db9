"""The policy, its optimizer and its KL reference: steps, restarts, weights to publish and state to keep."""

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor

from areal_mesh.learner.advantages.inputs import AdvantageOutputs
from areal_mesh.learner.advantages.table import build_advantage
from areal_mesh.learner.batches.batch import TrainingBatch, validate
from areal_mesh.learner.losses.table import build_loss
from areal_mesh.learner.model.adapters import add_adapters
from areal_mesh.learner.model.export import save_hf
from areal_mesh.learner.model.merging import published_shapes, published_weights
from areal_mesh.learner.model.optimizer import Optimizer, decay_of, warmup_of
from areal_mesh.learner.model.parallel import Parallel, assign, single
from areal_mesh.learner.model.policy import PolicyModel, load_policy
from areal_mesh.learner.model.precision import DTYPES, MasterWeights
from areal_mesh.learner.model.reference import AdapterReference, Reference, WholeReference
from areal_mesh.learner.model.scaling import scaling_of
from areal_mesh.learner.passes.measuring import (
    estimate_advantages,
    give_advantages,
    measure_proximal,
    measure_reference,
    silent,
)
from areal_mesh.learner.passes.preparing import Minibatch, cut, over, treat_overlong
from areal_mesh.learner.passes.training import Trained, train_minibatch
from areal_mesh.learner.step_result import Measured, StepResult, step_figures
from areal_mesh.learner.stopwatch import Stopwatch
from areal_mesh.runtime.environment import available_cores
from areal_mesh.runtime.settings import RunSettings


class Trainer:
    """One rank's share of the learner. Every method is called on all ranks alike, by one thread of each."""

    def __init__(self, settings: RunSettings, parallel: Parallel | None = None) -> None:
        """Load the start policy. Raises FileNotFoundError or ValueError if it cannot serve (see `load_policy`)."""
        self._run_settings = settings
        self._settings = settings.in_stage(0)
        settings = self._settings
        self.parallel = parallel or single(settings.learner.device)
        if settings.learner.device == "cpu":
            torch.set_num_threads(settings.learner.threads or available_cores())
        torch.manual_seed(settings.seed)
        self.model_folder = settings.model.folder
        """Hugging Face folder of the start policy, which is the first KL reference too."""
        self.compute_dtype = DTYPES[settings.model.dtype]
        """Of the arithmetic and of the published weights; the optimizer's weights are always float32."""
        self.policy_version = 0
        """Committed optimizer batches."""
        self.lora = settings.learner.lora
        """How adapters are made, where they alone are trained."""
        self._policy = self._load_policy()
        self._masters = MasterWeights(self._policy)
        self.optimizer = Optimizer(self._masters.named, settings.learner, warmup_of(settings), decay_of(settings))
        self._scaling = scaling_of(settings)
        self._loss = build_loss(settings.algorithm.loss, settings.algorithm.kl_loss)
        self._advantage = build_advantage(settings.algorithm.advantage)
        needs_reference = self._advantage.needs_reference or self._loss.needs_reference
        self._reference = self._load_reference() if needs_reference else None

    def step(self, batch: TrainingBatch, stage: int = 0) -> StepResult:
        """Learn from one batch of a stage, the same on every rank, and commit a policy version.

        Reference log-probabilities, advantages, proximal log-probabilities, then an AdamW update for each minibatch;
        none where the rewards say nothing, unless the settings ask for it, nor where no response is trained on. Raises
        InvalidBatchError, before anything has changed, if the batch does not fit, and NotFinite where float16 cannot
        hold what the model computes.
        """
        self._enter(stage)
        watch, algorithm = Stopwatch(self.parallel.settle), self._settings.algorithm
        with watch.phase("prepare"):
            validate(batch, self._policy.vocabulary_size, self.policy_version)
        minibatches, estimate = self._with_advantages(batch, watch)
        updates = algorithm.update_on_equal_rewards or not estimate.says_nothing
        if updates and self._loss.needs_proximal:
            # The first minibatch is trained on by the policy before the step: its training pass measures it too.
            with watch.phase("proximal"):
                measure_proximal(self._policy, [part for minibatch in minibatches[1:] for part in minibatch.parts])
        trained = Trained(
            self._policy,
            self._masters,
            self.optimizer,
            self._scaling,
            self._loss,
            self.parallel,
            algorithm.rejected_part,
            self.policy_version,
        )
        epochs = algorithm.batch_epochs if updates else 0
        results = [train_minibatch(trained, minibatch, watch) for minibatch in over(minibatches, epochs)]
        self.policy_version += 1
        measured = Measured(batch, minibatches, results, estimate.figures, self._scaling.figures())
        return StepResult(self.policy_version, step_figures(measured, self.parallel), watch.seconds())

    def restart(self, optimizer: bool, reference: bool) -> None:
        """What a stage change asks for: forget Adam's moments and warm up again; take the policy as KL reference."""
        if optimizer:
            self.optimizer.restart()
            self._scaling.restart()
        if reference and self._reference is not None:
            self._reference.take(self.policy_version)

    @property
    def reference_version(self) -> int:
        """Policy version the KL reference was copied at; 0 is the model folder, and where there is none."""
        return self._reference.version if self._reference is not None else 0

    @property
    def vocabulary_size(self) -> int:
        """Token ids of the model are under this."""
        return self._policy.vocabulary_size

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Weights to publish, by Hugging Face name, in the compute dtype; tied ones once, adapters merged.

        On one rank they are the live weights: use them before the next step. Sharded weights are gathered one by one,
        on every rank, so that all ranks must exhaust the iterator.
        """
        scale = self.lora.scale if self.lora is not None else 0.0
        return published_weights(self._policy.named_weights(), scale, self.compute_dtype)

    def tensor_specs(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        """Name, dtype and whole shape of what `named_tensors` gives, in its order; nothing is gathered."""
        shapes = published_shapes(self._policy.named_weights())
        return [(name, self.compute_dtype, shape) for name, shape in shapes]

    def save_hf(self, folder: str) -> None:
        """Write a Hugging Face folder that vLLM and transformers load: weights, config, tokenizer. Atomic."""
        weights = {name: tensor.cpu() for name, tensor in self.named_tensors()}
        if self.parallel.rank == 0:
            save_hf(self._policy.causal_lm, weights, self.model_folder, folder)
        self.parallel.barrier()

    def state_tensors(self, with_reference: bool) -> dict[str, Tensor]:
        """A checkpoint's live tensors: trained weights in float32, Adam's state, loss scale, reference if asked."""
        tensors: dict[str, Tensor] = {f"policy.{name}": weight for name, weight in self._masters.named.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state_tensors().items()}
        tensors |= self._scaling.state_tensors()
        if with_reference and self._reference is not None:
            tensors |= {f"reference.{name}": weight for name, weight in self._reference.named_weights()}
        return {name: tensor.detach() for name, tensor in tensors.items()} | {"rng": torch.get_rng_state()}

    @torch.no_grad()
    def load_state(
        self, tensors: dict[str, Tensor], policy_version: int, optimizer_updates: int, reference_version: int
    ) -> None:
        """Become the trainer that `state_tensors` was taken from, before any step of this one."""
        live = self.state_tensors(with_reference=reference_version > 0)
        for name, target in live.items():
            assign(target, tensors[name])
        torch.set_rng_state(tensors["rng"].cpu())
        self._masters.write_back()
        self.optimizer.updates = optimizer_updates
        self.policy_version = policy_version
        if self._reference is not None:
            self._reference.version = reference_version

    def _enter(self, stage: int) -> None:
        """Learn by what the stage's settings say from now on."""
        settings = self._run_settings.in_stage(stage)
        if settings == self._settings:
            return
        self._settings = settings
        self.optimizer.take(settings.learner, warmup_of(settings), decay_of(settings))
        self._policy.temperature = settings.algorithm.temperature
        if self._reference is not None:
            self._reference.set_temperature(settings.algorithm.temperature)

    def _load_policy(self) -> PolicyModel:
        # Shards are the optimizer's weights and float32; FSDP casts them as it gathers them.
        trained = self.compute_dtype if self.parallel.mesh is None else torch.float32
        if self.lora is None:
            policy = self._load(trained)
        else:
            policy = self._load(self.compute_dtype)
            add_adapters(policy.causal_lm, self.lora, trained)
        self.parallel.shard(policy, self.compute_dtype)
        return policy

    def _load_reference(self) -> Reference:
        if self.lora is not None:
            return AdapterReference(self._policy, self.compute_dtype)
        model = self._load(self.compute_dtype)
        self.parallel.shard(model, self.compute_dtype)
        return WholeReference(self._policy, model)

    def _load(self, dtype: torch.dtype) -> PolicyModel:
        settings = self._settings
        # Recompute decoder layers in the backward pass: less memory for a third more arithmetic.
        checkpointing = settings.learner.device == "cuda"
        return load_policy(self.model_folder, dtype, settings.algorithm.temperature, checkpointing)

    def _with_advantages(self, batch: TrainingBatch, watch: Stopwatch) -> tuple[list[Minibatch], AdvantageOutputs]:
        """The minibatches with their advantages, and the estimate of the whole batch.

        Where nothing but its advantages moves the weights by a response, one that has none is left out: it would cost
        a pass and give no gradient.
        """
        algorithm, reference = self._settings.algorithm, None
        overlong = treat_overlong(batch, algorithm)
        trained = overlong.trained
        if self._reference is None:
            with watch.phase("advantages"):
                estimate = estimate_advantages(self._advantage, batch, None, overlong, algorithm)
            if not algorithm.update_on_equal_rewards:
                trained = trained & ~silent(estimate.advantages, batch)
        with watch.phase("prepare"):
            where = (self.parallel, self.compute_dtype, self._policy.attention_parity)
            minibatches = cut(batch, trained, overlong.trained, self._settings, self.policy_version, *where)
        parts = list(chain.from_iterable(minibatch.parts for minibatch in minibatches))
        if self._reference is not None:
            with watch.phase("reference"):
                reference = measure_reference(self._reference, parts, batch, self.parallel)
                self._scaling.check_reference(reference)
            with watch.phase("advantages"):
                estimate = estimate_advantages(self._advantage, batch, reference, overlong, algorithm)
        give_advantages(parts, estimate.advantages)
        return minibatches, estimate
