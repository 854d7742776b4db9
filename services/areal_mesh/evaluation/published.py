"""Published results to set beside one's own: a row each, with where it was published."""

from dataclasses import dataclass

RELEASE_NOTE = "AReaL v0.1 release note"


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A model's published pass@1 by suite, in percent."""

    model: str
    pass_at_1: dict[str, float]
    """By the suite's name; without those that were not published."""
    source: str


def _row(model: str, math500: float, aime24: float, amc23: float | None, table: str) -> PublishedRow:
    scores = {"math500": math500, "aime24": aime24, "amc23": amc23}
    known = {suite: score for suite, score in scores.items() if score is not None}
    return PublishedRow(model, known, f"{RELEASE_NOTE}, {table}")


_ONE = "table 1"
"""32 samples at temperature 0.6."""
_TWO = "table 2"
"""32 samples at temperature 1.0."""
PUBLISHED: dict[str, tuple[PublishedRow, ...]] = {
    "release-note": (
        _row("o1-Preview", 81.4, 40.0, None, _ONE),
        _row("DeepSeek-R1-Distill-Qwen-1.5B", 82.8, 28.8, 62.9, _ONE),
        _row("DeepScaleR", 87.8, 43.1, 73.6, _ONE),
        _row("AReaL stage 1: 8K", 85.7, 33.2, 74.7, _ONE),
        _row("AReaL stage 2: 16K", 87.4, 34.2, 79.6, _ONE),
        _row("AReaL stage 3: 24K", 88.0, 40.2, 81.2, _ONE),
        _row("Qwen2.5-7B", 34.0, 2.0, 17.8, _TWO),
        _row("Qwen2.5-7B-Zero, step 150", 77.3, 13.9, 57.1, _TWO),
        _row("Qwen2.5-7B-Zero, step 200", 78.0, 14.5, 58.7, _TWO),
    )
}
"""By the word that `--compare` takes."""
