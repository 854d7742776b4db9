"""Unicode spellings of mathematics and words of other languages, as LaTeX.

Digits and letters that only look like ASCII are not read: an answer spelled with them is not the answer.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_GREEK: Final = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Xi",
    "Pi",
    "Sigma",
    "Phi",
    "Psi",
    "Omega",
    "phi",
    "epsilon",
]
_SPELLINGS: Final = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "﹣": "-", "－": "-", "‐": "-", "‑": "-", "‒": "-",
        "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2002": " ", "\u2003": " ", "\u2061": " ", "\ufeff": " ",
        "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/",
        "√": r"\sqrt ", "∛": r"\sqrt[3] ", "∜": r"\sqrt[4] ", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ",
        "\u200b": "", "\u200c": "", "\u200d": "", "\u200e": "", "\u200f": "", "\u2060": "", "\ufe0f": "", "\u00ad": "",
        "\u3000": " ", "\u2005": " ", "\u2006": " ", "\u200a": " ", "✅": " ", "✔": " ", "☑": " ", "🎉": " ", "■": " ",
        "□": " ", "ˆ": "^", "∣": "|", "｜": "|", "‖": r"\|", "∥": r"\|", "∗": "*", "˚": r"^\circ ", "º": r"^\circ ",
        "∘": r"\circ ", "℃": r"^\circ\text{C}", "℉": r"^\circ\text{F}", "‰": r"\cdot\frac{1}{1000}", "₹": r"\rupee ",
        "₽": r"\ruble ", "₩": r"\won ", "₺": r"\lira ", "₫": r"\dong ", "₱": r"\peso ", "⌊": r"\lfloor ",
        "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∑": r"\sum ", "∏": r"\prod ", "∫": r"\int ",
        "¬": r"\neg ", "∧": r"\wedge ", "∨": r"\vee ", "→": r"\to ", "⟶": r"\to ", "↦": r"\mapsto ", "⇔": r"\iff ",
        "↔": r"\iff ", "⊆": r"\subseteq ", "⊂": r"\subset ", "⊇": r"\supseteq ", "⊃": r"\supset ", "∉": r"\notin ",
        "∀": r"\forall ", "∃": r"\exists ", "≡": r"\equiv ", "⊥": r"\perp ", "∼": r"\sim ", "∝": r"\propto ",
        "≅": r"\cong ", "∖": r"\setminus ", "⊕": r"\oplus ", "⊗": r"\otimes ", "⋃": r"\cup ", "⋂": r"\cap ",
        "∂": r"\partial ", "∇": r"\nabla ", "ℓ": r"\ell ", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}",
        "≦": r"\le ", "≧": r"\ge ", "∤": r"\nmid ", "⟦": "[", "⟧": "]", "（": "(", "）": ")", "［": "[", "］": "]",
        "｛": r"\{", "｝": r"\}", "，": ", ", "、": ", ", "。": " ", "．": ".", "：": ":", "；": ";", "＝": "=",
        "＋": "+", "＜": "<", "＞": ">", "／": "/", "＊": "*", "！": "!", "【": " ", "】": " ", "「": " ", "」": " ",
        "～": "~", "‘": "'", "＄": r"\$", "￥": r"\yen ", "￡": r"\pounds ",
        "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "Ø": r"\emptyset ", "ℝ": r"\mathbb{R}",
        "ℤ": r"\mathbb{Z}",
        "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
        "±": r"\pm ", "∓": r"\mp ", "∴": r"\therefore ", "⇒": r"\Rightarrow ", "✓": " ",
        "…": r"\dots ", "⋯": r"\dots ", "⟨": r"\langle ", "⟩": r"\rangle ",
        "∠": r"\angle ", "△": r"\triangle ", "€": r"\euro ", "£": r"\pounds ", "¥": r"\yen ", "¢": r"\cent ",
        "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}",
        "⅕": r"\frac{1}{5}", "⅖": r"\frac{2}{5}", "⅗": r"\frac{3}{5}", "⅘": r"\frac{4}{5}", "⅙": r"\frac{1}{6}",
        "⅚": r"\frac{5}{6}", "⅛": r"\frac{1}{8}", "⅜": r"\frac{3}{8}", "⅝": r"\frac{5}{8}", "⅞": r"\frac{7}{8}",
        "％": "%", "“": '"', "”": '"', "’": "'", "′": "'", "″": "''",
    }
)  # fmt: skip
_SPELLINGS.update(
    {ord(letter): f"\\{name} " for letter, name in zip("αβγδεζηθικλμνξρστυφχψωΓΔΘΛΞΠΣΦΨΩϕϵ", _GREEK, strict=True)}
)
_SPELLINGS.update({ord("①") + at: f"({at + 1})" for at in range(20)})
_RAISED: Final = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱᵃᵇᵈᵉᵏᵐᵗˣʸ"
_LOWERED: Final = "₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙₐₑₕᵢⱼₖₗₘₒₚᵣₛₜᵤᵥₓ"
_DIGITS: Final = str.maketrans(_RAISED + _LOWERED, "0123456789+-()niabdekmtxy0123456789+-()naehijklmoprstuvx")
_RUN: Final = re.compile(f"([{_RAISED}]+)|[{_LOWERED}]+")
_MICRO: Final = re.compile(r"[µμ](?=(?:[gLlmsAFVWJTHCN]|Hz|mol)\b)")
_PHRASES: Final = {
    word: said
    for said, words in {
        "or": "或者 或 または", "and": "以及 和 且 与 及 と かつ", "if": "当", "does not exist": "不存在",
        "": "最终答案 答案 答え 正解 因此 所以 故 共有 共 答 です だ 选", "no solution": "无解", "even": "偶数",
        "odd": "奇数", "all real numbers": "所有实数 全体实数", "true": "正确", "false": "错误",
        "approximately": "约", "is": "是 为", "integer": "整数", "positive integer": "正整数", "natural": "自然数",
        "real": "实数", "where": "其中", "any": "任意", "constant": "常数",
    }.items()
    for word in words.split()
}  # fmt: skip
"""What words of Chinese and Japanese say, where a run of letters is made of nothing else."""
_EAST: Final = "\u3005-\u30ff\u3400-\u9fff\uac00-\ud7af"
_PHRASE: Final = re.compile("|".join(sorted(_PHRASES, key=len, reverse=True)))
_EASTERN: Final = re.compile(f"[{_EAST}]+")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")


def in_latex(text: str) -> str:
    """The text with what Unicode has signs for as LaTeX: `2¹⁰` is `2^{10}`, `mètres` are `metres`."""
    text = _MICRO.sub("u", text)
    text = _RUN.sub(lambda run: ("^" if run.group(1) else "_") + "{" + run.group().translate(_DIGITS) + "}", text)
    text = _EASTERN.sub(_in_english, text.translate(_SPELLINGS))
    return text if text.isascii() else _WORD.sub(_without_accents, text)


def _in_english(run: re.Match[str]) -> str:
    """A run of Chinese or Japanese: connectives in English, anything else as a word."""
    said = run.group()
    whole = not _PHRASE.sub("", said)
    text = " ".join(map(_PHRASES.__getitem__, _PHRASE.findall(said))).strip() if whole else said
    return rf"\text{{ {text} }}" if text else " "


def _without_accents(run: re.Match[str]) -> str:
    """A word in letters of ASCII where its accents are all that keeps it from that, in `\text` where not."""
    word = run.group()
    if word.isascii():
        return word
    plain = "".join(letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter))
    return rf"\text{{{plain}}}" if plain.isascii() or _is_western(plain) else word


def _is_western(word: str) -> bool:
    """Whether all letters are Cyrillic: a word, and no look-alike among letters of ASCII."""
    return all("\u0400" <= letter <= "\u04ff" for letter in word)
