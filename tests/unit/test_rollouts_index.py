"""The index of a run's rollouts: read from a real log, filtered, searched, up to date, and forgotten with the log."""

import asyncio
import shutil
from pathlib import Path

import pytest

from areal_mesh.rollouts.index import INDEX_FILE, RolloutIndex
from areal_mesh.rollouts.values import Order, Rollout, RolloutQuery
from areal_mesh.runtime.settings import RunSettings
from tests.unit.rollout_logs import Answer, begin_run, group_of, open_log, store, train_on


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return begin_run(tmp_path)


def index_of(settings: RunSettings) -> RolloutIndex:
    return RolloutIndex(settings.run_directory, settings.model.folder)


async def write_two_groups(settings: RunSettings) -> None:
    buffer = open_log(settings)
    terms = (("correctness", 5.0), ("brevity", 0.5))
    easy = [
        Answer("It is \\boxed{4}.", True, extracted="4", terms=terms),
        Answer("It is 100% 5", rule="no answer", truncated=True),
    ]
    hard = [Answer("Größe: \\boxed{1/3}", rule="text", extracted="1/3"), Answer("No_idea")]
    await store(
        buffer,
        group_of(settings, 1, "Compute 2+2", ["4"], easy, "sums"),
        group_of(settings, 2, "Find the size", ["1/4", "0.25"], hard, "geometry"),
    )
    await train_on(buffer, 1, 1)
    buffer.close()


def found(index: RolloutIndex, **query: object) -> list[str]:
    given = RolloutQuery(order="oldest", **query)  # type: ignore[arg-type]
    found = index.find(given, 10)
    assert found.count == len(found.rollouts) == index.find(given, 1, 100).count
    return [rollout.rollout_id.lstrip("g0") for rollout in found.rollouts]


async def test_a_rollout_is_what_the_log_says_of_it(settings: RunSettings) -> None:
    await write_two_groups(settings)
    index = index_of(settings)
    assert index.update()
    assert list(index.find(RolloutQuery(order="oldest"), 1).rollouts) == [
        Rollout(
            rollout_id="g00000001.0",
            group_id="g00000001",
            prompt_id="p1",
            stage="8",
            source="sums",
            step=1,
            stale=False,
            verdict="correct",
            rule="rational",
            reward=5.0,
            length=17,
            finish="stop",
            oldest_version=1,
            newest_version=2,
            extracted="4",
            terms={"correctness": 5.0, "brevity": 0.5},
            problem="Compute 2+2",
            references=("4",),
            response="It is \\boxed{4}.",
        )
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["1.0", "1.1", "2.0", "2.1"]),
        ({"verdict": "incorrect"}, ["1.1", "2.0", "2.1"]),
        ({"finish": "length"}, ["1.1"]),
        ({"step": 1}, ["1.0", "1.1"]),
        ({"step": 2}, []),
        ({"source": "geometry"}, ["2.0", "2.1"]),
        ({"rule": "rational", "source": "sums"}, ["1.0"]),
        ({"group_id": "g00000002"}, ["2.0", "2.1"]),
        ({"text": "it IS"}, ["1.0", "1.1"]),
        ({"text": "\\boxed{"}, ["1.0", "2.0"]),
        ({"text": "100% 5"}, ["1.1"]),
        ({"text": "o_i"}, ["2.1"]),
        ({"text": "t_is"}, []),
        ({"text": "Größe"}, ["2.0"]),
        ({"text": "5"}, ["1.1"]),
        ({"text": "the size"}, ["2.0", "2.1"]),
        ({"text": "' OR 1=1 --"}, []),
        ({"text": '"boxed" NEAR'}, []),
    ],
)
async def test_rollouts_are_filtered_and_searched(
    settings: RunSettings, query: dict[str, object], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_two_groups(settings)
    index = index_of(settings)
    index.update()
    assert found(index, **query) == expected
    # As if many had the text: all responses are read then.
    monkeypatch.setattr("areal_mesh.rollouts.index._FEW", 0)
    assert found(index, **query) == expected


async def test_orders_and_pages(settings: RunSettings) -> None:
    await write_two_groups(settings)
    index = index_of(settings)
    index.update()
    orders: tuple[Order, ...] = ("newest", "longest", "shortest", "best")
    firsts = {order: index.find(RolloutQuery(order=order), 1).rollouts[0] for order in orders}
    assert {order: rollout.rollout_id[-3:] for order, rollout in firsts.items()} == {
        "newest": "2.1",
        "longest": "2.0",
        "shortest": "2.1",
        "best": "1.0",
    }
    pages = [index.find(RolloutQuery(order="worst"), 2, after).rollouts for after in (0, 2, 4)]
    assert [rollout.rollout_id[-3:] for page in pages for rollout in page] == ["1.1", "2.0", "2.1", "1.0"]


async def test_a_log_is_read_while_it_is_written(settings: RunSettings) -> None:
    buffer = open_log(settings)
    index = index_of(settings)
    assert index.update()
    assert index.find(RolloutQuery(), 1).count == 0
    for number in (1, 2):
        await store(buffer, group_of(settings, number, "Compute", ["1"], [Answer(f"answer {number}")], ""))
        assert index.update()
        assert index.find(RolloutQuery(), 1).count == number
    await train_on(buffer, 1, 2)
    index.update()
    assert found(index, step=1) == ["1.0", "2.0"]
    buffer.close()


async def test_texts_go_with_the_segments_that_are_not_kept(settings: RunSettings) -> None:
    buffer = open_log(settings, segment_bytes=2000, kept_bytes=60_000)
    index = index_of(settings)
    for number in range(1, 21):
        await store(buffer, group_of(settings, number, "Compute", ["1"], [Answer(f"answer {number} " * 20)], ""))
        await train_on(buffer, number, 1)
        index.update()
        await buffer.release(number)
    index.update()
    kept = found(index, text="answer")
    buffer.close()
    assert 1 < len(kept) < 10
    assert kept[-1] == "20.0"
    folder = settings.run_directory / "replay"
    assert sum(file.stat().st_size for file in (folder / "kept").iterdir()) <= 60_000 < 20 * 12_288
    fresh = settings.run_directory / INDEX_FILE
    fresh.unlink()
    again = index_of(settings)
    again.update()
    assert found(again, text="answer") == kept
    assert again.detail(f"g000000{kept[0].zfill(4)}") is not None


async def test_a_rollout_in_full(settings: RunSettings) -> None:
    await write_two_groups(settings)
    index = index_of(settings)
    index.update()
    detail = index.detail("g00000002.0")
    assert detail is not None
    assert "".join(detail.tokens) == "Größe: \\boxed{1/3}<|end|>"
    # A letter of two bytes is its last token's.
    assert detail.tokens[:4] == ("G", "r", "", "ö")
    assert len(detail.log_probs) == len(detail.token_ids) == detail.rollout.length
    assert [(span.policy_version, span.start, span.end) for span in detail.spans] == [(2, 0, 10), (3, 10, 21)]
    assert detail.prompt == "Find the size"
    assert detail.rollout.references == ("1/4", "0.25")
    assert index.detail("g00000002.7") is None
    assert index.detail("nothing") is None


async def test_figures_by_source_and_what_there_is_to_choose(settings: RunSettings) -> None:
    await write_two_groups(settings)
    index = index_of(settings)
    index.update()
    assert index.choices() == {
        "rule": {"rational": 2, "text": 1, "no answer": 1},
        "source": {"geometry": 2, "sums": 2},
    }
    [row] = index.by_source()
    assert (row["step"], row["source"], row["responses"], row["reward"]) == (1, "sums", 2, 0.0)


async def test_a_run_begun_anew_has_none_of_the_rollouts_before(settings: RunSettings) -> None:
    await write_two_groups(settings)
    index = index_of(settings)
    index.update()
    shutil.rmtree(settings.run_directory)
    settings.run_directory.mkdir()
    index.update()
    assert index.find(RolloutQuery(), 1).count == 0


async def test_without_a_tokenizer_tokens_are_shown_and_texts_come_once_there_is_one(settings: RunSettings) -> None:
    await write_two_groups(settings)
    file = settings.model.folder / "tokenizer.json"
    aside = file.rename(file.with_suffix(".aside"))
    index = index_of(settings)
    index.update()
    assert "holds no tokenizer.json" in index.missing_tokenizer
    assert index.find(RolloutQuery(order="oldest"), 1).rollouts[0].response.startswith("<")
    aside.rename(file)
    again = index_of(settings)
    again.update()
    assert again.find(RolloutQuery(order="oldest"), 1).rollouts[0].response.startswith("It is")


async def test_several_may_read_at_once_while_the_log_is_written(settings: RunSettings) -> None:
    buffer = open_log(settings)
    indexes = [index_of(settings) for _ in range(4)]

    async def follow(index: RolloutIndex) -> None:
        while index.find(RolloutQuery(), 1).count < 60:
            await asyncio.to_thread(index.update)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        await asyncio.gather(*(asyncio.to_thread(index.prepare) for index in indexes))
        for index in indexes:
            tasks.create_task(follow(index))
        for number in range(30):
            answers = [Answer("one"), Answer("two")]
            await store(buffer, group_of(settings, number, "Compute", ["1"], answers, ""))
    buffer.close()
    everything = indexes[0].find(RolloutQuery(order="oldest"), 100)
    assert [rollout.rollout_id for rollout in everything.rollouts] == [
        f"g{number:08d}.{place}" for number in range(30) for place in range(2)
    ]
