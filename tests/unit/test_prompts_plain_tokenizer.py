"""The tokenizer that needs no transformers reads as transformers does, and says what a chat template does not read."""

import json
from pathlib import Path

import pytest

from areal_mesh.prompts.inspection import unread_settings
from areal_mesh.prompts.plain_tokenizer import NoPlainTokenizer, load_plain_tokenizer
from areal_mesh.prompts.renderer import PromptRenderer
from areal_mesh.runtime.settings import PromptSettings
from areal_mesh.v1 import rollout_pb2
from tests.unit.tiny_model import WORDS, write_tiny_model

QWEN3 = """{%- if messages[0].role == 'system' %}<|user|>{{ messages[0].content }}
{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}
{%- for message in rest %}<|user|>{{ message['content'] | trim }}{%- generation %}{%- endgeneration %}{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>
{%- if enable_thinking is defined and enable_thinking is false %}unknown 1{%- endif %}{%- endif %}"""


def model(folder: Path, template: str = QWEN3) -> Path:
    """The words of the tiny model, of which those in bars are control tokens."""
    from tokenizers import AddedToken, Tokenizer

    write_tiny_model(folder, template=template)
    file = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in WORDS[:3]])
    tokenizer.save(file)
    # Of a model that transformers knows it would take that model's tokenizer, with these words in it.
    (folder / "config.json").unlink()
    return folder


def prompts(**given: object) -> PromptSettings:
    return PromptSettings.model_validate({"file": "p.jsonl", **given})


GIVEN: dict[str, dict[str, object]] = {
    "plain": {},
    "system": {"system": "Compute 1 ."},
    "thinking off": {"chat_template_kwargs": {"enable_thinking": False}},
    "prefill": {"prefill": "Compute 1"},
    "literal": {"template": "<|user|> {problem} <|assistant|>"},
}


@pytest.mark.parametrize("given", GIVEN)
def test_prompts_are_those_of_transformers(tmp_path: Path, given: str) -> None:
    transformers = pytest.importorskip("transformers", reason="install areal-mesh[learner]")
    folder, settings = model(tmp_path / "model"), prompts(**GIVEN[given])
    theirs = PromptRenderer(transformers.AutoTokenizer.from_pretrained(folder), settings)
    ours = PromptRenderer(load_plain_tokenizer(folder), settings)
    for problem in ("Compute 1 + 1 .", "1 <|end|> + <|user|>", "  1  "):
        assert ours.text(problem) == theirs.text(problem)
        prompt = problem_message(problem)
        assert ours.token_ids(prompt) == theirs.token_ids(prompt)
    assert ours.begin_token_id == theirs.begin_token_id
    tokenizer = load_plain_tokenizer(folder)
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, None)


def problem_message(problem: str) -> rollout_pb2.Prompt:
    return rollout_pb2.Prompt(problem=problem)


def test_the_thinking_switch_reaches_the_template(tmp_path: Path) -> None:
    tokenizer = load_plain_tokenizer(model(tmp_path / "model"))
    off = prompts(chat_template_kwargs={"enable_thinking": False})
    assert PromptRenderer(tokenizer, off).text("1").endswith("<|assistant|>unknown 1")
    assert PromptRenderer(tokenizer, prompts()).text("1").endswith("<|assistant|>")
    assert list(unread_settings(tokenizer, off)) == []


def test_what_the_chat_template_does_not_read_is_named(tmp_path: Path) -> None:
    template = "{% for m in messages if m.role == 'user' %}<|user|>{{ m.content }}{% endfor %}{{ style }}"
    tokenizer = load_plain_tokenizer(model(tmp_path / "model", template))
    unread = prompts(system="Be brief.", chat_template_kwargs={"enable_thinking": False, "style": "x"})
    faults = list(unread_settings(tokenizer, unread))
    assert len(faults) == 2
    assert "prompts.chat_template_kwargs.enable_thinking: the chat template does not read it; it reads" in (faults[0])
    assert "style" in faults[0]
    assert "prompts.system: the chat template leaves it out" in faults[1]


def test_a_template_of_several_is_the_default_one_and_a_file_of_its_own_comes_first(tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_plain_tokenizer(folder).chat_template == "d"
    (folder / "chat_template.jinja").write_text("f")
    assert load_plain_tokenizer(folder).chat_template == "f"


def test_a_folder_without_a_tokenizer_that_can_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoPlainTokenizer, match=r"holds no tokenizer\.json"):
        load_plain_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(NoPlainTokenizer, match=r"tokenizer\.json"):
        load_plain_tokenizer(tmp_path)
