"""How long generation takes: decoding is bound by what it reads, the weights once and the KV cache of each response.

An iteration of an engine gives each of its responses a token. It takes what the host needs to launch it, and what its
GPUs need to read the weights and the cache, or to multiply where that is longer.
"""

from areal_mesh.planning.calibration import Constants
from areal_mesh.planning.hardware import Hardware
from areal_mesh.planning.workload import Layout, Workload

_MEMORY_SHARE = 0.9
"""Of a memory's bandwidth that a kernel sees of it."""
_FLOPS_SHARE = 0.5
"""Of the operations a second that a matrix product of few rows, and a prefill, reach."""
_ALL_REDUCE_SECONDS = 12e-6
"""Of a small message among the GPUs of a node; two a layer."""
_PIECES = 64


def iteration_seconds(
    work: Workload, layout: Layout, hardware: Hardware, constants: Constants, running: float, context: float
) -> float:
    """Time of one token of `running` responses of an engine, each with `context` tokens before it."""
    shape, gpus = work.shape, layout.tensor_parallel
    read = (shape.weight_bytes + running * context * shape.kv_bytes) / (gpus * hardware.bandwidth * _MEMORY_SHARE)
    multiplied = running * shape.forward_flops(context) / (gpus * hardware.flops * _FLOPS_SHARE)
    reduced = 2 * shape.layers * _ALL_REDUCE_SECONDS if gpus > 1 else 0.0
    host = constants.eager_host_seconds if layout.time_shared else constants.host_seconds
    return host + reduced + max(read, multiplied)


def batch_seconds(work: Workload, layout: Layout, hardware: Hardware, constants: Constants) -> float:
    """Time from the first token of a step's responses to the last, where no others run beside them."""
    each = work.sequences / layout.engines
    slots = min(each, work.max_sequences)
    full = (each - slots) * work.lengths.mean(work.limit) / slots
    seconds = full * iteration_seconds(work, layout, hardware, constants, slots, _steady_context(work))
    return seconds + _drain_seconds(work, layout, hardware, constants, slots) + _prefill_seconds(work, layout, hardware)


def stream_rate(work: Workload, layout: Layout, hardware: Hardware, constants: Constants) -> float:
    """Response tokens a second of all engines where others follow each response that ends."""
    bound = work.sequences * (work.max_staleness + 1) / layout.engines
    running = min(work.max_sequences, bound)
    seconds = iteration_seconds(work, layout, hardware, constants, running, _steady_context(work))
    prefill = _prefill_seconds(work, layout, hardware) * layout.engines / work.sequences / work.lengths.mean(work.limit)
    return layout.engines / (seconds / running + prefill)


def latency_seconds(work: Workload, layout: Layout, hardware: Hardware, constants: Constants) -> float:
    """Time from the lease of a step's first response to the end of its longest, among others that run."""
    running = min(work.max_sequences, work.sequences * (work.max_staleness + 1) / layout.engines)
    longest = work.lengths.longest(work.limit, work.sequences)
    queued = max(0.0, work.sequences / layout.engines - running) * work.lengths.mean(work.limit) / running
    return (longest + queued) * iteration_seconds(work, layout, hardware, constants, running, _steady_context(work))


def _steady_context(work: Workload) -> float:
    """Mean tokens before the next one, over the responses that run at a time."""
    return work.prompt_tokens + work.lengths.mean_square(work.limit) / (2 * work.lengths.mean(work.limit))


def _drain_seconds(work: Workload, layout: Layout, hardware: Hardware, constants: Constants, slots: float) -> float:
    """Time of `slots` responses that begin together and are followed by none."""
    longest = work.lengths.longest(work.limit, work.sequences)
    piece = longest / _PIECES
    seconds = 0.0
    for number in range(_PIECES):
        position = (number + 0.5) * piece
        running = max(1.0, slots * work.lengths.over(position))
        context = work.prompt_tokens + position
        seconds += piece * iteration_seconds(work, layout, hardware, constants, running, context)
    return seconds


def _prefill_seconds(work: Workload, layout: Layout, hardware: Hardware) -> float:
    """Time of the prompts; the responses of a group share theirs."""
    flops = work.groups * work.prompt_tokens * work.shape.forward_flops(work.prompt_tokens / 2)
    return flops / (layout.generation_gpus * hardware.flops * _FLOPS_SHARE)
