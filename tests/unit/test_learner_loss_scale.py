"""The dynamic loss scale as a state machine: its invariants, and Megatron's rule written out once more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from areal_mesh.learner.model.loss_scale import ScaleState, first_state, next_state
from areal_mesh.runtime.settings import SettingsError, load_settings
from areal_mesh.runtime.settings.loss_scale import LARGEST_SCALE, LossScaleSettings

SETTINGS = st.builds(
    LossScaleSettings,
    initial=st.integers(0, 64).map(lambda power: 2.0**power),
    minimum=st.integers(-8, 0).map(lambda power: 2.0**power),
    growth_interval=st.integers(1, 6),
    growth_factor=st.sampled_from([1.5, 2.0, 4.0]),
    backoff_factor=st.sampled_from([0.25, 0.5, 0.9]),
    hysteresis=st.integers(1, 4),
)
UPDATES = st.lists(st.booleans(), max_size=80)
"""Whether each overflowed."""


def states(settings: LossScaleSettings, updates: list[bool]) -> list[ScaleState]:
    found = [first_state(settings)]
    for overflowed in updates:
        found.append(next_state(found[-1], overflowed, settings))
    return found


@given(SETTINGS, UPDATES)
def test_the_scale_stays_in_its_range_and_moves_only_as_it_may(
    settings: LossScaleSettings, updates: list[bool]
) -> None:
    walked = states(settings, updates)
    assert all(settings.minimum <= state.scale <= LARGEST_SCALE for state in walked)
    for before, overflowed, after in zip(walked, updates, walked[1:], strict=False):
        assert after.scale <= before.scale if overflowed else after.scale >= before.scale


@given(SETTINGS, UPDATES)
def test_it_grows_after_so_many_good_updates_whatever_was_before(
    settings: LossScaleSettings, updates: list[bool]
) -> None:
    before = states(settings, [*updates, True])[-1]
    *still, grown = states(settings, [*updates, True, *[False] * settings.growth_interval])[-settings.growth_interval :]
    assert [state.scale for state in still] == [before.scale] * (settings.growth_interval - 1)
    assert grown == ScaleState(min(before.scale * settings.growth_factor, LARGEST_SCALE), 0, settings.hysteresis)


@given(SETTINGS, st.integers(1, 8))
def test_it_falls_at_the_overflow_that_the_hysteresis_names_and_at_each_after(
    settings: LossScaleSettings, overflows: int
) -> None:
    falls = max(overflows - settings.hysteresis + 1, 0)
    expected = settings.initial
    for _ in range(falls):
        expected = max(expected * settings.backoff_factor, settings.minimum)
    assert states(settings, [True] * overflows)[-1].scale == expected


@given(SETTINGS, UPDATES)
def test_it_is_megatrons_rule(settings: LossScaleSettings, updates: list[bool]) -> None:
    scale, growth_tracker, hysteresis_tracker = settings.initial, 0, settings.hysteresis
    for overflowed, state in zip(updates, states(settings, updates)[1:], strict=True):
        if overflowed:
            growth_tracker = 0
            hysteresis_tracker -= 1
            if hysteresis_tracker <= 0:
                scale = max(scale * settings.backoff_factor, settings.minimum)
        else:
            growth_tracker += 1
            if growth_tracker == settings.growth_interval:
                growth_tracker = 0
                hysteresis_tracker = settings.hysteresis
                scale = min(scale * settings.growth_factor, LARGEST_SCALE)
        assert (state.scale, state.good_updates) == (scale, growth_tracker)


@given(SETTINGS, UPDATES, UPDATES)
def test_a_state_says_all_that_later_scales_need(
    settings: LossScaleSettings, first: list[bool], second: list[bool]
) -> None:
    resumed = states(settings, first)[-1]
    for overflowed in second:
        resumed = next_state(resumed, overflowed, settings)
    assert resumed == states(settings, first + second)[-1]


def test_the_defaults_are_those_of_areal_v0_1_1() -> None:
    settings = LossScaleSettings()
    assert (settings.initial, settings.minimum, settings.growth_interval, settings.hysteresis) == (2**32, 1, 5, 2)
    assert (settings.growth_factor, settings.backoff_factor) == (2, 0.5)


BAD = {
    "model.dtype=float8": r"model\.dtype: .*'float32', 'bfloat16' or 'float16' \(got 'float8'\)",
    "learner.loss_scale.initial=0.5": r"learner\.loss_scale: initial = 0\.5 is under minimum = 1; raise it",
    "learner.loss_scale.minimum=0": r"learner\.loss_scale\.minimum: .*greater than 0 \(got 0\)",
    "learner.loss_scale.backoff_factor=1": r"learner\.loss_scale\.backoff_factor: .*less than 1 \(got 1\)",
    "learner.loss_scale.growth_factor=1": r"learner\.loss_scale\.growth_factor: .*greater than 1 \(got 1\)",
    "learner.loss_scale.hysteresis=0": r"learner\.loss_scale\.hysteresis: .*greater than 0 \(got 0\)",
    "learner.loss_scale.window=5": r"learner\.loss_scale\.window: unknown key",
    "stages.0.learner.loss_scale=1": r"stages\.0\.learner\.loss_scale: no stage sets it",
}


@pytest.mark.parametrize("override", BAD)
def test_a_setting_that_cannot_be_is_named_with_what_would_do(override: str) -> None:
    with pytest.raises(SettingsError, match=BAD[override]):
        load_settings("trial", [override])


def test_a_scale_is_a_finite_number() -> None:
    with pytest.raises(ValidationError):
        LossScaleSettings(initial=float("inf"))
