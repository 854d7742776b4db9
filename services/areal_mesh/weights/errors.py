"""What can go wrong between the two ends of a publish. Without torch."""


class TransferError(RuntimeError):
    """A group could not be joined, or a broadcast did not complete: a peer is gone, slow, or sent something else."""


class PeersMissing(TransferError):
    """This member came to the meeting of its group, and others did not."""
