"""Which groups of a batch cannot be trained on, each by itself."""

from areal_mesh.learner.batches.vetting import unusable_groups
from areal_mesh.runtime.groups import encode_int32, payload_crc32c
from tests.unit.stored_groups import make_group


def test_a_group_that_cannot_be_trained_on_is_named_and_the_others_are_not() -> None:
    sound, foreign, future, damaged = (make_group([3, 2]) for _ in range(4))
    for name, group in (("sound", sound), ("foreign", foreign), ("future", future), ("damaged", damaged)):
        group.group_id = name
    tokens = len(foreign.response_token_ids) // 4
    foreign.response_token_ids = encode_int32([99_999] * tokens)
    foreign.crc32c = payload_crc32c(foreign)
    future.responses[0].version_spans[-1].policy_version = 50
    damaged.behaviour_log_probs = b"\0" * len(damaged.behaviour_log_probs)
    reasons = unusable_groups([sound, foreign, future, damaged], vocabulary_size=1000, policy_version=9)
    assert sorted(reasons) == ["damaged", "foreign", "future"]
    assert "vocabulary" in reasons["foreign"]
    assert "version" in reasons["future"]
    assert "crc32c" in reasons["damaged"]
