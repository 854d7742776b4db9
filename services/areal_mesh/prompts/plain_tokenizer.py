"""A tokenizer read from a model's folder by the `tokenizers` library alone: no transformers, no torch, no wait.

It renders the chat template as transformers does: the same sandbox, filters and functions, and special tokens by their
names. For a prompt to be shown or checked before a run; the generator samples with the model's own tokenizer.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from areal_mesh.prompts.renderer import AddedToken

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_NAMED_TEMPLATE = "default"


class NoPlainTokenizer(ValueError):
    """The folder's tokenizer cannot be read by this library alone; the generator may read it all the same."""


class PlainTokenizer:
    """A `Tokenizer` (see `renderer`), and what its chat template is."""

    def __init__(self, tokenizer: Any, special: Mapping[str, str], chat_template: str) -> None:
        self._tokenizer = tokenizer
        self._special = dict(special)
        self.chat_template = chat_template
        """Empty where the folder has none."""

    @property
    def eos_token_id(self) -> int | None:
        """The end token; None where there is none."""
        return self._id_of("eos_token")

    @property
    def unk_token_id(self) -> int | None:
        """The token of what has none; None where there is none."""
        return self._id_of("unk_token")

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a text; None where there is none."""
        return self._id_of("bos_token")

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]:
        """Added tokens by their ids."""
        found: Mapping[int, AddedToken] = self._tokenizer.get_added_tokens_decoder()
        return found

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> str:
        """The conversation as text, by the folder's template or another. Raises what jinja raises."""
        template = _environment().from_string(self.chat_template if chat_template is None else chat_template)
        given = self._special | kwargs
        text: str = template.render(
            messages=conversation, tools=None, documents=None, add_generation_prompt=add_generation_prompt, **given
        )
        return text

    def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool = False) -> list[int]:
        """Token ids of a text."""
        self._tokenizer.encode_special_tokens = split_special_tokens
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Text of token ids."""
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=skip_special_tokens)
        return text

    def pieces(self, token_ids: Sequence[int]) -> tuple[str, ...]:
        """Text of each token, special tokens written out; together the text of all.

        A character of several tokens is the last one's.
        """
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=False)
        found = [stream.step(self._tokenizer, token_id) or "" for token_id in token_ids]
        rest = self.decode(token_ids, skip_special_tokens=False)[sum(map(len, found)) :]
        if found:
            found[-1] += rest
        return tuple(found)

    def token(self, token_id: int) -> str:
        """One token as the vocabulary has it."""
        return str(self._tokenizer.id_to_token(token_id))

    def _id_of(self, name: str) -> int | None:
        content = self._special.get(name)
        found: int | None = None if content is None else self._tokenizer.token_to_id(content)
        return found


def load_plain_tokenizer(folder: Path) -> PlainTokenizer:
    """The tokenizer of a model's folder.

    Raises:
        NoPlainTokenizer: the library or the folder's `tokenizer.json` is not there, or it cannot be read.
    """
    try:
        import jinja2  # noqa: F401 what a chat template needs
        from tokenizers import Tokenizer
    except ImportError as error:
        raise NoPlainTokenizer(f"{error}; install areal-mesh[generator,cpu] or areal-mesh[generator,gpu]") from error
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise NoPlainTokenizer(f"{folder} holds no tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        raise NoPlainTokenizer(f"{file}: {error}") from error
    config = _object(folder / "tokenizer_config.json")
    special = {name: _content(config[name]) for name in _SPECIAL if config.get(name)}
    return PlainTokenizer(tokenizer, special, _chat_template(folder, config))


def template_variables(chat_template: str) -> frozenset[str]:
    """Names that a chat template reads and does not set itself. Raises what jinja raises."""
    from jinja2 import meta

    return frozenset(meta.find_undeclared_variables(_environment().parse(chat_template)))


def _environment() -> Any:
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The block that marks what an assistant wrote; its content stands as it is."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    # Not jinja's own, which escapes for HTML.
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(value: Any, **options: Any) -> str:
    return json.dumps(value, **({"ensure_ascii": False} | options))


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().astimezone().strftime(form)


def _chat_template(folder: Path, config: Mapping[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template") or _object(folder / "chat_template.json").get("chat_template") or ""
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get(_NAMED_TEMPLATE, "")
    return str(template)


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _object(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none to be read, which is told elsewhere."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
