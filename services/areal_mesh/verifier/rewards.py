"""Rewards from verdicts: a correctness term, and further terms by entry point.

The sum of all terms is clipped. An `error` verdict has no reward: its response is retried or filtered, and never
counts as wrong.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final, Protocol

from pydantic import ConfigDict, ValidationError, validate_call

from areal_mesh.grading.verdict import Status
from areal_mesh.runtime.reward_range import clipped, correctness_term
from areal_mesh.runtime.settings import AlgorithmSettings
from areal_mesh.runtime.settings.rewards import CORRECTNESS

ENTRY_POINT_GROUP: Final = "areal_mesh.reward_terms"


@dataclass(frozen=True, slots=True)
class GradedResponse:
    """What a reward term may look at."""

    response: str
    status: Status
    token_count: int | None = None
    """Output tokens, where the caller counted them."""
    truncated: bool = False
    """Whether the response ended at its length limit."""
    problem: str = ""
    references: tuple[str, ...] = ()
    source: str = ""
    finish_reason: str = ""
    """`stop` or `length`; empty where the caller did not say it."""
    group: str = ""
    """Responses of one group are compared by rewards that do so; empty: those to the same problem."""


class RewardTerm(Protocol):
    """A term of the reward. Pure, or a client of a remote scorer with a deadline of its own."""

    def __call__(self, responses: Sequence[GradedResponse]) -> Sequence[float]:
        """One number for each response, added to its correctness term."""
        ...


@dataclass(frozen=True, slots=True)
class ComposedReward:
    """A reward and what it is made of."""

    reward: float | None
    """None for an `error` verdict."""
    parts: Mapping[str, float]


class UnknownTerm(ValueError):
    """No installed package offers a reward term of that name."""


def load_terms(
    chosen: Mapping[str, Mapping[str, Any]], available: Callable[[], Sequence[EntryPoint]] | None = None
) -> dict[str, RewardTerm]:
    """The terms that are chosen, made by their entry points' factories.

    Args:
        chosen: `verifier.reward_terms` of the settings: options by name.
        available: the installed entry points; those of the group `areal_mesh.reward_terms` where left out.

    Raises:
        UnknownTerm: for a name that no installed package offers.
        ValueError: for options that its factory does not take.
    """
    offered = {
        point.name: point for point in (available() if available is not None else entry_points(group=ENTRY_POINT_GROUP))
    }
    terms: dict[str, RewardTerm] = {}
    for name, options in chosen.items():
        if name not in offered:
            raise UnknownTerm(
                f"no reward term {name!r}: installed ones are {sorted(offered) or 'none'}; "
                f"a package offers one in its entry point group {ENTRY_POINT_GROUP!r}"
            )
        terms[name] = _made(name, offered[name].load(), options)
    return terms


def _made(name: str, factory: Callable[..., RewardTerm], options: Mapping[str, Any]) -> RewardTerm:
    """A term out of its options, which are held to the types that its factory says: a boolean is no number."""
    if inspect.isfunction(factory):
        factory = validate_call(config=ConfigDict(strict=True, allow_inf_nan=False))(factory)
    try:
        return factory(**options)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise ValueError(f"{name}: {'; '.join(faults)}") from error


def compose(
    responses: Sequence[GradedResponse],
    algorithm: AlgorithmSettings,
    terms: Mapping[str, RewardTerm],
    own: Mapping[str, Mapping[int, float]] = MappingProxyType({}),
    *,
    alone: bool = False,
) -> list[ComposedReward]:
    """The reward of each response: correctness plus every term, clipped to +-`reward_clip`.

    Args:
        own: what the user's own rewards gave, by name and `id` of the response.
        alone: leave correctness out of the sum.

    Raises:
        ValueError: if a term does not return one finite number for each response.
    """
    judged = [response for response in responses if response.status != "error"]
    added: dict[str, Mapping[int, float]] = {}
    for name, term in terms.items():
        values = list(term(judged)) if judged else []
        if len(values) != len(judged):
            raise ValueError(f"reward term {name!r} returned {len(values)} numbers for {len(judged)} responses")
        added[name] = {id(response): float(value) for response, value in zip(judged, values, strict=True)}
        if not all(map(math.isfinite, added[name].values())):
            raise ValueError(f"reward term {name!r} returned {list(added[name].values())}: give finite numbers")
    added |= own
    return [_composed(response, algorithm, added, alone) for response in responses]


def _composed(
    response: GradedResponse, algorithm: AlgorithmSettings, added: Mapping[str, Mapping[int, float]], alone: bool
) -> ComposedReward:
    if response.status == "error":
        return ComposedReward(None, {})
    parts = {} if alone else {CORRECTNESS: correctness_term(response.status == "correct", algorithm)}
    parts |= {name: values[id(response)] for name, values in added.items()}
    return ComposedReward(clipped(sum(parts.values()), algorithm), parts)
