"""Words and commands with a meaning in answers."""

from __future__ import annotations

import re
from typing import Final


def words_of(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


LAYOUT: Final = words_of(r"""
    \left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \biggl \biggr \Biggl \Biggr \middle
    \displaystyle \textstyle \scriptstyle \limits \nolimits \; \: \> \! \, \( \) \[ \] \quad \qquad
    \enspace \thinspace \space \bf \rm \it \Large \large \hfill \nonumber \boldmath \mathstrut
    \strut \checkmark \blacksquare \square \Box \qed \mathbin \mathrel
    """) | {
    "\\ ",
    "\\\n",
}

TEXT_COMMANDS: Final = words_of(r"""
    \text \textbf \textit \textrm \textsf \texttt \textnormal \textup \textsc \mbox \hbox \emph \mathrm
    """) | {r"\operatorname", r"\mathsf", r"\mathtt", r"\textsl"}

FONT_COMMANDS: Final = words_of(r"""
    \mathbf \boldsymbol \bm \mathit \mathnormal \mathcal \mathscr \mathfrak \boxed \fbox \underline \pmb
    """) | {r"\mathop", r"\mathord", r"\ensuremath"}

SYNONYMS: Final = {
    r"\nicefrac": r"\frac", r"\sfrac": r"\frac", r"\surd": r"\sqrt",
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac",
    r"\leq": r"\le", r"\leqslant": r"\le", r"\geq": r"\ge", r"\geqslant": r"\ge", r"\lt": "<", r"\gt": ">",
    r"\neq": r"\ne", r"\cdot": "*", r"\times": "*", r"\ast": "*", r"\div": "/", r"\colon": ":", r"\slash": "/",
    r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lvert": "|", r"\rvert": "|", r"\vert": "|", r"\mid": "|",
    r"\lbrack": "[", r"\rbrack": "]", r"\lparen": "(", r"\rparen": ")", r"\varnothing": r"\emptyset",
    r"\simeq": r"\approx", r"\doteq": r"\approx", r"\%": "%", r"\degree": r"\circ",
    r"\textdollar": r"\$", r"\textcent": r"\cent", r"\bigcup": r"\cup", r"\bigcap": r"\cap",
    r"\cr": r"\\", r"\imath": "i", r"\top": "T", r"\jmath": "j", r"\partial": "d", r"\overrightarrow": r"\vec",
    r"\bar": r"\overline", r"\widehat": r"\hat", r"\widetilde": r"\tilde",
    r"\backslash": r"\setminus", r"\dbinom": r"\binom", r"\tbinom": r"\binom", 
    r"\varphi": r"\phi", r"\vartheta": r"\theta", r"\varepsilon": r"\epsilon", r"\land": r"\wedge",
    r"\lor": r"\vee", r"\rightarrow": r"\to", r"\longrightarrow": r"\to", r"\infin": r"\infty", r"\coloneqq": "=",
    r"\ldots": r"\dots", r"\cdots": r"\dots", r"\dotsc": r"\dots", r"\dotsb": r"\dots",
    r"\R": r"\Reals", r"\reals": r"\Reals", r"\sp": "^", r"\sb": "_",
}  # fmt: skip

FUNCTIONS: Final = words_of("""
    sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth sech csch log ln lg exp det
    arcsinh arccosh arctanh arsinh arcosh artanh
    gcd lcm max min Re Im arg abs floor ceil factorial binomial asin acos atan cbrt cis tg ctg arctg
    """)

BIG_OPERATORS: Final = frozenset({r"\sum", r"\prod", r"\int", r"\iint", r"\oint", r"\lim"})
"""Commands whose value is not computed."""

NAMED_IN_PLAIN_TEXT: Final = words_of("sqrt sin cos tan cot sec csc arcsin arccos arctan log ln exp tg arctg cis")

UNKNOWN_OPERATIONS: Final = words_of(r"""
    \star \nabla \diamond \Diamond \oplus \otimes \odot \clubsuit \heartsuit \spadesuit \bigtriangleup
    """)
"""Signs that a question defines: what stands before an equals sign with one of them is its name."""

CALLED_IN_PLAIN_TEXT: Final = words_of("abs floor ceil factorial asin acos atan sinh cosh tanh gcd lcm binomial cbrt")
"""Functions where a bracket follows, letters or a word elsewhere."""

GREEK_IN_PLAIN_TEXT: Final = words_of("""
    alpha beta gamma delta epsilon theta lambda sigma omega phi psi rho tau Theta Omega Gamma Delta Sigma Lambda Phi
    """)

GREEK: Final = words_of(r"""
    \alpha \beta \gamma \delta \epsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \rho \sigma
    \tau \upsilon \phi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Phi \Psi \Omega
    \ell \hbar
    """)

DECORATIONS: Final = words_of(r"""
    \overline \vec \hat \tilde \overleftrightarrow \dot \ddot
    \overarc
    """)

RELATIONS: Final = {
    "=": "=", "<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\approx": "~", r"\sim": "~",
    r"\in": "in",
    r"\to": "to", r"\equiv": "=",
    r"\notin": "not in",
}  # fmt: skip

NO_SOLUTION: Final = re.compile(
    r"none|null set|no (?:real |such |integer |valid )?(?:solutions?|values?|roots?|answers?)(?: exists?)?"
    r"|there (?:is|are) no (?:real |such |integer |valid )?(?:solutions?|values?|roots?)|(?:the )?empty set"
)
"""Words for a set with nothing in it, in lower case."""

ALL_INTEGERS: Final = frozenset(f"{opening}integers" for opening in ("", "all ", "the ", "all the ", "the set of all "))
ALL_NATURALS: Final = frozenset(
    f"{opening}{kind}"
    for kind in ("positive integers", "natural numbers")
    for opening in ("", "all ", "the ", "all the ", "the set of all ")
)

NUMBER_SETS: Final = {"R": r"\Reals", "Z": r"\Integers", "Q": r"\Rationals", "C": r"\Complexes", "N": r"\Naturals"}
"""What `\\mathbb` of a letter names."""

ALL_REALS: Final = frozenset(
    f"{opening}{kind}"
    for kind in ("real numbers", "reals")
    for opening in ("", "all ", "the ", "all the ", "the set of ", "the set of all ", "set of all ")
) | {"any real number", "every real number"}

MONTHS: Final = """january february march april may june july august september october november december"""

DAYS: Final = "sunday monday tuesday wednesday thursday friday saturday"

ABBREVIATIONS: Final = {name[:3]: name for name in f"{MONTHS} {DAYS}".split()} | {
    "sept": "september", "grey": "gray", "tues": "tuesday", "thur": "thursday", "thurs": "thursday",
    "wednes": "wednesday",
}  # fmt: skip

JOINING_WORDS: Final = frozenset({"and", "or"})
FOREIGN_JOINS: Final = {"et": "and", "und": "and", "ou": "or", "oder": "or", "&": "and"}
"""What joins answers in text of other languages."""

OPENING: Final = "approximately exactly"

HEDGES: Final = words_of("""
    not no isn't wrong incorrect false maybe perhaps possibly unless except or and but versus vs either
    neither more less least most than over under above below between undefined unknown plus minus times
    hundred thousand million billion trillion dozen half double doubled tripled halved twice squared cubed negative
    remainder mod too few many factorial inverse reciprocal root score gross lakh crore power
    never fail fails rejected instead alternatively otherwise
    nan null none inf ish so
    tenth hundredth thousandth millionth ppm ppb bps basis
    about roughly around
    """) | words_of(f"{OPENING} {DAYS}")
"""Words that change what a quantity means: they are never taken for a unit."""

CONDITION_WORDS: Final = frozenset({"if", "for", "when", "where"})
"""What a condition begins with."""

FUNCTION_WORDS: Final = words_of("""
    i you he she we they me him us my your his her our their this that these those who whom whose which what
    is are was were be been being does did done has have had having will would shall should can could may might
    must cannot nor if because since though although while whereas whether than then else yet
    about across after against along among around as at before behind below beneath beside besides beyond by despite
    down during inside into like near off on onto outside past through throughout to toward towards under until
    unto up upon via within without
    very too also just only even still again almost quite rather ever here there where when why how
     any both either every several some enough another same
    approx approximate approximates approximated est estimate estimated estimates circa nearly likely surely really
    possible potential potentially hopefully guess guessed suppose presumably true invalid impossible unsure uncertain
    unclear whatever anything something nothing excluded excluding opposite contrary denied etc placeholder random
    """)
"""Words that make a phrase of what follows a number: "5 is possible", "3 to the right". No unit has one; what a unit
may have is of, per, each, in, for, with and articles."""

OPENING_WORDS: Final = words_of(f"""
    answer ans the is final {OPENING} so thus therefore hence then answers are total la reponse est die antwort ist
    respuesta es year in
    """)

FIGURE_WORDS: Final = words_of("""
    the a an vertical horizontal line plane circle parabola ellipse hyperbola curve equation point
    """)
"""What an equation or a point may be called before it is given: `the vertical line x = 4`."""

CLOSING_WORDS: Final = words_of("exactly precisely altogether")
"""What may follow a value without changing it."""

LABEL_WORDS: Final = words_of("least most score root power factorial remainder under over times")
"""Hedges that a label before a colon may have: "Least value: 3"."""

CLOSING_PHRASE: Final = re.compile(r"is the (?:final |only |correct )?(?:answer|solution|value|result)")
"""What may follow an answer without being part of it."""

OPENING_SYMBOLS: Final = frozenset({":", "=", r"\approx", r"\therefore", r"\implies", r"\Rightarrow", r"\equiv"})
"""What may stand before an answer without being part of it."""

ARTICLES: Final = words_of("a an the on in due it is its")
"""Words before a name or a day that do not change which it is."""

UNIT_WORDS_OF_ONE_LETTER: Final = frozenset("dmsghlnjwvcfaptLNJWVKCFATHM")
"""Single letters that name a unit in text: `5\\text{ x}` has none."""

UNIT_LETTERS: Final = frozenset("msgLKNJWCVT")
"""Letters that stand for a unit after a number where the other answer is a bare number: `5m` for 5."""

_COUNTED: Final = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen"""
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"

NUMBER_WORDS: Final = {word: value for value, word in enumerate(_COUNTED.split())} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), start=2)
}

CURRENCIES: Final = {
    r"\$": "dollar", r"\euro": "euro", r"\pounds": "sterling", r"\yen": "yen", r"\cent": "cent", r"\rupee": "rupee",
    r"\ruble": "ruble", r"\won": "won", r"\lira": "lira", r"\dong": "dong", r"\peso": "peso", r"\yuan": "yuan",
    r"\franc": "franc",
}  # fmt: skip
"""Signs of money, before an amount or after it."""

CURRENCY_CODES: Final = {
    "usd": "dollar", "eur": "euro", "gbp": "sterling", "jpy": "yen", "rs": "rupee", "inr": "rupee", "cny": "yuan",
    "rmb": "yuan", "krw": "won", "chf": "franc", "rub": "ruble",
}  # fmt: skip
"""Words of money before an amount."""

SHORT_WORDS: Final = words_of("yes no odd even true false red blue win lose up down left right")
"""Answers of few letters that are words in any case."""

MARK: Final = "primemark"
"""Stands after a unit that is written as a prime."""
