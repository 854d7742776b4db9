"""The learner's own attention over packed sequences against torch's over the same sequences padded."""

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from areal_mesh.learner.batches.layout import build_layout
from areal_mesh.learner.model.attention import packed_attention
from benchmarks.gpu_measuring import Deadline, Lengths, Report, Scale, take_rounds

PACKED, PADDED = "packed", "padded"
_ROUNDS = 10
# The plain kernel's square matrices of 24,576 tokens would not fit on any device.
_FUSED = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
_TOLERANCES = {torch.bfloat16: 2e-2, torch.float32: 1e-4}
"""Of the norm of the difference by the norm: rounding of the two kernels, and no wrong neighbour."""


@dataclass(frozen=True)
class Side:
    """One way to attend: its inputs, what it gives of them, and the slope that its gradients begin with."""

    inputs: tuple[Tensor, Tensor, Tensor]
    attend: Callable[[Tensor, Tensor, Tensor], Tensor]
    slope: Tensor
    rows: Callable[[Tensor], Tensor]
    """The real tokens of an output or a gradient, [tokens, heads, head size]."""

    def backward(self, output: Tensor) -> tuple[Tensor, ...]:
        """Gradients of the inputs; the output may be gone through again."""
        return torch.autograd.grad(output, self.inputs, self.slope, retain_graph=True)


class AttentionsDisagree(RuntimeError):
    """The two sides give other numbers than rounding explains."""


def measure_attention(scale: Scale, deadline: Deadline, report: Report) -> None:
    """Forward and backward of both sides on each set of lengths; both have to give the same."""
    table = Table("lengths", "side", "forward, ms", "backward, ms", "TFLOP/s", "over packed", title=_title(scale))
    try:
        for lengths in scale.attention:
            _compare(lengths, scale, deadline, report, table)
    finally:
        report.console.print(table)


def _title(scale: Scale) -> str:
    shape = scale.shape
    return f"attention, {shape.heads} heads of {shape.head_size}, {shape.kv_heads} of keys, {scale.dtype}"


def _compare(lengths: Lengths, scale: Scale, deadline: Deadline, report: Report, table: Table) -> None:
    sides = make_sides(lengths.tokens, scale)
    check(lengths.name, sides, scale)

    def round_() -> dict[str, tuple[float, float]]:
        return {name: _time(side, scale.settle) for name, side in sides.items()}

    rounds = take_rounds(f"attention {lengths.name}", round_, _ROUNDS, deadline, report)
    both = {name: statistics.median(sum(each[name]) for each in rounds) for name in sides}
    flops, tokens = attention_flops(lengths.tokens, scale), lengths.tokens
    said = f"{len(tokens)} of {min(tokens)} to {max(tokens)}, {sum(tokens)} tokens"
    for name in sides:
        forward, backward = (statistics.median(each[name][part] for each in rounds) for part in range(2))
        rate, ratio = flops / both[name] / 1e12, both[name] / both[PACKED]
        table.add_row(said, name, f"{forward * 1e3:.3f}", f"{backward * 1e3:.3f}", f"{rate:.4g}", f"{ratio:.2f}")
        report.figures[f"attention_{lengths.name}_{name}_ms"] = both[name] * 1e3
        report.figures[f"attention_{lengths.name}_{name}_tflops"] = rate
        said = ""
    report.figures[f"attention_{lengths.name}_padded_over_packed"] = both[PADDED] / both[PACKED]


def attention_flops(tokens: tuple[int, ...], scale: Scale) -> float:
    """Of forward and backward, which takes two: of pairs of real tokens that see each other, on either side."""
    shape = scale.shape
    pairs = sum(length * (length + 1) / 2 for length in tokens)
    return 3 * 4.0 * shape.heads * shape.head_size * pairs


def make_sides(tokens: tuple[int, ...], scale: Scale) -> dict[str, Side]:
    """Both sides over the same random numbers; padding stands to the right, where the causal mask hides it."""
    torch.manual_seed(0)
    shape, total = scale.shape, sum(tokens)
    heads = (shape.heads, shape.kv_heads, shape.kv_heads, shape.heads)
    query, key, value, slope = (
        torch.randn(total, each, shape.head_size, device=scale.torch_device, dtype=scale.torch_dtype) for each in heads
    )
    layout = build_layout(tokens, scale.torch_device, scale.torch_dtype)

    def packed(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # As a decoder layer has them: heads before tokens, over memory that has tokens first.
        query, key, value = (rows.unsqueeze(0).transpose(1, 2) for rows in (query, key, value))
        return packed_attention(nn.Identity(), query, key, value, None, packed_layout=layout)[0][0]

    def padded(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (slots.transpose(1, 2) for slots in (query, key, value))
        with sdpa_kernel(_FUSED) if scale.is_real else nullcontext():
            attended = scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        return attended.transpose(1, 2)

    def pad(rows: Tensor) -> Tensor:
        return nn.utils.rnn.pad_sequence(list(torch.split(rows.detach(), list(tokens))), batch_first=True)

    def unpad(slots: Tensor) -> Tensor:
        return torch.cat([sequence[:length] for sequence, length in zip(slots, tokens, strict=True)])

    rows = (query, key, value)
    return {
        PACKED: Side(_leaves(*rows), packed, slope, lambda given: given),
        PADDED: Side(_leaves(*map(pad, rows)), padded, pad(slope), unpad),
    }


def _leaves(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return query.requires_grad_(), key.requires_grad_(), value.requires_grad_()


def check(name: str, sides: dict[str, Side], scale: Scale) -> None:
    """Raise AttentionsDisagree unless outputs and gradients of the two sides are the same but for rounding."""
    found = {}
    for side_name, side in sides.items():
        output = side.attend(*side.inputs)
        found[side_name] = [side.rows(each.detach()).float() for each in (output, *side.backward(output))]
    tolerance = _TOLERANCES[scale.torch_dtype]
    for what, ours, theirs in zip(("output", "dq", "dk", "dv"), found[PACKED], found[PADDED], strict=True):
        off = float((ours - theirs).norm() / theirs.norm())
        if not off <= tolerance:
            raise AttentionsDisagree(f"attention {name}: {what} is {off:.2g} of its norm off, over {tolerance}")


def _time(side: Side, settle: Callable[[], None]) -> tuple[float, float]:
    """Seconds of forward and of backward."""
    settle()
    begun = time.perf_counter()
    output = side.attend(*side.inputs)
    settle()
    attended = time.perf_counter()
    side.backward(output)
    settle()
    return attended - begun, time.perf_counter() - attended
