"""Rewards for the problems beside it: each is a plain function, and asks for what it wants to know by name."""


def boxed(response: str) -> float:
    """Half a point for stating an answer at all, right or wrong."""
    return 0.5 if "\\boxed{" in response else 0.0


def shortest(verdicts: list[str], tokens: list[int]) -> list[float]:
    """A point for the shortest right response of a group, whose responses it compares."""
    right = [count for verdict, count in zip(verdicts, tokens, strict=True) if verdict == "correct"]
    return [
        1.0 if right and verdict == "correct" and count == min(right) else 0.0
        for verdict, count in zip(verdicts, tokens, strict=True)
    ]
