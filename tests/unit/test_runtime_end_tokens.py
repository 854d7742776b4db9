"""End tokens: all that are named anywhere, none that the model does not have."""

from pathlib import Path

import pytest

from areal_mesh.runtime.end_tokens import EndTokenError, check_end_tokens, end_token_ids


def test_a_model_whose_configs_name_none_ends_by_its_tokenizers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"vocab_size": 10, "eos_token_id": null}')
    (tmp_path / "generation_config.json").write_text("{}")
    assert end_token_ids(tmp_path, 4, []) == (4,)


def test_all_that_are_named_are_taken_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"vocab_size": 10, "eos_token_id": 4}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [9, 4]}')
    assert end_token_ids(tmp_path, 2, [0, 9]) == (0, 2, 4, 9)


def test_a_vocabulary_of_unknown_size_takes_every_id(tmp_path: Path) -> None:
    assert end_token_ids(tmp_path, 10**6, []) == (10**6,)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ('{"vocab_size": 5, "eos_token_id": 5}', r"config\.json: the end token 5 is outside .* of 5 tokens"),
        ('{"vocab_size": 5, "eos_token_id": -1}', "the end token -1 is outside"),
        ('{"eos_token_id": true}', "eos_token_id: expected a token id or several, got true"),
        ('{"eos_token_id": [1, "</s>"]}', "eos_token_id: expected a token id or several"),
        ("{", r"config\.json: cannot be read as JSON"),
    ],
)
def test_what_cannot_be_an_end_token_is_named_with_its_place(config: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(EndTokenError, match=says):
        check_end_tokens(tmp_path, [])
    with pytest.raises(EndTokenError, match=says):
        end_token_ids(tmp_path, 1, [])
