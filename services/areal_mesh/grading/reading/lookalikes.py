"""Unicode spellings of mathematics, as LaTeX.

Digits and letters that only look like ASCII are not read: an answer spelled with them is not the answer.
"""

from __future__ import annotations

import re
from typing import Final

_SPELLINGS: Final = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "﹣": "-", "－": "-", "‐": "-", "‑": "-", "‒": "-",
        "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2002": " ", "\u2003": " ", "\u2061": " ", "\ufeff": " ",
        "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/",
        "√": r"\sqrt ", "∛": r"\sqrt[3] ", "∜": r"\sqrt[4] ", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ",
        "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}",
        "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
        "±": r"\pm ", "∓": r"\mp ", "∴": r"\therefore ", "⇒": r"\Rightarrow ", "✓": " ",
        "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "φ": r"\phi ", "λ": r"\lambda ",
        "ω": r"\omega ", "…": r"\dots ", "⋯": r"\dots ", "⟨": r"\langle ", "⟩": r"\rangle ",
        "∠": r"\angle ", "△": r"\triangle ", "€": r"\euro ", "£": r"\pounds ", "¥": r"\yen ", "¢": r"\cent ",
        "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}",
        "⅕": r"\frac{1}{5}", "⅖": r"\frac{2}{5}", "⅗": r"\frac{3}{5}", "⅘": r"\frac{4}{5}", "⅙": r"\frac{1}{6}",
        "⅚": r"\frac{5}{6}", "⅛": r"\frac{1}{8}", "⅜": r"\frac{3}{8}", "⅝": r"\frac{5}{8}", "⅞": r"\frac{7}{8}",
        "％": "%", "“": '"', "”": '"', "’": "'", "′": "'", "″": "''",
    }
)  # fmt: skip
_RAISED: Final = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ"
_LOWERED: Final = "₀₁₂₃₄₅₆₇₈₉"
_DIGITS: Final = str.maketrans(_RAISED + _LOWERED, "0123456789+-n0123456789")
_RUN: Final = re.compile(f"([{_RAISED}]+)|[{_LOWERED}]+")


def in_latex(text: str) -> str:
    """The text with what Unicode has signs for as LaTeX: `2¹⁰` is `2^{10}`."""
    text = _RUN.sub(lambda run: ("^" if run.group(1) else "_") + "{" + run.group().translate(_DIGITS) + "}", text)
    return text.translate(_SPELLINGS)
