"""A run of 100,000 rollouts, looked at: seconds to index its log, and to search it.

The log is written by the replay buffer itself, its texts by a byte-level tokenizer out of a vocabulary of words and
formulas. Each search counts all rollouts that it finds and gives the first page, as the page asks for it.

    python -m benchmarks.rollouts [--rollouts N] [--characters N] [--output]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.events import GroupSummary
from areal_mesh.rollouts.index import INDEX_FILE, RolloutIndex
from areal_mesh.rollouts.values import RolloutQuery
from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.v1 import rollout_pb2
from benchmarks.meshrun import write_result

GROUP = 16
BATCH = 64
PAGE = 50
REPEATS = 5
SLOWEST_SECONDS = 1.0
"""A search of 100,000 rollouts has to be faster."""
NEEDLE = "the hidden needle"
SEARCHES = {
    "all, newest first": RolloutQuery(),
    "wrong, longest first": RolloutQuery(verdict="incorrect", order="longest"),
    "one step": RolloutQuery(step=7),
    "one rule and one source": RolloutQuery(rule="no answer", source="source-1"),
    "a text that few have": RolloutQuery(text=NEEDLE),
    "a text that half have": RolloutQuery(text="\\frac{1}{2}"),
    "a text that all have": RolloutQuery(text="the", order="best"),
    "a text that none has": RolloutQuery(text="never written by anybody"),
    "two characters": RolloutQuery(text="x9"),
    "a text with wildcards": RolloutQuery(text="100%_"),
    "a text, wrong, one source": RolloutQuery(text="word77 ", verdict="incorrect", source="source-2"),
}


def byte_tokenizer(folder: Path) -> dict[int, int]:
    """Writes a tokenizer whose tokens are bytes; returns the token of each."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return {byte: tokenizer.encode(chr(byte)).ids[0] for byte in range(32, 127)}


def responses(random_: random.Random, characters: int) -> Iterator[str]:
    """Endless made-up responses of about so many characters."""
    words = [*(f"word{number}" for number in range(3000)), "the", "therefore", "x9", "= 100%_", "$x^2$"]
    while True:
        chosen = random_.choices(words, k=random_.randint(characters // 16, characters // 6))
        if random_.random() < 0.5:
            chosen.append("\\frac{1}{2}")
        yield " ".join([*chosen, "the end"])


def make_group(number: int, texts: list[str], tokens: dict[int, int], random_: random.Random) -> rollout_pb2.Group:
    """A group with these responses."""
    group = rollout_pb2.Group(
        group_id=f"g{number:08d}",
        prompt_id=f"p{number}",
        prompt_token_ids=encode_int32([tokens[ord("?")]]),
        sequence=number,
        temperature=1.0,
        problem=f"Problem {number} about a number",
        gold_answers=[str(number)],
        source=f"source-{number % 4}",
    )
    group.stage.name = "8K"
    ids: list[int] = []
    for text in texts:
        ids += [tokens[byte] for byte in text.encode()]
        right = random_.random() < 0.4
        group.responses.add(
            length=len(text),
            finish_reason=rollout_pb2.FINISH_REASON_STOP,
            version_spans=[rollout_pb2.VersionSpan(policy_version=number // BATCH, start=0, end=len(text))],
            verdict=rollout_pb2.Verdict(
                status=rollout_pb2.VERDICT_STATUS_CORRECT if right else rollout_pb2.VERDICT_STATUS_INCORRECT,
                rule=random_.choice(("rational", "text", "symbolic", "no answer")),
                reward=5.0 if right else -5.0,
            ),
        )
    group.response_token_ids = encode_int32(ids)
    group.behaviour_log_probs = encode_float32([-0.5] * len(ids))
    group.crc32c = payload_crc32c(group)
    return group


async def make_log(run: Path, rollouts: int, characters: int) -> None:
    """Writes a run's log of so many rollouts, each trained on."""
    tokens = byte_tokenizer(run / "model")
    random_ = random.Random(1)
    texts = responses(random_, characters)
    buffer = ReplayBuffer(run / "replay", 1 << 40, 64 << 20, "none")
    for number in range(rollouts // GROUP):
        written = [next(texts) for _ in range(GROUP)]
        if number % 1000 == 500:
            written[3] += f" {NEEDLE}"
        payload = make_group(number, written, tokens, random_).SerializeToString()
        await buffer.append(GroupSummary(f"g{number:08d}", number, 0, len(payload)), payload)
        if number % BATCH == BATCH - 1:
            await buffer.draw(DrawRequest(number // BATCH + 1, BATCH, 0, 1 << 20), 1.0)
    buffer.close()


def search_seconds(index: RolloutIndex, query: RolloutQuery) -> tuple[int, list[float]]:
    """How many rollouts a query finds, and the seconds of each try."""
    found, seconds = 0, []
    for _ in range(REPEATS):
        start = time.perf_counter()
        found = index.find(query, PAGE).count
        seconds.append(time.perf_counter() - start)
    return found, seconds


def measure(run: Path, rollouts: int) -> tuple[Table, float]:
    """The table, and the seconds of the slowest search."""
    index = RolloutIndex(run, run / "model")
    start = time.perf_counter()
    index.update()
    indexed = time.perf_counter() - start
    size = (run / INDEX_FILE).stat().st_size
    table = Table(
        title=f"{rollouts:,} rollouts: indexed in {indexed:.1f} s, {size / 1e6:,.0f} MB", title_justify="left"
    )
    for heading in ("search", "found", "median, ms", "slowest, ms"):
        table.add_column(heading, justify="left" if heading == "search" else "right")
    slowest = 0.0
    for name, query in SEARCHES.items():
        found, seconds = search_seconds(index, query)
        slowest = max(slowest, *seconds)
        table.add_row(name, f"{found:,}", f"{1e3 * statistics.median(seconds):.1f}", f"{1e3 * max(seconds):.1f}")
    return table, slowest


def main() -> None:
    """Prints the table; exit code 1 if a search took too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=100_000)
    parser.add_argument("--characters", type=int, default=1200, help="of a response, about")
    parser.add_argument("--output", action="store_true", help="write benchmarks/results/rollouts.txt")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        asyncio.run(make_log(run, options.rollouts, options.characters))
        table, slowest = measure(run, options.rollouts)
    console = Console(width=100, record=True)
    console.print(table)
    console.print(f"slowest search: {slowest:.3f} s")
    if options.output:
        write_result("rollouts", console)
    if slowest > SLOWEST_SECONDS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
