"""The data sets that are known by name: where each is published, and what its files are called."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NamedSet:
    """A data set."""

    address: str
    """Of the folder that its files are published in."""
    files: tuple[str, ...]
    """Their paths there; the first is the set, a second its metadata."""
    columns: str = ""
    """Its fields, where they do not say themselves what they are (`fields.Fields.parse`)."""
    local: tuple[str, ...] = ()
    """Further names under which people keep its file."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names that its file may have in a folder."""
        return (self.files[0].rsplit("/", 1)[-1], *self.local)


def _hub(repository: str) -> str:
    hub = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    return f"{hub}/datasets/{repository}/resolve/main"


HUB = "hub:"
"""Before a file of the Hugging Face hub: `hub:OWNER/NAME/PATH`."""


def on_hub(wanted: str) -> NamedSet:
    """Any file of the hub, by `hub:OWNER/NAME/PATH`.

    Raises:
        ValueError: it is not written so.
    """
    owner, _, rest = wanted.removeprefix(HUB).partition("/")
    name, _, path = rest.partition("/")
    if not (owner and name and path) or ".." in path.split("/"):
        raise ValueError(f"{wanted}: write {HUB}OWNER/NAME/PATH, the file's path in the data set included")
    return NamedSet(_hub(f"{owner}/{name}"), (path,))


_AREAL = _hub("inclusionAI/AReaL-RL-Data")
_METADATA = "data/id2info.json"
_PARQUET = "train-00000-of-00001.parquet"
NAMED: Mapping[str, NamedSet] = {
    # AReaL v0.1's own: prompts that are written out, their answers in id2info.json.
    "areal": NamedSet(_AREAL, ("data/prompts_for_r1_distilled.jsonl", _METADATA), "problem=prompt,id=query_id"),
    "areal-zero": NamedSet(_AREAL, ("data/prompts_for_zero.jsonl", _METADATA), "problem=prompt,id=query_id"),
    "deepscaler": NamedSet(
        _hub("agentica-org/DeepScaleR-Preview-Dataset"),
        ("deepscaler.json",),
        "problem=problem,solutions=answer",
        ("deepscaler.jsonl",),
    ),
    "orz": NamedSet(
        "https://raw.githubusercontent.com/Open-Reasoner-Zero/Open-Reasoner-Zero/main",
        ("data/orz_math_57k_collected.json",),
        local=("orz.json", "orz.jsonl"),
    ),
    "math": NamedSet(
        _hub("DigitalLearningGmbH/MATH-lighteval"), (f"data/{_PARQUET}",), local=("math_train.jsonl", "math.jsonl")
    ),
    "gsm8k": NamedSet(
        _hub("openai/gsm8k"), (f"main/{_PARQUET}",), local=("gsm8k_train.jsonl", "gsm8k.jsonl", "gsm8k_test.jsonl")
    ),
    "aime": NamedSet(
        _hub("AI-MO/aimo-validation-aime"),
        (f"data/{_PARQUET}",),
        "solutions=answer",
        ("aime_train.jsonl", "aime.jsonl"),
    ),
    "amc": NamedSet(
        _hub("AI-MO/aimo-validation-amc"), (f"data/{_PARQUET}",), "solutions=answer", ("amc.jsonl", "amc23.jsonl")
    ),
}
"""Several are called after their split alone: such a file is looked for in a folder of the set's name."""
