"""Vocabulary: what is asked of the rollouts of a run, and what a rollout is to a person."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["correct", "incorrect"]
Finish = Literal["stop", "length"]
Order = Literal["newest", "oldest", "longest", "shortest", "best", "worst"]

ORDERS: tuple[Order, ...] = ("newest", "oldest", "longest", "shortest", "best", "worst")


@dataclass(frozen=True, slots=True)
class RolloutQuery:
    """Which rollouts, in which order. What is None or empty does not matter."""

    verdict: Verdict | None = None
    finish: Finish | None = None
    step: int | None = None
    """The step that trained on it."""
    source: str | None = None
    """Empty: of no source."""
    rule: str | None = None
    group_id: str | None = None
    text: str = ""
    """Stands in the response or the problem, in whatever case."""
    order: Order = "newest"


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response, as lists show it."""

    rollout_id: str
    """The group's id, a point, and the place of the response in the group."""
    group_id: str
    prompt_id: str
    stage: str
    source: str
    step: int | None
    """The step that trained on it; None: it waits, or ended otherwise."""
    stale: bool
    """It was too old to be trained on."""
    verdict: str
    rule: str
    reward: float
    length: int
    """Tokens."""
    finish: str
    oldest_version: int
    newest_version: int
    extracted: str
    """The answer found in the response; empty for none."""
    terms: dict[str, float]
    """The terms of the reward, where it has several or the user's own."""
    problem: str
    references: tuple[str, ...]
    """Any of them is right; none in a log written before references were stored."""
    response: str


@dataclass(frozen=True, slots=True)
class Found:
    """A part of the rollouts of a query, and how many there are."""

    count: int
    rollouts: tuple[Rollout, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens [start, end) of a response that one policy version produced."""

    policy_version: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RolloutDetail:
    """All that is stored of one response."""

    rollout: Rollout
    prompt: str
    """As the model read it, control tokens written out."""
    normalised: str
    temperature: float
    response_limit: int
    tokens: tuple[str, ...]
    """Text of each token; empty for one within a character, whose last token has all of it."""
    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    """Natural logarithms, of the policy actually sampled from."""
    spans: tuple[Span, ...]


class RolloutsUnreadable(Exception):
    """The rollouts of a run cannot be read; says why, and what would do."""
