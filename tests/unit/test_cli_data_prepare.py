"""`areal-mesh data prepare`: by name and by file, what it writes over and what not, and a set of 40,000 lines."""

import importlib.util
import json
import re
import resource
import sys
import time
from pathlib import Path

import pytest

from areal_mesh.cli.main import main
from areal_mesh.cli.prompt_check import prompt_faults
from areal_mesh.runtime.settings import load_settings
from tests.unit.simulated_hub import hub
from tests.unit.tiny_model import write_tiny_model

ROWS = [
    {"problem": "What is 1 + 1?", "answer": "2", "solution": "so \\boxed{2}"},
    {"problem": "What is one half?", "answer": "\\frac{1}{2}", "solution": ""},
    {"problem": "Half of what?", "answer": None},
]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["data", "prepare", *words])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_a_named_set_becomes_a_prompt_file_that_a_run_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deepscaler.json").write_text(json.dumps(ROWS), encoding="utf-8")
    code, printed, _ = run(capsys, "deepscaler", "--folder", str(tmp_path))
    assert code == 0
    assert "3 lines, 2 kept" in printed
    assert "line 3: answer: expected" in printed
    made = tmp_path / "deepscaler-prompts.jsonl"
    lines = [json.loads(line) for line in made.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {"id": "deepscaler-1", "problem": "What is 1 + 1?", "solutions": ["2"], "source": "deepscaler"}
    assert list(prompt_faults(load_settings("trial", [f"prompts.file={made}", "model.recipe="]))) == []
    report = json.loads((tmp_path / "deepscaler-prompts.report.json").read_text(encoding="utf-8"))
    assert (report["read"], report["kept"]) == (3, 2)
    assert report["lines"] == [{"line": 3, "kind": "cannot be used", "text": report["lines"][0]["text"]}]


def test_what_was_made_is_made_anew_and_what_is_somebodys_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    for _ in range(2):
        assert run(capsys, str(file))[0] == 0
    made = tmp_path / "mine-prompts.jsonl"
    made.write_text(made.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    changed = made.read_bytes()
    code, _, said = run(capsys, str(file))
    assert (code, made.read_bytes()) == (1, changed)
    assert "left as it is; name another with --output" in said
    code, _, said = run(capsys, str(file), "--output", str(file))
    assert code == 1
    assert "left as it is" in said


def test_a_set_that_is_not_there_says_which_file_belongs_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, said = run(capsys, "areal", "--folder", str(tmp_path))
    place = tmp_path / "areal" / "prompts_for_r1_distilled.jsonl"
    assert code == 1
    assert f"put https://huggingface.co/datasets/inclusionAI/AReaL-RL-Data/resolve/main/data/{place.name} there" in said
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    code, _, said = run(capsys, "areal", "--folder", str(tmp_path), "--from", "hub")
    assert code == 1
    assert f"put it here as {place}" in said
    place.parent.mkdir(exist_ok=True)
    place.write_text('{"prompt": "p", "query_id": "a"}\n', encoding="utf-8")
    code, _, said = run(capsys, "areal", "--folder", str(tmp_path))
    assert f"as {place.with_name('id2info.json')}, or name it with --metadata" in said
    place.with_name("id2info.json").write_text('{"a": {"solutions": ["\\\\boxed{3}", 4]}}', encoding="utf-8")
    assert run(capsys, "areal", "--folder", str(tmp_path))[0] == 0
    [line] = (tmp_path / "areal-prompts.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["solutions"] == ["3", "4"]
    code, _, said = run(capsys, "nothing")
    assert "no data set of that name; there are areal, areal-zero, deepscaler, orz, math, gsm8k, aime, amc, re" in said


def test_lengths_are_those_of_the_presets_tokenizer_and_template(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.jsonl"
    rows = [{"problem": "1 " * count, "answer": "1"} for count in (3, 9)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = write_tiny_model(tmp_path / "model")
    code, printed, _ = run(capsys, str(file), "--tokenizer", str(model), "--max-prompt-tokens", "9")
    assert (code, "2 lines, 2 kept" in printed) == (0, True)
    assert f"by the tokenizer in {model}; at most 9" in printed
    preset = tmp_path / "mine.toml"
    prompts = '[prompts]\ntemplate = "<|user|>{problem}<|assistant|>"\nmax_prompt_tokens = 9\n'
    preset.write_text(f'extends = "trial"\n[model]\nfolder = "{model}"\n{prompts}', encoding="utf-8")
    code, printed, _ = run(capsys, str(file), "--preset", str(preset))
    assert code == 0
    assert re.search(r"line 2: 1\d tokens, more than 9", printed), "nine of the problem, and the template"


def test_a_task_makes_its_problems_up_where_the_package_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("reasoning-gym/chain_sum", "--folder", str(tmp_path), "--count", "40")
    if importlib.util.find_spec("reasoning_gym") is None:
        code, _, said = run(capsys, *words)
        assert (code, "needs the package reasoning-gym; pip install reasoning-gym" in said) == (1, True)
        return
    made = tmp_path / "reasoning-gym-chain_sum-prompts.jsonl"
    texts = []
    for seed in ("1", "1", "2"):
        assert run(capsys, *words, "--seed", seed)[0] == 0
        texts.append(made.read_text(encoding="utf-8"))
    assert texts[0] == texts[1] != texts[2]
    assert "no such task" in run(capsys, "reasoning-gym/chain_sums")[2]


def test_evaluation_sets_are_named_and_missing_ones_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, against = tmp_path / "mine.jsonl", tmp_path / "aime24.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    against.write_text('{"id": 60, "problem": "What is 1+1?", "answer": "2"}\n', encoding="utf-8")
    code, printed, _ = run(capsys, str(file), "--against", str(against), "--json")
    report = json.loads(printed)
    assert (code, report["against"]["problems"]) == (0, 1)
    assert report["lines"][0]["text"] == "100% of its n-grams are those of aime24/60"
    code, _, said = run(capsys, str(file), "--against", "none.jsonl")
    assert (code, "no such file; give a set's file" in said) == (1, True)
    code, _, said = run(capsys, str(file), "--overlap", "50")
    assert (code, "--overlap 50: a share is over 0 and at most 1" in said) == (2, True)


def test_a_set_of_forty_thousand_lines_takes_under_a_minute_and_a_gigabyte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "synthetic.jsonl"
    with file.open("w", encoding="utf-8") as stream:
        for number in range(40_315):
            text = f"Let $x_{{{number}}}$ be a root of $x^2 - {number}x + {number % 97} = 0$ in $[0, {number}]$."
            answer = f"\\frac{{{number}}}{{{number % 89 + 2}}}" if number % 2 else str(number)
            row = {"problem": f"{text} " * 3, "answer": answer, "source": f"s{number % 5}"}
            stream.write(json.dumps(row) + "\n")
    against = tmp_path / "evaluation.jsonl"
    said = "Evaluate the sum of all divisors of the number"
    questions = (f"{said} {number} that leave a remainder of one when divided by three." for number in range(600))
    against.write_text("".join(json.dumps({"problem": text}) + "\n" for text in questions), encoding="utf-8")
    started = time.monotonic()
    code, printed, _ = run(capsys, str(file), "--against", str(against), "--json")
    seconds, kibibytes = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert code == 0
    assert json.loads(printed)["kept"] == 40_315
    print(f"40,315 lines: {seconds:.1f} s, {kibibytes / 1024:.0f} MiB at most", file=sys.stderr)
    assert seconds < 60
    assert kibibytes < 1e9 / 1024


def test_any_file_of_the_hub_is_fetched_once_with_the_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    path = "/datasets/anna/sums/resolve/main/data/train.jsonl"
    with hub({path: content}, token="secret") as made:
        monkeypatch.setenv("HF_ENDPOINT", made.address)
        code, _, said = run(capsys, "hub:anna/sums/data/train.jsonl", "--folder", str(tmp_path))
        assert (code, "401" in said) == (1, True), "a private set, and no token"
        monkeypatch.setenv("HF_TOKEN", "secret")
        code, printed, said = run(capsys, "hub:anna/sums/data/train.jsonl", "--folder", str(tmp_path))
        assert code == 0, said
        assert "3 lines, 2 kept" in printed
        code, _, said = run(capsys, "hub:anna/sums/data/none.jsonl", "--folder", str(tmp_path))
        assert code == 1
        assert f"put it here as {tmp_path / 'anna/sums/data/none.jsonl'}" in said
    assert run(capsys, "hub:anna/sums/data/train.jsonl", "--folder", str(tmp_path))[0] == 0, "it is there now"


@pytest.mark.parametrize("wanted", ["hub:", "hub:anna/sums", "hub:anna/sums/../x", "hub:/a/b"])
def test_a_file_of_the_hub_is_named_by_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wanted: str
) -> None:
    code, _, said = run(capsys, wanted, "--folder", str(tmp_path))
    assert code == 1
    assert "write hub:OWNER/NAME/PATH" in said
