"""Units of measure: what each word of them is worth in base units, so that conversions and clashes can be told.

A unit is written in canonical words: `km per h`, `square cm`, `J per kg K`. Words that the table does not have are kept
apart: what is said of them is up to the comparison.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final, TypeAlias

_PREFIXED: Final = """
    m g s A K mol rad bit B pc=3.0857e16*m ly=9.4607e15*m N=1000*g*m*s-2 J=1000*g*m2*s-2 W=1000*g*m2*s-3
    Pa=1000*g*m-1*s-2 Hz=s-1 C=A*s V=1000*g*m2*s-3*A-1 ohm=1000*g*m2*s-3*A-2 F=.001*g-1*m-2*s4*A2 T=1000*g*s-2*A-1
    Wb=1000*g*m2*s-2*A-1 H=1000*g*m2*s-2*A-2 L=.001*m3 l=.001*m3 eV=1.602176634e-16*g*m2*s-2 bar=1e8*g*m-1*s-2
    cal=4184*g*m2*s-2 Wh=3600000*g*m2*s-2 Bq Sv Gy lm lx M=1000*mol*m-3
"""
"""Symbols that take a prefix, each with its worth in base units; one without a worth is a base unit."""
_PLAIN: Final = """
    min=60*s h=3600*s day=86400*s week=604800*s fortnight=1209600*s month year=12*month decade=120*month
    century=1200*month in=.0254*m ft=.3048*m yd=.9144*m mi=1609.344*m furlong=201.168*m league=4828.032*m
    fathom=1.8288*m micron=1e-6*m angstrom=1e-10*m au=149597870700*m lb=453.59237*g pound=453.59237*g oz=28.349523125*g
    stone=6350.29318*g tonne=1000000*g ton carat=.2*g gallon=.003785411784*m3 quart=.000946352946*m3
    pint=.000473176473*m3 cup=.0002365882365*m3 tablespoon=14.78676478125e-6*m3 teaspoon=4.92892159375e-6*m3
    cc=1e-6*m3 barrel bushel acre=4046.8564224*m2 hectare=10000*m2 mph=.44704*m*s-1 kph=1/3.6*m*s-1 knot=.51444444*m*s-1
    rpm=1/60*s-1 erg=.0001*g*m2*s-2 dyne=.01*g*m*s-2 atm=101325000*g*m-1*s-2 torr=133322.368*g*m-1*s-2
    psi=6894757.29*g*m-1*s-2 hp=745699.87*g*m2*s-3 u=1.66053907e-24*g grad turn cent dollar=100*cent nickel dime quarter
    penny sterling=100*penny euro yen yuan won paisa rupee=100*paisa kopeck ruble=100*kopeck franc peso lira dong krone
    krona mark baht rand real shekel dirham dinar riyal ringgit rupiah zloty forint am pm celsius fahrenheit light
    nautical percent degree person dB unit cd
"""
"""Symbols and names without prefixes, in the same manner. Years have no days here, and tons no pounds."""
_PREFIXES: Final = {
    "p": -12, "n": -9, "u": -6, "m": -3, "c": -2, "d": -1, "h": 2, "k": 3, "M": 6, "G": 9, "T": 12,
}  # fmt: skip
_LONG_PREFIXES: Final = {
    "pico": "p", "nano": "n", "micro": "u", "milli": "m", "centi": "c", "deci": "d", "hecto": "h", "kilo": "k",
    "mega": "M", "giga": "G", "tera": "T",
}  # fmt: skip
_NAMES: Final = {
    name: symbol
    for symbol, names in {
        "m": "meter metre 米", "g": "gram gramme 克", "s": "second sec secs 秒", "A": "ampere amp",
        "K": "kelvin", "mol": "mole", "N": "newton", "J": "joule", "W": "watt", "Pa": "pascal", "Hz": "hertz",
        "C": "coulomb", "V": "volt", "F": "farad", "T": "tesla", "Wb": "weber", "H": "henry", "L": "liter litre 升",
        "eV": "electronvolt", "cal": "calorie", "pc": "parsec", "B": "byte", "rad": "radian", "cm": "厘米",
        "mm": "毫米",
        "km": "千米 公里", "dm": "分米", "kg": "kilo kgs 千克 公斤", "mL": "毫升 ml", "min": "minute mins 分 分钟",
        "h": "hour hr hrs 小时", "day": "d 天 日", "week": "weeks 周 星期", "month": "months 月",
        "year": "yr yrs 年 岁", "century": "centuries", "in": "inch inches", "ft": "foot feet", "yd": "yard",
        "mi": "mile",
        "lb": "lbs", "oz": "ounce", "gallon": "gal", "quart": "qt", "tablespoon": "tbsp", "teaspoon": "tsp",
        "hectare": "ha", "tonne": "t 吨", "dollar": "usd buck 美元", "penny": "pence", "yuan": "rmb cny 元",
        "cent": "pennies 美分", "sterling": "gbp quid", "euro": "eur", "yen": "jpy 円", "won": "krw 원",
        "rupee": "inr rs",
        "paisa": "paise", "ruble": "rouble rub", "franc": "chf", "celsius": "centigrade",
        "percent": "pct percentage percents",
        "degree": "deg 度", "krone": "kroner nok dkk", "krona": "kronor sek", "lira": "lire",
        "person": "people persons 人 名",
        "turn": "revolution rev", "ohm": "ohms", "au": "astronomical", "real": "brl", "peso": "mxn",
        "square": "sq 平方", "cubic": "cu 立方", "mi per gallon": "mpg", "square m": "平方米",
        "square cm": "平方厘米", "square km": "平方千米 平方公里",
        "cubic m": "立方米", "cubic cm": "立方厘米",
        "kph": "kmph", "cubic ft": "cft", "square ft": "sqft", "unit": "units 单位",
        "m per s": "mps",
    }.items()
    for name in names.split()
}  # fmt: skip
_POWERS: Final = {"square": 2, "cubic": 3, "quartic": 4}
_SHORT: Final = frozenset(
    ("kg", "km", "cm", "mm", "mg", "nm", "ms", "ml", "ft", "in", "yd", "mi", "lb", "oz", "pm", "am", "Hz", "Pa", "cc")
)
"""Symbols of two letters that nobody means as a product."""
SMALLER_UNITS: Final = {
    "h": ("min", 60), "min": ("s", 60), "ft": ("in", 12), "lb": ("oz", 16), "pound": ("oz", 16), "day": ("h",
    24), "week": ("day", 7),
    "year": ("month", 12), "yd": ("ft", 3), "km": ("m", 1000), "m": ("cm", 100), "cm": ("mm", 10), "kg": ("g", 1000),
    "dollar": ("cent", 100), "gallon": ("quart", 4),
}  # fmt: skip
"""Units that are followed by another in one quantity, and how many of that one they are."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a unit is worth: how many of its base units, and to which powers."""

    worth: Fraction
    powers: tuple[tuple[str, int], ...]
    unknown: frozenset[str]
    """Words that the table does not have."""


_Worth: TypeAlias = tuple[Fraction, Counter[str]]


def _worths(text: str) -> dict[str, _Worth]:
    table: dict[str, _Worth] = {}
    for entry in text.split():
        symbol, _, worth = entry.partition("=")
        factor, powers = Fraction(1), Counter[str]()
        for part in (worth or symbol).split("*"):
            base = part.rstrip("-0123456789")
            if part[0].isalpha():
                powers[base] += int(part[len(base) :] or 1)
            else:
                top, _, bottom = part.partition("/")
                factor *= Fraction(top) / Fraction(bottom or 1)
        table[symbol] = factor, powers
    return table


_PREFIXED_WORTHS: Final = _worths(_PREFIXED)
_WORTHS: Final = _PREFIXED_WORTHS | _worths(_PLAIN)


@lru_cache(maxsize=1024)
def unit_word(word: str) -> str:
    """The canonical word of a unit: `kJ` of kilojoules, `cm` of centimetres; of others, the singular in lower case."""
    if word in _WORTHS or _prefixed(word):
        return word
    lower = word.lower()
    for name in (lower, lower.removesuffix("s"), lower.removesuffix("es")):
        if name in _NAMES:
            return _NAMES[name]
        if name in _WORTHS and len(name) > 1:
            return name
        for prefix in _LONG_PREFIXES:
            if name.startswith(prefix) and _NAMES.get(name[len(prefix) :]) in _PREFIXED_WORTHS:
                return _LONG_PREFIXES[prefix] + _NAMES[name[len(prefix) :]]
    return lower[:-1] if lower.endswith("s") and len(lower) > 1 else lower


def is_unit(word: str) -> bool:
    """Whether a word or a symbol names a unit."""
    return unit_word(word) in _POWERS or _worth(unit_word(word)) is not None


def is_unit_name(run: str) -> bool:
    """Whether letters outside of LaTeX's text name a unit: words, and symbols that are no product of letters."""
    if len(run) < 2 or not is_unit(run):
        return run == "per"
    if len(run) > 2:
        return run in _WORTHS or run in _NAMES or len(run) > 4 or not run.islower() or run.endswith("s")
    return run in _SHORT or (run[0] in "kmMG" and run[1].isupper()) or (run in _NAMES and run[1] != "s")


def _prefixed(word: str) -> _Worth | None:
    """The worth of a symbol with a prefix."""
    symbol = _PREFIXED_WORTHS.get(word[1:])
    if symbol is None or word[0] not in _PREFIXES:
        return None
    return symbol[0] * Fraction(10) ** _PREFIXES[word[0]], symbol[1]


def _worth(word: str) -> _Worth | None:
    return _WORTHS.get(word) or _prefixed(word)


@lru_cache(maxsize=1024)
def measure(unit: str) -> Measure:
    """What a unit in canonical words is worth."""
    worth, powers, unknown = Fraction(1), Counter[str](), []
    sign, power = 1, 1
    for word in unit.split():
        found = _worth(word)
        if word == "per":
            sign = -1
        elif word in _POWERS:
            power = _POWERS[word]
        elif found is None:
            unknown.append(word)
        else:
            worth *= found[0] ** (sign * power)
            for base, times in found[1].items():
                powers[base] += sign * power * times
            power = 1
    kept = tuple(sorted((base, times) for base, times in powers.items() if times and base != "rad"))
    return Measure(worth, kept, frozenset(unknown))
