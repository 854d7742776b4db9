"""The arithmetic task's own tokenizer: one token a digit, a sign, the word that asks or the opening of the box.

It is an ordinary byte-level Qwen2 tokenizer without merges, with a vocabulary of its own and a chat template, so a
problem is rendered, tokenized and decoded by the same path as a pretrained model's. The class matters: transformers
loads every tokenizer beside a Qwen2 model as this class and rebuilds its splitting rules, whatever was saved.
"""

from tokenizers import AddedToken
from transformers import Qwen2Tokenizer

PAD, END = "<|pad|>", "<|end|>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (PAD, END, SYSTEM, USER, ASSISTANT)
WORDS = ("Compute", "\\boxed{")
BYTES = (*"0123456789+-*/=().,?}", "Ġ", "Ċ")
"""Single characters as the byte-level alphabet writes them: the last two are the space and the line feed."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] -}}"
    "{%- if message['role'] == 'assistant' -%}{{- '<|end|>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def build_tokenizer() -> Qwen2Tokenizer:
    """A new tokenizer. Characters outside its small vocabulary have no token and are left out of the ids."""
    tokens = (*SPECIAL_TOKENS, *WORDS, *BYTES)
    tokenizer = Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[],
        unk_token=PAD,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in WORDS])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
