"""Rewards of the user's own through the verifier, each in a real process; and a judge over real HTTP."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.rewards.process import RewardProcess
from areal_mesh.rewards.table import targets_of
from areal_mesh.rewards.target import Target
from areal_mesh.rewards.values import Group, RewardFailed, RewardUnusable
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.settings import VerifierSettings
from areal_mesh.runtime.settings.rewards import RewardSettings
from areal_mesh.v1 import rollout_pb2, verifier_pb2
from areal_mesh.verifier.service import build
from tests.integration.test_verifier_service import DEADLINE, ERROR, INCORRECT, context_of, serving

CODE = """\
import os, time
import beside

def score(response, tokens):
    print("scored", response)
    return beside.HALF * tokens

def hangs(response):
    time.sleep(60 if response == "slow" else 0)
    return 1

def dies(response):
    if response == "die":
        os._exit(3)
    return 1

def shortest(responses, tokens, verdicts):
    return [float(count == min(tokens)) for count in tokens]
"""
GROUP = Group("2 + 2?", ["4"], "", ["4"], ["correct"], ["stop"], [6])


BROKEN = """\
def broken(response):
    return {}['no']
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("HALF = 0.5\n", encoding="utf-8")
    file = tmp_path / "mine.py"
    file.write_text(CODE, encoding="utf-8")
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    return file


def request_of(*responses: str, golds: tuple[str, ...] = ("4",)) -> verifier_pb2.VerifyRequest:
    items = [
        verifier_pb2.VerifyItem(
            response=response, gold_answers=golds, response_tokens=index + 2, problem="2 + 2?", group="g"
        )
        for index, response in enumerate(responses)
    ]
    return verifier_pb2.VerifyRequest(items=items)


async def verdicts_of(tmp_path: Path, request: Any, **verifier: Any) -> list[rollout_pb2.Verdict]:
    service = build(context_of(tmp_path, workers=1, **verifier))
    async with serving(service.attach) as stub:
        try:
            await service.start()
            return list((await stub.Verify(request, timeout=DEADLINE)).verdicts)
        finally:
            await service.close()


async def test_functions_are_added_to_correctness_and_told_apart(tmp_path: Path, mine: Path) -> None:
    request = request_of(r"\boxed{4}", r"\boxed{5}")
    verdicts = await verdicts_of(tmp_path, request, reward=[f"{mine}:score", f"{mine}:shortest"])
    # (s - 0.5) * 2 for s = +1 and -1; half a token; and 1 for the shorter.
    assert [verdict.reward for verdict in verdicts] == [1 + 1 + 1, -3 + 1.5 + 0]
    terms = [{term.name: term.value for term in verdict.terms} for verdict in verdicts]
    assert terms[0] == {"correctness": 1.0, "score": 1.0, "shortest": 1.0}
    assert terms[1] == {"correctness": -3.0, "score": 1.5, "shortest": 0.0}


async def test_a_reward_alone_needs_no_reference(tmp_path: Path, mine: Path) -> None:
    request = request_of("anything", r"\boxed{5}", golds=())
    verdicts = await verdicts_of(tmp_path, request, reward=f"{mine}:score", reward_alone=True)
    assert [(verdict.status, verdict.reward, verdict.rule) for verdict in verdicts] == [
        (INCORRECT, 1.0, "no reference"),
        (INCORRECT, 1.5, "no reference"),
    ]


async def test_a_function_that_fails_makes_errors_with_its_line_as_the_rule(tmp_path: Path, mine: Path) -> None:
    [verdict] = await verdicts_of(tmp_path, request_of(r"\boxed{4}"), reward=f"{mine.parent / 'broken.py'}:broken")
    assert (verdict.status, verdict.rule) == (ERROR, "reward broken: broken.py:2: KeyError")


async def test_a_function_that_cannot_be_loaded_stops_the_verifier_at_its_start(tmp_path: Path, mine: Path) -> None:
    service = build(context_of(tmp_path, workers=1, reward=f"{mine}:scor"))
    with pytest.raises(StartupError, match=r"verifier\.reward: .*has no function 'scor'; did you mean score"):
        await service.start()
    await service.close()


@pytest.mark.parametrize(("function", "response", "what"), [("hangs", "slow", "no answer"), ("dies", "die", "code 3")])
async def test_a_process_that_is_late_or_dies_is_started_anew(
    mine: Path, function: str, response: str, what: str
) -> None:
    reward = RewardProcess(Target(function, f"{mine}:{function}", RewardSettings(seconds=0.5)))
    bad = Group("", ["4"], "", [response], ["correct"], ["stop"], [1])
    try:
        await reward.start()
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(RewardFailed, match=what):
                await reward.ask(bad)
            assert await reward.ask(GROUP) == [1.0]
            # Who waits for a turn meanwhile takes one of the next life.
            outcomes = await asyncio.gather(reward.ask(bad), reward.ask(GROUP), return_exceptions=True)
        assert isinstance(outcomes[0], RewardFailed)
        assert outcomes[1] == [1.0]
    finally:
        await reward.close()


class Judge(BaseHTTPRequestHandler):
    """Rewards the length of each response; busy first, and gone for the group that asks for it."""

    busy = 1
    seen: list[tuple[dict[str, Any], str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((body, self.headers.get("Authorization", "")))
        if Judge.busy:
            Judge.busy -= 1
            self.send_response(503)
            self.end_headers()
            return
        if body["problem"] == "refuse":
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b"no such rubric")
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"rewards": [len(text) for text in body["responses"]]}).encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def judge() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Judge) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/judge"
        finally:
            server.shutdown()
            thread.join(DEADLINE)


async def test_a_judge_is_posted_a_group_again_while_it_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_TOKEN", "key")
    with judge() as url:
        section = {"url": url, "token_variable": "JUDGE_TOKEN", "weight": 2.0}
        [target] = targets_of(VerifierSettings.model_validate({"reward": section}).reward)
        reward = RewardProcess(target)
        try:
            assert await reward.ask(Group("p", ["4"], "s", ["ab", "c"], ["correct"] * 2, ["stop"] * 2, [1, 1])) == [
                4,
                2,
            ]
            with pytest.raises(RewardFailed, match=r"reward judge: .*answered 400 Bad Request: no such rubric"):
                await reward.ask(Group("refuse", [], "", ["a"], ["correct"], [""], [1]))
        finally:
            await reward.close()
    body, authorization = Judge.seen[-2]
    assert authorization == "Bearer key"
    assert (body["references"], body["source"], body["tokens"]) == (["4"], "s", [1, 1])


async def test_a_judge_that_is_away_is_named_within_the_deadline() -> None:
    [target] = targets_of(
        VerifierSettings.model_validate({"reward": {"url": "http://127.0.0.1:9/x", "seconds": 1.5}}).reward
    )
    reward = RewardProcess(target)
    try:
        with pytest.raises(RewardFailed, match=r"http://127\.0\.0\.1:9/x cannot be reached: .*refused"):
            await reward.ask(GROUP)
    finally:
        await reward.close()


async def test_a_module_that_ends_its_process_is_said(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import os\nos._exit(7)\n", encoding="utf-8")
    reward = RewardProcess(Target("score", f"{tmp_path / 'ends.py'}:score"))
    with pytest.raises(RewardUnusable, match=r"its process ended \(exit code 7\)"):
        await reward.start()
