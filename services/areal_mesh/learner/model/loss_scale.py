"""The dynamic loss scale as a state machine: an update overflowed or did not, and that decides the next scale. Pure.

Megatron's rule (`DynamicGradScaler`), which AReaL v0.1.1 trains by:

    without overflow    the scale grows by a factor after so many updates in a row, which forgives earlier overflows too
    overflow            the count of updates in a row begins anew, and from the h-th overflow since the scale last grew
                        (h the hysteresis) each one lowers the scale by a factor

Invariants:
- the scale stays between the minimum and `LARGEST_SCALE`, never rises at an overflow and never falls without one;
- the state is a function of the settings and of which updates overflowed, so that a resumed run has the scales of one
  that never stopped.
"""

from dataclasses import dataclass

from areal_mesh.runtime.settings.loss_scale import LARGEST_SCALE, LossScaleSettings


@dataclass(frozen=True)
class ScaleState:
    """Where the loss scale stands between two updates."""

    scale: float
    """What the next minibatch's loss is multiplied by."""
    good_updates: int
    """In a row, since one overflowed or the scale grew."""
    overflows_left: int
    """The scale falls at the overflow that brings it to 0, and at each one after that."""


def first_state(settings: LossScaleSettings) -> ScaleState:
    """The state before any update."""
    return ScaleState(settings.initial, 0, settings.hysteresis)


def next_state(state: ScaleState, overflowed: bool, settings: LossScaleSettings) -> ScaleState:
    """The state after one more update, whose gradients were finite or were not."""
    if overflowed:
        left = max(state.overflows_left - 1, 0)
        lowered = max(state.scale * settings.backoff_factor, settings.minimum)
        return ScaleState(state.scale if left else lowered, 0, left)
    good = state.good_updates + 1
    if good < settings.growth_interval:
        return ScaleState(state.scale, good, state.overflows_left)
    return ScaleState(min(state.scale * settings.growth_factor, LARGEST_SCALE), 0, settings.hysteresis)
