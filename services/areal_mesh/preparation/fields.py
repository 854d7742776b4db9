"""Which fields of a row are the problem, its answers, its id: as given, or by the names that data sets use. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KINDS: Mapping[str, Sequence[str]] = {
    "problem": ("problem", "question", "prompt", "query", "input"),
    "solutions": ("solutions", "answer", "answers", "final_answer", "expected_answer", "ground_truth", "solution"),
    "id": ("id", "query_id", "unique_id", "problem_id", "uuid"),
    "source": ("source", "data_source", "dataset"),
    "difficulty": ("difficulty", "level"),
}
"""Names of each, those first that say it best; the first that a row has is taken."""
WORKED = ("solution", "solutions", "answer")
"""Fields that may hold a worked solution, with the answer in its last box or after `####`."""


class UnknownField(ValueError):
    """A mapping of fields that no row could follow."""


@dataclass(frozen=True)
class Fields:
    """A mapping of kinds to the fields' names, where it is given; what it leaves out is looked for by name."""

    given: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "Fields":
        """`problem=question,solutions=reference` as such. Raises UnknownField."""
        given = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            kind, equals, name = (piece.strip() for piece in part.partition("="))
            if not equals or not name or kind not in KINDS:
                raise UnknownField(f"{part!r}: expected KIND=FIELD, KIND one of {', '.join(KINDS)}")
            given[kind] = name
        return cls(given)

    def name(self, kind: str, row: Mapping[str, Any]) -> str | None:
        """The field of that kind in a row; None where it has none."""
        if kind in self.given:
            return self.given[kind] if self.given[kind] in row else None
        return next((name for name in KINDS[kind] if row.get(name) is not None), None) or next(
            (name for name in KINDS[kind] if name in row), None
        )

    def value(self, kind: str, row: Mapping[str, Any]) -> Any:
        """What a row has of that kind; None where it has nothing."""
        name = self.name(kind, row)
        return None if name is None else row[name]


def flattened(value: Any) -> Mapping[str, Any] | None:
    """A row as one object: a conversation's question and reference are its problem and its answer; None for no row."""
    if isinstance(value, dict):
        row: dict[str, Any] = value
        prompt = row.get("prompt")
        if isinstance(prompt, list) and (spoken := _conversation(prompt)):
            row = {**row, "prompt": spoken["problem"]}
        model = row.get("reward_model")
        if isinstance(model, dict) and "ground_truth" in model:
            row = {"ground_truth": model["ground_truth"], **row}
        return row
    return _conversation(value) if isinstance(value, list) else None


def _conversation(messages: Sequence[Any]) -> Mapping[str, Any] | None:
    """Of messages with `from` and `value` (Open-Reasoner-Zero), or `role` and `content`."""
    found: dict[str, Any] = {}
    for message in messages:
        if not isinstance(message, dict):
            return None
        speaker = message.get("from", message.get("role"))
        if speaker in ("human", "user"):
            found["problem"] = message.get("value", message.get("content"))
        elif speaker in ("assistant", "gpt"):
            truth = message.get("ground_truth")
            found["answer"] = truth.get("value") if isinstance(truth, dict) else message.get("value")
    return found if "problem" in found else None
