"""Bounds on what is looked at, before any algebra.

Everything a model writes is hostile until it has passed these. What exceeds a bound does not parse, and what
does not parse is incorrect unless it equals the gold letter for letter.
"""

from typing import Final

ANSWER_CHARS: Final = 2_000
"""Longest extracted answer that is read (the longest gold of MATH has about 250 characters)."""
TOKENS: Final = 800
NESTING: Final = 40
"""Deepest bracket nesting; also bounds the recursion of everything that walks an expression."""
NODES: Final = 800
LITERAL_DIGITS: Final = 1_000
"""Digits of one number literal, well below Python's limit of 4,300 for decimal conversion."""
INTEGER_BITS: Final = 40_000
"""Largest fraction that exact arithmetic may build: 2^4950 is a gold answer of MATH, and 1/3500! is a number."""
FACTORIAL: Final = 3_500
"""Largest n whose n! is computed."""
CHAIN: Final = 16
"""Divisions in one term, signs after one factor: each makes the tree a level deeper."""
EXPAND_TERMS: Final = 160
"""Terms that multiplying out an expression may make."""
LIST_ITEMS: Final = 64
"""Items of a list, set, tuple or matrix that is compared item by item."""
OTHER_COMMANDS: Final = 256
"""Commands such as `\\boxedly` that are passed over in search of a box."""
REFERENCES: Final = 100
"""Reference answers of one request: each is compared in turn, while other requests wait."""
UNBALANCED_BOXES: Final = 16
"""Boxes without an end that are passed over in search of the last balanced one."""
