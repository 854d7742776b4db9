"""What AReaL's scripts set, each with the place that says it; read from the repository's tags, not from the presets."""

from dataclasses import dataclass
from typing import Any

MAIN = "v0.1.1 examples/train_1.5B_n16_on_ray.sh"
ZERO = "v0.1.1 examples/train_7B_zero_n16_on_ray.sh"
MODEL = "v0.1.1 realhf/api/quickstart/model.py OptimizerConfig"
TRAINED = "v0.1.1 realhf/api/quickstart/model.py ModelTrainEvalConfig"
MEGATRON = "Megatron-LM megatron/core/optimizer, DynamicGradScaler and OptimizerConfig"
PPO = "v0.1.1 realhf/experiments/common/ppo_math_exp.py PPOHyperparameters"
README = "v0.1.1 README.md"
BATCH = "v0.1.1 examples/train_batch_"


@dataclass(frozen=True)
class Constant:
    """A value that a script has, and the setting that has it here."""

    key: str
    value: Any
    name: str
    """As the script says it."""
    source: str


RECIPE = (
    Constant("model.dtype", "float16", "enable_fp16: bool = True", TRAINED),
    Constant("prompts.max_prompt_tokens", 2048, "dataset.max_prompt_len=2048", MAIN),
    Constant("stages.0.max_response_tokens", 8192, "MAX_NEW_TOKENS, stage 1", README),
    Constant("stages.1.max_response_tokens", 16384, "MAX_NEW_TOKENS, stage 2", README),
    Constant("stages.2.max_response_tokens", 24000, "MAX_NEW_TOKENS, stage 3", README),
    Constant("stages.0.learner.max_tokens_per_micro_batch", 2048 + 8192 + 1024, "MAX_TOKEN_PER_MB", MAIN),
    Constant("stages.1.learner.max_tokens_per_micro_batch", 2048 + 16384 + 1024, "MAX_TOKEN_PER_MB", MAIN),
    Constant("stages.2.learner.max_tokens_per_micro_batch", 2048 + 24000 + 1024, "MAX_TOKEN_PER_MB", MAIN),
    Constant("stages.0.max_steps", 200, "steps as run, stage 1", "release note, Figure 1"),
    Constant("stages.1.max_steps", 158, "steps as run, stage 2", "release note, Figure 1"),
    Constant("stages.2.max_steps", 80, "steps as run, stage 3", "release note, Figure 1"),
    Constant("algorithm.batch_groups", 1024, 'TRAIN_BATCH_SIZE="1024"', MAIN),
    Constant("algorithm.responses", 8, 'GROUP_SIZE="8"', MAIN),
    Constant("algorithm.temperature", 0.6, "ppo.gen.temperature=0.6", MAIN),
    Constant("algorithm.top_p", 1.0, "ppo.gen.top_p=1", MAIN),
    Constant("algorithm.max_staleness", 0, "synchronous", MAIN),
    Constant("algorithm.minibatches", 4, "PPO_MBS=4", MAIN),
    Constant("algorithm.reward_scale", 5.0, "ppo.reward_output_scaling=5", MAIN),
    Constant("algorithm.reward_bias", 0.0, "ppo.reward_output_bias=0.0", MAIN),
    Constant("algorithm.reward_clip", 20.0, "max_reward_clip: float = 20.0", PPO),
    Constant("algorithm.overlong", None, "mask_too_long=False", MAIN),
    Constant("algorithm.filters", [], "filter_threshold=1e4, max_filter_percentage=0", "v0.1.1 prompt_dataset.py"),
    Constant("algorithm.kl_loss", None, "KL in the rewards alone", PPO),
    Constant("algorithm.average", "tokens", "loss over the tokens of the minibatch", "v0.1.1 ppo_interface.py"),
    Constant("algorithm.loss.type", "ppo", "ppo.adv_norm, no critic", MAIN),
    Constant("algorithm.loss.clip", 0.2, "eps_clip: float = 0.2", PPO),
    Constant("algorithm.loss.dual_clip", None, "no dual clip", PPO),
    Constant("algorithm.advantage.type", "areal", "ppo.disable_value=True ppo.discount=1.0", MAIN),
    Constant("algorithm.advantage.kl_coefficient", 0.001, "KL_CTL=0.001", MAIN),
    Constant("generator.max_sequences", 128, "MAX_NUM_SEQS=128", MAIN),
    Constant("generator.enforce_eager", False, "actor.vllm.enforce_eager=False", MAIN),
    Constant("generator.gpu_count", 64, "vllm.d64p1m1", MAIN),
    Constant("generator.tensor_parallel_size", 1, "vllm.d64p1m1", MAIN),
    Constant("learner.ranks", 64, "d32p2m1", MAIN),
    Constant("learner.learning_rate", 1e-5, "actor.optimizer.lr=1e-5", MAIN),
    Constant("learner.end_rate_share", 1.0, "actor.optimizer.lr_scheduler_type=constant", MAIN),
    Constant("learner.warmup_share", 0.02, "warmup_steps_proportion: float = 0.02", MODEL),
    Constant("learner.weight_decay", 0.05, "weight_decay: float = 0.05", MODEL),
    Constant("learner.beta1", 0.9, "beta1: float = 0.9", MODEL),
    Constant("learner.beta2", 0.95, "beta2: float = 0.95", MODEL),
    Constant("learner.epsilon", 1e-5, "eps: float = 1e-5", MODEL),
    Constant("learner.gradient_clip", 1.0, "gradient_clipping: float = 1.0", MODEL),
    Constant("learner.loss_scale.initial", 262144.0, "actor.optimizer.initial_loss_scale=262144.0", MAIN),
    Constant("learner.loss_scale.minimum", 1.0, "min_loss_scale: float = 1.0", MODEL),
    Constant("learner.loss_scale.growth_interval", 5, "actor.optimizer.loss_scale_window=5", MAIN),
    Constant("learner.loss_scale.hysteresis", 2, "actor.optimizer.hysteresis=2", MAIN),
    Constant("learner.loss_scale.growth_factor", 2.0, "growth_factor=2.0", MEGATRON),
    Constant("learner.loss_scale.backoff_factor", 0.5, "backoff_factor=0.5", MEGATRON),
    Constant("learner.export_every", 39, "exp_ctrl.save_freq_epochs=1, an epoch of 39.4 steps", MAIN),
    Constant("seed", 1, "seed: int = 1", "v0.1.1 realhf/experiments/common/common.py"),
)
"""Of `distill-1.5b-16node`."""

_LAYOUTS = {
    "distill-1.5b-4node": (16, 1, 16, f"{BATCH}1.5B_n4.sh vllm.d16p1m1+d8p2m1"),
    "distill-7b-4node": (16, 4, 16, f"{BATCH}7B_n4.sh vllm.d4p1m4+d8p2m1"),
    "distill-7b-16node": (64, 4, 64, f"{BATCH}7B_n16.sh vllm.d16p1m4+d32p2m1"),
    "zero-7b-16node": (64, 4, 64, f"{ZERO} vllm.d16p1m4+d32p2m1"),
    "zero-7b-16node-areal-v0.1.0": (64, 1, 64, f"{BATCH}7B_zero_n16.sh vllm.d64p1m1+d32p2m1"),
}
_SMALLER_STEP = (
    Constant("learner.learning_rate", 1e-6, "actor.optimizer.lr=1e-6", "initial commit, train_1.5B_n16_on_ray.sh"),
    Constant("algorithm.minibatches", 1, "PPO_MBS=1", "initial commit, train_1.5B_n16_on_ray.sh"),
)
_OLDER_SCALE = (
    Constant("learner.loss_scale.initial", 4096.0, "initial_loss_scale: float = 4096.0", "initial commit, model.py"),
    Constant("learner.loss_scale.growth_interval", 1000, "loss_scale_window: float = 1000", MEGATRON),
)
_LARGEST_SCALE = Constant("learner.loss_scale.initial", 2.0**32, "initial_loss_scale: float = 2**32", MODEL)
_SEVEN = (
    _LARGEST_SCALE,
    Constant("algorithm.responses", 16, "1024 16", f"{BATCH}7B_n16.sh"),
    Constant("algorithm.minibatches", 4, "128 4 0.01", f"{BATCH}7B_n16.sh"),
    Constant("algorithm.advantage.kl_coefficient", 0.01, "128 4 0.01", f"{BATCH}7B_n16.sh"),
    Constant("learner.learning_rate", 1e-6, "actor.optimizer.lr=1e-6", "v0.1.1 examples/train_small_on_ray.sh"),
)
_ZERO = (
    _LARGEST_SCALE,
    Constant("algorithm.batch_groups", 512, 'TRAIN_BATCH_SIZE="512"', ZERO),
    Constant("algorithm.responses", 64, 'GROUP_SIZE="64"', ZERO),
    Constant("algorithm.temperature", 1.0, "ppo.gen.temperature=1", ZERO),
    Constant("algorithm.minibatches", 4, "PPO_MBS=4", ZERO),
    Constant("algorithm.reward_scale", 0.5, "ppo.reward_output_scaling=0.5", ZERO),
    Constant("algorithm.reward_bias", -1.0, "ppo.reward_output_bias=-1.0", ZERO),
    Constant("algorithm.advantage.kl_coefficient", 0.0, "KL_CTL=0.0", ZERO),
    Constant("learner.learning_rate", 1e-6, "actor.optimizer.lr=1e-6", ZERO),
)


def _layout(preset: str) -> tuple[Constant, ...]:
    if preset not in _LAYOUTS:
        return ()
    generation, tensor_parallel, ranks, source = _LAYOUTS[preset]
    return (
        Constant("generator.gpu_count", generation, "ALLOCATION_MODE", source),
        Constant("generator.tensor_parallel_size", tensor_parallel, "ALLOCATION_MODE", source),
        Constant("learner.ranks", ranks, "ALLOCATION_MODE", source),
    )


def constants_of(preset: str) -> dict[str, Constant]:
    """By key, what the script of a preset sets; the layout of one node is said by the preset's own comment."""
    found = {constant.key: constant for constant in RECIPE}
    if preset.startswith("distill-1.5b-1node"):
        for key in ("generator.gpu_count", "learner.ranks"):
            del found[key]
    families: dict[str, tuple[Constant, ...]] = {"distill-7b": _SEVEN, "zero-7b": _ZERO}
    own = next((rows for family, rows in families.items() if preset.startswith(family)), ())
    older: tuple[Constant, ...] = ()
    if preset.endswith("v0.1.0"):
        older = (*_OLDER_SCALE, *(_SMALLER_STEP if preset.startswith("distill-1.5b") else ()))
    layout = _layout(preset) or _layout(preset.removesuffix("-areal-v0.1.0"))
    return found | {constant.key: constant for constant in (*own, *older, *layout)}
