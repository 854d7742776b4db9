"""Putting together what an engine's worker reports about its weights. Pure, without torch."""

import hashlib
from collections.abc import Mapping, Sequence

EMPTY_DIGEST = hashlib.sha256().hexdigest()
"""vLLM's digest of a parameter that a kernel's packed copy has replaced."""


def merge_digests(plain: Mapping[str, str], kernels: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """One digest a parameter, keyed `tp<rank>:<name>`.

    `plain` is a worker's answer to vLLM's `compute_weight_checksums`, keyed `dp<i>:pp<i>:pcp<i>:tp<i>:<name>`.
    `kernels` holds the digests of what was read back from kernels, by name. Where several hold one parameter and
    differ, all digests are joined by `|`, which no single digest equals: the comparison fails and shows them.
    """
    merged: dict[str, str] = {}
    for key, own in plain.items():
        *_, rank, name = key.split(":")
        holders = set(kernels.get(name, ()))
        if not holders or own != EMPTY_DIGEST:
            holders.add(own)
        merged[f"{rank}:{name}"] = "|".join(sorted(holders))
    return merged
