"""Admission: when a group may start.

The bound is AReaL's: a group may start iff

    accepted + running / oversampling < (max_staleness + version + 1) * batch_groups

where `accepted` counts groups stored or trained, and stale, filtered and failed groups have given their place back.
`oversampling` is 1 unless the settings let more run than there are places, because filters are expected to leave some
out; what is then accepted over the bound grows too old and is dropped.
`version` is the policy version that generation serves, the last one published: a group that starts now starts with it.
The learner's own version may be ahead by up to `sync_every - 1`; counting that one would admit groups that are too old
by the time they are drawn.

Invariants without oversampling, each pinned by a test:

- the open groups that began under version v or older are never more than the steps up to v + max_staleness + 1 can
  still train: drawn by deadline (`replay.deadlines`), and waited for, none gets staler than `max_staleness`;
- while a step is due, places for a whole batch exist once everything due is published (`publish_due`), so the
  learner is never starved by admission itself;
- no more groups are admitted than the rest of the schedule can train.
"""

import math

from areal_mesh.controller.records import GroupCounts
from areal_mesh.runtime.settings import AlgorithmSettings, WeightSettings


def free_places(algorithm: AlgorithmSettings, counts: GroupCounts, published_version: int, planned_steps: int) -> int:
    """Groups that may start now.

    Args:
        published_version: version that generators serve; -1 before the first publish, and then nothing may start.
        planned_steps: steps of the whole run at most.
    """
    if published_version < 0:
        return 0
    batches = min(algorithm.max_staleness + published_version + 1, planned_steps)
    places = max(0, batches * algorithm.batch_groups - counts.accepted)
    return max(0, math.floor(places * algorithm.oversampling) - counts.running)


def publish_due(weights: WeightSettings, version: int, published_version: int) -> bool:
    """Whether `version` has to be published.

    `sync_every` is at most `max_staleness + 1` (`RunSettings`): else what generators hold would be too old for the next
    step before the next publish, and the run would wait for ever.
    """
    return published_version < 0 or version - published_version >= weights.sync_every
