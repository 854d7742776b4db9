"""What of a model folder and the settings cannot go together is found in the files alone, and what can is let be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.cli.gaps import missing_interfaces
from areal_mesh.cli.model_check import has_chat_template, model_faults, positions_of
from areal_mesh.cli.prompt_lengths import prompts_too_long
from areal_mesh.cli.weights_check import weight_faults
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings
from tests.unit.tiny_model import write_prompts, write_safetensors, write_tiny_model


@pytest.fixture
def chosen(tmp_path: Path) -> list[str]:
    """Overrides for the trial's settings: a model and prompts with which it could be trained."""
    model, prompts = write_tiny_model(tmp_path / "model"), write_prompts(tmp_path / "prompts.jsonl")
    return [f"model.folder={model}", f"prompts.file={prompts}", "model.recipe=none", f"directory={tmp_path / 'runs'}"]


def settings_with(chosen: list[str], *overrides: str) -> RunSettings:
    return load_settings("trial", [*chosen, *overrides])


def test_a_model_with_which_all_is_well_has_no_fault(chosen: list[str]) -> None:
    assert list(model_faults(settings_with(chosen))) == []


def test_what_is_not_there_is_no_fault_of_a_model(chosen: list[str], tmp_path: Path) -> None:
    assert list(model_faults(settings_with(chosen, f"model.folder={tmp_path / 'none'}"))) == []


# --- weights ---------------------------------------------------------------------------------------------------------

SPECIAL = {
    "F64": (np.array([np.nan]).tobytes(), np.array([-np.inf]).tobytes(), np.array([1.7e308]).tobytes()),
    "F32": tuple(np.array([value], np.float32).tobytes() for value in (np.nan, np.inf, 3.4e38)),
    "F16": tuple(np.array([value], np.float16).tobytes() for value in (np.nan, np.inf, 65504)),
    "BF16": tuple(np.array([bits], np.uint16).tobytes() for bits in (0x7FC0, 0xFF80, 0x7F7F)),
    "F8_E5M2": (b"\x7e", b"\xfc", b"\x7b"),
    "F8_E4M3": (b"\x7f", b"\xff", b"\x7e"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_not_finite_is_found_in_every_format_and_the_largest_number_is_none(kind: str, tmp_path: Path) -> None:
    *specials, largest = SPECIAL[kind]
    good = largest * 1000
    for position, special in ((0, specials[0]), (500, specials[1]), (999, specials[0])):
        size = len(largest)
        data = good[: position * size] + special + good[(position + 1) * size :]
        write_safetensors(tmp_path / "model.safetensors", {"a": (kind, good), "b": (kind, data)})
        (fault,) = weight_faults(tmp_path)
        assert "model.safetensors: the weight b holds NaN or infinity" in fault
    write_safetensors(tmp_path / "model.safetensors", {"a": (kind, good)})
    assert list(weight_faults(tmp_path)) == []


@settings(deadline=None)  # the first example imports numpy
@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_a_weight_is_at_fault_just_where_numpy_finds_it_not_finite(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    numbers = np.array(values, np.float32)
    write_safetensors(folder / "model.safetensors", {"a": ("F32", numbers.tobytes())})
    assert bool(list(weight_faults(folder))) == (not np.isfinite(numbers).all())


def test_whole_numbers_are_let_be_and_every_file_is_looked_at(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-1.safetensors", {"a": ("I32", b"\xff\xff\xff\x7f"), "b": ("U8", b"\x7f")})
    write_safetensors(tmp_path / "model-2.safetensors", {"c": ("BF16", b"\xc0\x7f")})
    (fault,) = weight_faults(tmp_path)
    assert "model-2.safetensors: the weight c" in fault


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "it holds 2"),
        (lambda data: data[:20], "its header is damaged or cut off"),
        (lambda data: b"", "its header is damaged or cut off"),
        (lambda data: b"\xff" * 8 + data[8:], "its header is damaged or cut off"),
        (lambda data: data.replace(b"data_offsets", b"bata_offsets"), "its header names no 'data_offsets'"),
        (lambda data: data.replace(b'{"', b'["', 1), "cannot be read as safetensors"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: Any, words: str) -> None:
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {"a": ("F32", bytes(160))})
    file.write_bytes(damage(file.read_bytes()))
    (fault,) = weight_faults(tmp_path)
    assert words in fault
    assert fault.startswith(f"{file}: cannot be read as safetensors")


def test_a_weight_that_is_not_finite_names_the_key_and_what_would_do(chosen: list[str], tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model", nan=True)
    (fault,) = model_faults(settings_with(chosen))
    assert fault.startswith(f"model.folder = {tmp_path / 'model'}: ")
    assert fault.endswith("the weight lm_head.weight holds NaN or infinity, so that nothing can be sampled; copy it "
                          "anew, or name another model")  # fmt: skip


# --- positions -------------------------------------------------------------------------------------------------------


def test_stages_that_do_not_fit_the_models_positions_are_named(chosen: list[str]) -> None:
    fits = settings_with(chosen, "stages.1.max_response_tokens=448")
    assert list(model_faults(fits)) == []
    faults = list(
        model_faults(settings_with(chosen, "stages.1.max_response_tokens=449", "stages.2.max_response_tokens=1000"))
    )
    assert [fault.split(" = ")[0] for fault in faults] == [
        "stages.1.max_response_tokens",
        "stages.2.max_response_tokens",
    ]
    assert "that is 513 tokens" in faults[0]
    assert "has 512 positions; lower one of them, or name another model" in faults[0]


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({}, None),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 100, "rope_scaling": {"type": "linear", "factor": 4.0}}, 400),
        ({"max_position_embeddings": 100, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 100),
        ({"max_position_embeddings": 100, "rope_scaling": None, "rope_parameters": {"rope_type": "default"}}, 100),
        ({"max_position_embeddings": 100, "model_max_length": 300}, 300),
    ],
)
def test_positions_are_those_that_the_engine_counts(config: dict[str, Any], positions: int | None) -> None:
    assert positions_of(config) == positions


def test_a_configuration_that_is_no_json_is_named(chosen: list[str], tmp_path: Path) -> None:
    (tmp_path / "model" / "config.json").write_text("[]")
    assert any("config.json is no JSON object" in fault for fault in model_faults(settings_with(chosen)))


# --- templates and prompts -------------------------------------------------------------------------------------------


def test_a_tokenizer_without_a_chat_template_needs_the_prompt_written_out(chosen: list[str], tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model", template="")
    (fault,) = model_faults(settings_with(chosen))
    assert fault.startswith('prompts.template = "chat": the tokenizer in ')
    assert "{problem}" in fault
    assert list(model_faults(settings_with(chosen, "prompts.template=Q {problem} A"))) == []
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages }}")
    assert list(model_faults(settings_with(chosen))) == []


def test_a_folder_without_a_tokenizer_is_not_said_to_lack_a_template(tmp_path: Path) -> None:
    assert has_chat_template(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert not has_chat_template(tmp_path)


def test_prompts_that_are_all_too_long_are_named_with_the_shortest(chosen: list[str], tmp_path: Path) -> None:
    (fault,) = prompts_too_long(settings_with(chosen, "prompts.max_prompt_tokens=2"))
    assert fault.startswith("prompts.max_prompt_tokens = 2: the shortest of ")
    assert "has 3 tokens, so all would be filtered" in fault
    assert list(prompts_too_long(settings_with(chosen, "prompts.max_prompt_tokens=3"))) == []


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A thousand long problems, and then as many short ones."""
    long, short = (json.dumps({"id": "x", "problem": "1 " * words, "answer": "2"}) for words in (90, 3))
    file = tmp_path / "mixed.jsonl"
    file.write_text("\n".join([long] * 1000 + [short] * 1000))
    return file


def test_the_sample_is_of_the_whole_file_or_of_the_lines_that_are_used(chosen: list[str], mixed: Path) -> None:
    of_mixed = [*chosen, f"prompts.file={mixed}", "prompts.max_prompt_tokens=64"]
    assert list(prompts_too_long(settings_with(of_mixed))) == []
    (fault,) = prompts_too_long(settings_with(of_mixed, "prompts.count=1000"))
    assert "the shortest of 125 prompts" in fault
    assert list(prompts_too_long(settings_with(of_mixed, "prompts.count=1200"))) == []


# --- the machine and the numbers -------------------------------------------------------------------------------------


def test_a_network_interface_that_is_not_here_is_named_with_those_that_are(
    chosen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    (gap,) = missing_interfaces(settings_with(chosen, "weights.transport.interface=nope"))
    assert gap.startswith(
        "weights.transport.interface = nope: this machine has no such network interface; name one of "
    )
    assert list(missing_interfaces(settings_with(chosen, "weights.transport.interface=lo"))) == []
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth99")
    (gap,) = missing_interfaces(settings_with(chosen))
    assert gap.startswith("$GLOO_SOCKET_IFNAME in the environment = eth99: ")


@pytest.mark.parametrize("key", ["seed", "model.recipe.seed"])
def test_a_seed_has_as_many_bits_as_every_generator_takes(key: str) -> None:
    assert load_settings("trial", [f"{key}={2**32 - 1}"])
    with pytest.raises(SettingsError, match=rf"{key}: Input should be less than 4294967296"):
        load_settings("trial", [f"{key}={2**32}"])
