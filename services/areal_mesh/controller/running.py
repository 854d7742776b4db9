"""Which groups run under a version older than the learner's: the draw of a step may have to wait for them. Pure.

Those under the learner's version have the latest deadline of all that are leased, and admission leases no more of them
than the steps up to it can train beside all others: no draw has to wait for them. It is the committed version that
counts, for a draw may begin while the publish of the version before it is in progress.
"""

from areal_mesh.controller.records import GroupState
from areal_mesh.controller.run import Run


def running_groups(run: Run) -> dict[str, int]:
    """Ids of these groups, by sequence, with the oldest version that a token of theirs can have.

    A group that waits to be issued again will begin under the published version or a later one, and is none of them.
    """
    return {
        row.group_id: row.lease_version
        for row in run.groups.open.all()
        if row.state is GroupState.RUNNING and row.holder and row.lease_version < run.version
    }
