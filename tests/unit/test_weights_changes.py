"""What changed between two versions, and the second again from the first."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.weights.changes import apply_changes, changes


def random_words(words: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2 * words,), dtype=torch.uint8, generator=generator)


@settings(max_examples=60, deadline=None)
@given(words=st.integers(1, 200_000), share=st.floats(0, 0.3), seed=st.integers(0, 2**31))
def test_the_new_bytes_come_again_to_the_bit(words: int, share: float, seed: int) -> None:
    base, other = random_words(words, seed), random_words(words, seed + 1)
    generator = torch.Generator().manual_seed(seed)
    taken = torch.rand(words, generator=generator) < share
    new = torch.where(taken, other.view(torch.int16), base.view(torch.int16)).view(torch.uint8)
    changed = changes(base, new)
    if changed is None:
        assert taken.float().mean() > 0.4 or words < 100
        return
    assert changed.numel() < new.numel()
    held = base.clone()
    apply_changes(held, changed)
    assert torch.equal(held, new)


def test_bytes_as_numbers_do_not_matter() -> None:
    base = torch.tensor([float("nan"), 0.0, 1.0] * 100, dtype=torch.bfloat16)
    new = base.clone()
    new[1], new[299] = -0.0, float("inf")
    changed = changes(base.view(torch.uint8), new.view(torch.uint8))
    assert changed is not None
    assert changed.numel() == 4 + 2 * (2 + 2), "one block and two words: NaN equals itself here, and -0 is not 0"
    held = base.view(torch.uint8).clone()
    apply_changes(held, changed)
    assert torch.equal(held, new.view(torch.uint8))


def test_nothing_new_costs_its_counts_alone() -> None:
    base = random_words(1 << 17, 0)
    changed = changes(base, base.clone())
    assert changed is not None
    assert changed.numel() == 2 * 4


def test_all_new_is_no_changes() -> None:
    assert changes(torch.zeros(4000, dtype=torch.uint8), torch.full((4000,), 1, dtype=torch.uint8)) is None


@pytest.mark.parametrize("spoiled", ["shorter", "longer", "negative", "beyond"])
def test_what_are_no_changes_of_these_bytes_is_refused(spoiled: str) -> None:
    base = random_words(1000, 0)
    new = base.clone()
    new[:8] += 1
    changed = changes(base, new)
    assert changed is not None
    if spoiled == "shorter":
        changed = changed[:-2]
    elif spoiled == "longer":
        changed = torch.cat([changed, changed[-2:]])
    elif spoiled == "negative":
        changed[:4] = torch.tensor([-1], dtype=torch.int32).view(torch.uint8)
    else:
        changed[4:6] = torch.tensor([1000], dtype=torch.int16).view(torch.uint8)
    with pytest.raises(ValueError, match="changes of"):
        apply_changes(base, changed)
