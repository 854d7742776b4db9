"""Which settings of a run may be others when it goes on."""

from typing import Any

import pytest

from areal_mesh.runtime.settings import load_settings
from areal_mesh.runtime.settings.changes import SettingChange, changes_between, refusal


def test_keys_that_differ_are_named_by_their_path() -> None:
    before = {"a": 1, "b": {"c": [1, {"d": 2}]}, "gone": 1}
    now = {"a": 1, "b": {"c": [1, {"d": 3}]}, "new": None}
    assert list(map(str, changes_between(before, now))) == ["b.c.1.d: there 2, here 3", "gone: there 1, here null"]
    assert list(map(str, changes_between({"rules": [1]}, {"rules": [1, 2]}))) == ["rules: there [1], here [1, 2]"]
    assert list(map(str, changes_between({"stages": [1]}, {"stages": [1, 2]}))) == ["stages.1: there null, here 2"]


# Of a run in stage 1, with 5 steps, of which a checkpoint covers all, and one that covers 4.
@pytest.mark.parametrize(
    ("key", "covered", "behind"),
    [
        ("controller.listen", "", ""),
        ("generator.kv_cache_gib", "", ""),
        ("verifier.reward", "", ""),
        ("learner.checkpoint_every", "", ""),
        ("learner.niceness", "", ""),
        ("learner.learning_rate", "", "the newest checkpoint is of step 4"),
        ("stages.1.max_steps", "", "the newest checkpoint"),
        ("stages.2", "", "the newest checkpoint"),
        ("stages.2.max_response_tokens", "", "the newest checkpoint"),
        ("stages.1.max_response_tokens", "the run is in that stage", "the run is in that stage"),
        ("stages.0.max_steps", "that stage is over", "that stage is over"),
        ("algorithm.batch_groups", "its rollouts would be another run's", "its rollouts"),
        ("model.folder", "its rollouts", "its rollouts"),
        ("prompts.file", "its rollouts", "its rollouts"),
        ("seed", "its rollouts", "its rollouts"),
        ("learner.beta1", "its rollouts", "its rollouts"),
    ],
)
def test_a_change_is_taken_where_it_is_sound(key: str, covered: str, behind: str) -> None:
    change = SettingChange(key, 1, 2)
    for at, expected in ((5, covered), (4, behind)):
        why = refusal(change, stage=1, steps=5, covered=at)
        assert why.startswith(expected), why
        assert bool(why) == bool(expected)


def test_every_change_is_taken_before_the_first_step_but_of_what_a_run_is() -> None:
    settings: dict[str, Any] = load_settings("trial").model_dump(mode="json")
    other = load_settings("trial", ["stages.0.max_response_tokens=50", "learner.learning_rate=1e-6", "seed=2"])
    found = {
        change.key: refusal(change, stage=-1, steps=0, covered=0)
        for change in changes_between(settings, other.model_dump(mode="json"))
    }
    assert found == {
        "seed": "its rollouts would be another run's",
        "stages.0.max_response_tokens": "",
        "learner.learning_rate": "",
    }
