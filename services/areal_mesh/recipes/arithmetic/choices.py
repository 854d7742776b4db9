"""What the arithmetic policy is made from, as plain values: whether it is there already is known without torch."""

from dataclasses import dataclass

from areal_mesh.recipes.arithmetic.problems import SolutionStyle


@dataclass(frozen=True)
class ModelShape:
    """Sizes of the policy. ``hidden_size / attention_heads`` is the head size and must be one vLLM's CPU attention has.

    layers: transformer blocks.
    hidden_size: width of the residual stream.
    intermediate_size: width of the gated feed-forward layer.
    attention_heads: query heads.
    key_value_heads: heads of keys and values, shared by groups of query heads.
    context_tokens: longest prompt and response together.
    """

    layers: int = 3
    hidden_size: int = 128
    intermediate_size: int = 384
    attention_heads: int = 4
    key_value_heads: int = 2
    context_tokens: int = 512


@dataclass(frozen=True)
class Phase:
    """A share of the training steps and the style of the solutions shown in it."""

    share: float
    style: SolutionStyle


@dataclass(frozen=True)
class WarmStartSettings:
    """How the policy is trained before reinforcement learning begins.

    steps: optimizer steps.
    batch_size: worked solutions a step.
    matrix_learning_rate: Muon's, for the weight matrices; Muon learns the facts in about half of Adam's steps.
    other_learning_rate: AdamW's, for embeddings, biases and norms.
    warm_up_steps: steps over which both rise from 0; afterwards they fall linearly to 0.
    threads: CPU threads; part of the result, since another number sums in another order.
    phases: styles in the order shown; their shares add up to 1.
    """

    steps: int = 600
    batch_size: int = 16
    matrix_learning_rate: float = 0.02
    other_learning_rate: float = 3e-3
    warm_up_steps: int = 20
    max_gradient_norm: float = 1.0
    threads: int = 1
    phases: tuple[Phase, ...] = (
        Phase(0.45, SolutionStyle()),
        Phase(0.3, SolutionStyle(check_probability=0.4)),
        Phase(0.25, SolutionStyle(mistake_probability=0.2, check_probability=0.4)),
    )

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.threads < 1:
            raise ValueError("steps, batch_size and threads of a warm start must each be at least 1")
        if abs(sum(phase.share for phase in self.phases) - 1.0) > 1e-9:
            raise ValueError(f"the shares of the phases add up to {sum(p.share for p in self.phases)}; they must to 1")


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step: `step` of `steps`, and the mean loss of its response tokens in nats."""

    step: int
    steps: int
    loss: float
