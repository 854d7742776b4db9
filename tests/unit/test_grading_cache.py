"""The cache of verdicts is bounded and keeps no errors."""

import pytest

from areal_mesh.grading.verdict import Verdict
from areal_mesh.grading.workers.cache import Key, VerdictCache

CORRECT = Verdict("correct", "1", "1", "text")


def key(answer: str, gold: str = "1") -> Key:
    return (answer, None, (gold,), "qwen")


def test_verdict_is_found_under_its_answer_gold_and_protocol_alone() -> None:
    cache = VerdictCache(10)
    cache.put(key("1"), CORRECT)

    assert cache.get(key("1")) is CORRECT
    assert cache.get(key("1", "2")) is None
    assert cache.get(("1", None, ("1",), "strict_qwen")) is None
    assert (cache.hits, cache.misses) == (1, 2)


def test_oldest_use_leaves_first() -> None:
    cache = VerdictCache(2)
    cache.put(key("1"), CORRECT)
    cache.put(key("2"), CORRECT)
    cache.get(key("1"))
    cache.put(key("3"), CORRECT)

    assert cache.get(key("1")) is CORRECT
    assert cache.get(key("2")) is None
    assert len(cache) == 2


def test_characters_are_bounded() -> None:
    cache = VerdictCache(1000, max_characters=10_000)
    for index in range(100):
        cache.put(key(f"{index:01000}"), CORRECT)

    assert len(cache) == 3


def test_errors_and_a_cache_of_no_size_keep_nothing() -> None:
    cache = VerdictCache(10)
    cache.put(key("1"), Verdict("error", "1", None, "deadline"))
    empty = VerdictCache(0)
    empty.put(key("1"), CORRECT)

    assert (len(cache), len(empty)) == (0, 0)
    with pytest.raises(ValueError, match="max_entries is -1"):
        VerdictCache(-1)
