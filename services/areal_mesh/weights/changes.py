"""What of a version's bytes is new against the version before, and the bytes again from that. Pure.

Weights change little from one version to the next: at a learning rate of 1e-6 about one bfloat16 in a hundred takes
another value. Bytes are compared as words of 16 bits, the width of the narrowest dtype that is published, so nothing is
rounded. Changed words are counted for each block of 65,536, so that a word's place in its block fits 16 bits too:

    counts    int32, one a block
    places    uint16, one a changed word, block by block in rising order
    words     the new words, in the order of their places
"""

import numpy as np
import torch

_BLOCK_BITS = 16
_BLOCK = 1 << _BLOCK_BITS
_COUNT_BYTES, _PLACE_BYTES, _WORD_BYTES = 4, 2, 2


def changes(base: torch.Tensor, new: torch.Tensor) -> torch.Tensor | None:
    """What turns `base` into `new` (both uint8, 1-D, of the same even length, in host memory), as uint8.

    None where it would be as long as `new` itself.
    """
    words = new.view(torch.int16)
    # NumPy's search for what is true is five times as fast as torch's.
    places = torch.from_numpy(np.flatnonzero((base.view(torch.int16) != words).numpy()))
    blocks = _blocks(words.numel())
    if _COUNT_BYTES * blocks + (_PLACE_BYTES + _WORD_BYTES) * places.numel() >= new.numel():
        return None
    counts = torch.bincount(places >> _BLOCK_BITS, minlength=blocks).to(torch.int32)
    in_block = (places & (_BLOCK - 1)).to(torch.uint16)
    return torch.cat([counts.view(torch.uint8), in_block.view(torch.uint8), words[places].view(torch.uint8)])


def apply_changes(base: torch.Tensor, changed: torch.Tensor) -> None:
    """Turn `base` into what `changed` was made of, in place. Raises ValueError for what are no changes of it."""
    words = base.view(torch.int16)
    blocks = _blocks(words.numel())
    begin = _COUNT_BYTES * blocks
    counts = changed[:begin].view(torch.int32).to(torch.int64)
    number = int(counts.sum())
    end = begin + _PLACE_BYTES * number
    if changed.numel() != end + _WORD_BYTES * number or bool((counts < 0).any()):
        raise ValueError(f"{changed.numel()} bytes are no changes of {base.numel()} bytes")
    places = torch.repeat_interleave(torch.arange(blocks) << _BLOCK_BITS, counts)
    places += changed[begin:end].view(torch.uint16).to(torch.int64)
    if number and int(places.max()) >= words.numel():
        raise ValueError(f"changes of word {int(places.max())} in {words.numel()} words")
    words[places] = changed[end:].view(torch.int16)


def _blocks(words: int) -> int:
    return -(-words // _BLOCK)
