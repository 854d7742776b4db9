"""Run directories with a real replay log, written by the replay buffer, and a tokenizer that reads any text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.events import GroupSummary
from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.runtime.settings import RunSettings, load_settings
from areal_mesh.v1 import rollout_pb2

END = "<|end|>"


@dataclass(frozen=True)
class Answer:
    """A response of a group, and how it was judged."""

    text: str
    correct: bool = False
    rule: str = "rational"
    truncated: bool = False
    extracted: str = ""
    terms: tuple[tuple[str, float], ...] = ()


def write_byte_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer without merges: every text has tokens, one a byte."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END}))


def begin_run(folder: Path, name: str = "looked-at", *overrides: str) -> RunSettings:
    """A run directory with settings and nothing else, and its model's tokenizer."""
    model = folder / "model"
    write_byte_tokenizer(model)
    given = [f"name={name}", f"directory={folder / 'runs'}", f"model.folder={model}", "model.recipe=none", *overrides]
    settings = load_settings("trial-short", given)
    settings.run_directory.mkdir(parents=True)
    (settings.run_directory / "settings.json").write_text(json.dumps(settings.model_dump(mode="json")))
    return settings


def group_of(
    settings: RunSettings, number: int, problem: str, references: Sequence[str], answers: Sequence[Answer], source: str
) -> rollout_pb2.Group:
    """A group; the second half of each response comes from the next version."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(settings.model.folder / "tokenizer.json"))
    stage = settings.stages[0]
    group = rollout_pb2.Group(
        group_id=f"g{number:08d}",
        prompt_id=f"p{number}",
        prompt_token_ids=encode_int32(tokenizer.encode(problem).ids),
        sequence=number,
        temperature=1.0,
        problem=problem,
        gold_answers=references,
        source=source,
    )
    group.stage.name, group.stage.max_response_tokens = stage.name, stage.max_response_tokens
    token_ids: list[int] = []
    for answer in answers:
        ids = tokenizer.encode(answer.text if answer.truncated else answer.text + END).ids
        token_ids += ids
        half = max(1, len(ids) // 2)
        info = group.responses.add(
            length=len(ids),
            finish_reason=rollout_pb2.FINISH_REASON_LENGTH if answer.truncated else rollout_pb2.FINISH_REASON_STOP,
            version_spans=[rollout_pb2.VersionSpan(policy_version=number, start=0, end=half)],
            verdict=_verdict(answer),
        )
        if len(ids) > half:
            info.version_spans.add(policy_version=number + 1, start=half, end=len(ids))
    group.response_token_ids = encode_int32(token_ids)
    group.behaviour_log_probs = encode_float32([-0.01 * (index % 300) for index in range(len(token_ids))])
    group.crc32c = payload_crc32c(group)
    return group


def _verdict(answer: Answer) -> rollout_pb2.Verdict:
    status = rollout_pb2.VERDICT_STATUS_CORRECT if answer.correct else rollout_pb2.VERDICT_STATUS_INCORRECT
    reward = 5.0 if answer.correct else -5.0
    verdict = rollout_pb2.Verdict(status=status, rule=answer.rule, reward=reward, extracted=answer.extracted)
    for name, value in answer.terms:
        verdict.terms.add(name=name, value=value)
    return verdict


def open_log(settings: RunSettings, segment_bytes: int = 1 << 20, kept_bytes: int = 0) -> ReplayBuffer:
    """The run's own replay buffer."""
    folder = settings.run_directory / "replay"
    return ReplayBuffer(folder, 1 << 34, segment_bytes, "write", kept_bytes=kept_bytes)


async def store(buffer: ReplayBuffer, *groups: rollout_pb2.Group) -> None:
    for group in groups:
        payload = group.SerializeToString()
        await buffer.append(GroupSummary(group.group_id, group.sequence, 0, len(payload)), payload)


async def train_on(buffer: ReplayBuffer, step: int, groups: int) -> None:
    """Has a step draw so many groups."""
    drawn = await buffer.draw(DrawRequest(step, groups, 0, 1000), 5.0)
    assert drawn.group_ids is not None
