"""`areal-mesh data preview`, and what config check says of prompts as the model would read them."""

import json
from pathlib import Path

import pytest

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.gaps import faults
from areal_mesh.cli.preview import preview
from areal_mesh.runtime.settings import load_settings
from tests.unit.tiny_model import write_prompts, write_tiny_model


def given(tmp_path: Path, *more: str) -> list[str]:
    model, file = write_tiny_model(tmp_path / "model"), write_prompts(tmp_path / "p.jsonl", count=5)
    return ["model.recipe=none", f"model.folder={model}", f"prompts.file={file}", "prompts.template=chat", *more]


def test_prompts_are_shown_with_their_token_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preview("trial", given(tmp_path), count=2, as_json=False)
    first, text, tokens, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "--- p0: 9 tokens; answer 2"
    assert text == "<|user|>1 1 1 <|assistant|>"
    assert "4:'1' 4:'1' 4:'1'" in tokens
    assert second.startswith("--- p1: ")


def test_each_prompt_is_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preview("trial", given(tmp_path, "prompts.max_prompt_tokens=5"), count=1, as_json=True)
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["id"], line["answers"], line["token_ids"]) == ("p0", ["2"], [])
    assert line["refused"].startswith("prompt too long: 9 tokens")


def test_what_is_wrong_with_every_prompt_is_said_by_the_preview_and_by_the_check(tmp_path: Path) -> None:
    overrides = given(tmp_path, "prompts.chat_template_kwargs={enable_thinking=false}")
    with pytest.raises(CommandFailed, match=r"chat_template_kwargs\.enable_thinking: the chat template does"):
        preview("trial", overrides, count=1, as_json=True)
    assert any("enable_thinking" in fault for fault in faults(load_settings("trial", overrides)))


def test_a_double_beginning_is_named_by_the_check(tmp_path: Path) -> None:
    overrides = given(tmp_path, "prompts.template=<|user|><|user|>{problem}")
    config = tmp_path / "model" / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"bos_token": "<|user|>"}))
    from tokenizers import Tokenizer

    file = str(tmp_path / "model" / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    tokenizer.add_special_tokens(["<|user|>"])
    tokenizer.save(file)
    found = list(faults(load_settings("trial", overrides)))
    assert any("token 1, with which a text begins for this model, stands twice" in fault for fault in found), found


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = [*given(tmp_path), f"model.folder={tmp_path / 'none'}"]
    with pytest.raises(CommandFailed, match=r"no tokenizer to show prompts with: .* holds no tokenizer\.json"):
        preview("trial", missing, count=1, as_json=False)


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    overrides = given(tmp_path)
    (tmp_path / "p.jsonl").write_text("nonsense\n")
    with pytest.raises(CommandFailed, match=r"p\.jsonl, line 1: is not JSON"):
        preview("trial", overrides, count=1, as_json=False)


def test_a_chat_template_of_ones_own_is_used_instead_of_the_tokenizers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "mine.jinja"
    own.write_text(
        "<|user|>{{ messages[-1].content | upper }} {% if loud %}. .{% endif %}<|assistant|>", encoding="utf-8"
    )
    overrides = given(tmp_path, f"prompts.chat_template={own}", "prompts.chat_template_kwargs={loud=true}")
    preview("trial", overrides, count=1, as_json=False)
    assert capsys.readouterr().out.splitlines()[1] == "<|user|>1 1 1  . .<|assistant|>"
    # A tokenizer without one of its own will do then.
    config = tmp_path / "model" / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | {"chat_template": ""}))
    assert list(faults(load_settings("trial", overrides))) == []
    own.unlink()
    (fault, *_) = faults(load_settings("trial", overrides))
    assert fault.startswith(f"prompts.chat_template = {own}: no such file")
