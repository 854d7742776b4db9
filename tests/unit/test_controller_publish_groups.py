"""A group is one membership, kept until a publish fails in it."""

from areal_mesh.controller.publish.groups import Groups
from areal_mesh.controller.publish.policy import Cause, Failure, GeneratorWeights, blamed

A, B = GeneratorWeights("a/1", 0, 1), GeneratorWeights("b/1", 0, 2)


def test_the_same_members_stay_in_their_group() -> None:
    groups = Groups("life")
    first = groups.group_for("learner/1", [A, B])
    assert groups.group_for("learner/1", [GeneratorWeights("a/1", 7, 1), GeneratorWeights("b/1", 7, 2)]) == first
    assert groups.epoch == 1


def test_another_membership_is_another_group() -> None:
    groups = Groups("life")
    restarted = GeneratorWeights("b/2", 0, 2)
    memberships = [
        ("learner/1", [A, B]),
        ("learner/1", [A]),
        ("learner/1", [A, B]),
        ("learner/2", [A, B]),
        ("learner/2", [A, restarted]),
    ]
    ids = [groups.group_for(learner, receivers) for learner, receivers in memberships]
    assert len(set(ids)) == groups.epoch == len(memberships)
    assert Groups("other").group_for("learner/1", [A, B]) not in ids


def test_a_group_in_which_a_publish_failed_is_not_used_again() -> None:
    groups = Groups("life")
    first = groups.group_for("learner/1", [A, B])
    groups.broke()
    assert groups.group_for("learner/1", [A, B]) != first


def test_who_waited_for_others_is_not_to_blame_while_one_of_them_is() -> None:
    waited = Failure("a/1", "prepare", Cause.WAITED, "")
    for cause in (Cause.GONE, Cause.SILENT, Cause.REFUSED):
        assert blamed([waited, Failure("b/1", "prepare", cause, "")]) == {"b/1"}
    assert blamed([waited]) == {"a/1"}
