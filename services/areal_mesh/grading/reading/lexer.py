r"""Answers as tokens: LaTeX and plain spelling become one spelling here.

Layout disappears, synonyms (`\dfrac`, `\leq`, `*`) become one token, number literals take their thousands
separators in, and the contents of `\text` become words. The time taken is linear in the answer's length.
"""

from __future__ import annotations

import re
from string import ascii_letters, digits
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.reading.numerals import COMMA_GROUPS, NumberLexer
from areal_mesh.grading.reading.source import cleaned
from areal_mesh.grading.reading.tokens import Kind, Token
from areal_mesh.grading.reading.words import is_word
from areal_mesh.grading.trees.nodes import Unparsed
from areal_mesh.grading.unit_table import is_unit_name
from areal_mesh.grading.vocabulary import (
    CALLED_IN_PLAIN_TEXT,
    CURRENCIES,
    FONT_COMMANDS,
    FOREIGN_JOINS,
    FUNCTIONS,
    GREEK_IN_PLAIN_TEXT,
    JOINING_WORDS,
    LAYOUT,
    NAMED_IN_PLAIN_TEXT,
    NUMBER_SETS,
    SYNONYMS,
    TEXT_COMMANDS,
)

_COMMAND: Final = re.compile(r"\\(?:[a-zA-Z]+|.)", re.DOTALL)
_LETTERS: Final = re.compile(r"(?:or|and)(?=[A-Z])|[a-zA-Z]+")
_SPACE: Final = re.compile(r"\s+")
_TEXT_PIECE: Final = re.compile(
    r"[A-Za-z]+(?:['-][A-Za-z]+)*|[0-9]+(?:\.[0-9]+)?|\s+|\\(?:[a-zA-Z]+|.)|[^\W\d_]+|.", re.DOTALL
)
_BASED_DIGITS: Final = re.compile(r"[0-9A-F]*\d[0-9A-F]*|[A-F]{2,}", re.ASCII)
_CLOCK: Final = re.compile(r"([ap])\.?\s?m(?![a-zA-Z])\.?", re.IGNORECASE | re.ASCII)
_TEXT_MACRO: Final = re.compile(r"\\(?:text[a-z]*|mathrm|mbox|operatorname)\s*\{([^{}]*)\}")
_ALSO_WORDS: Final = frozenset({"max", "min", "arg", "sec", "det", "abs", "Re", "Im"})
_DROPPED_WITH_ARGUMENT: Final = frozenset({r"\hspace", r"\phantom", r"\hphantom", r"\vphantom", r"\color"})
_EMITTED: Final[dict[str, tuple[Kind, str]]] = {
    **{letter: ("letter", letter) for letter in ("d", "i", "j", "T")},
    **{symbol: ("symbol", symbol) for symbol in "%<>|*/:=()[]^_"},
    r"\$": ("command", r"\$"),
    r"\|": ("command", "|"),
    r"\#": ("symbol", "#"),
    r"\&": ("join", "and"),
}
"""Commands, and what they are synonyms of, that are one token each."""
_DROPPED_SYMBOLS: Final = frozenset("$~`\"'")


def tokenize(text: str, *, comma_groups: bool = False) -> list[Token]:
    """Tokens of an answer.

    Args:
        comma_groups: read `1,234` outside brackets as one number instead of two.

    Raises:
        Unparsed: if the text exceeds a bound or holds a character that mathematics does not use.
    """
    if len(text) > limits.ANSWER_CHARS:
        raise Unparsed("longer than the bound")
    text = cleaned(text)
    lexer = _Lexer(text, comma_groups)
    lexer.run()
    return lexer.tokens


class _Lexer(NumberLexer):
    def run(self) -> None:
        while self.position < len(self.text):
            _BEGINS.get(self.text[self.position], _Lexer._symbol)(self)
            if len(self.tokens) > limits.TOKENS:
                raise Unparsed("more tokens than the bound")

    def _symbol(self) -> None:
        character = self.text[self.position]
        self.position += 1
        if character in _DROPPED_SYMBOLS or character.isspace():
            if character == "'" and self.tokens and (self.tokens[-1].kind == "letter" or self.tokens[-1].text == "'"):
                self.add("symbol", "'")
            elif character in "'\"" and self.tokens and self.tokens[-1].kind == "number":
                self.mark_of_length(character)
            self.spaced = True
            return
        if character not in "+-*/^_=<>()[]{}|,;:!%&?#":
            raise Unparsed(f"unknown character {character!r}")
        if character in "([":
            self.brackets += 1
        elif character in ")]":
            self.brackets -= 1
        two = self.text[self.position - 1 : self.position + 1]
        if two in ("<=", ">=", "!=", "**"):
            self.position += 1
            if two == "**":
                self.add("symbol", "^")
            else:
                self.add("command", {"<=": r"\le", ">=": r"\ge", "!=": r"\ne"}[two])
            return
        self.add("symbol", character)

    def _letters(self) -> None:
        clock = _CLOCK.match(self.text, self.position) if self._after_number() else None
        if clock is not None and (len(clock.group()) > 2 or self.spaced or self._follows(":")):
            self.position = clock.end()
            self.add("word", clock.group(1).lower() + "m")
            return
        match = _LETTERS.match(self.text, self.position)
        assert match is not None  # the caller saw a letter
        run = match.group()
        self.position = match.end()
        lowered = run.lower()
        if lowered in JOINING_WORDS:
            self.add("join", lowered)
        elif lowered in ("infinity", "infty", "inf", "oo") and run != "OO":
            self.add("command", r"\infty")
        elif lowered == "pi":
            self.add("command", r"\pi")
        elif run in NAMED_IN_PLAIN_TEXT or run in GREEK_IN_PLAIN_TEXT or self._is_called(run):
            self.add("command", "\\" + run)
        elif is_word(run) or (self._after_number() and is_unit_name(run)):
            self.add("word", run)
        elif lowered in ("is", "of") and self.tokens and self.tokens[-1].kind == "word":
            self.add("word", run)  # parts of a sentence
        elif lowered == "to" and self._after_number() and self.spaced:
            self.add("word", run)
        elif run == "U" and self._joins_intervals():
            self.add("command", r"\cup")
        elif run == "I" and self.tokens and self.tokens[-1].text == "*":
            self.add("letter", "i")  # SymPy's imaginary unit
        elif run.isupper() and len(run) > 1:
            self.add("letter", run)
        else:
            for letter in run:
                self.add("letter", letter)

    def _follows(self, text: str) -> bool:
        """Whether the last token but one is this symbol: `8:34`."""
        return len(self.tokens) > 1 and self.tokens[-2].text == text

    def _joins_intervals(self) -> bool:
        """Whether a letter stands between brackets: `(0, 1) U (1, 2)`."""
        before = self.tokens[-1].text if self.tokens else ""
        return before in (")", "]") and self.text[self.position :].lstrip()[:1] in ("(", "[", "\\")

    def _is_called(self, run: str) -> bool:
        return run in CALLED_IN_PLAIN_TEXT and self.text[self.position : self.position + 1] == "("

    def _after_number(self) -> bool:
        return bool(self.tokens) and (self.tokens[-1].kind in ("number", "word") or self.tokens[-1].text in ")}")

    def _command(self) -> None:
        command = self._read_command()
        if command in _EMITTED:
            self.add(*_EMITTED[command])
        elif command in LAYOUT:
            self.spaced = True
            if command in (r"\left", r"\right") and self.text[self.position : self.position + 1] == ".":
                self.position += 1
        elif command in TEXT_COMMANDS:
            self._text_command(command)
        elif command in FONT_COMMANDS:
            self._font_command()
        elif command in _DROPPED_WITH_ARGUMENT:
            self._argument()
        elif command == r"\textcolor":
            self._argument()
            self._font_command()
        elif command == r"\mathbb":
            self._blackboard(self._argument().strip())
        elif command[1:].isalpha() or command in (r"\{", r"\}", r"\\"):
            self.brackets += {r"\{": 1, r"\}": -1}.get(command, 0)
            self.add("command", command)
        else:
            raise Unparsed(f"unknown command {command!r}")

    def _read_command(self) -> str:
        match = _COMMAND.match(self.text, self.position)
        if match is None:
            raise Unparsed("stray backslash")
        command = match.group()
        self.position = match.end()
        if command.startswith(r"\quad") and len(command) > 5:
            # `\quadx` is no command: a blank was lost after `\quad`.
            self.position = match.start() + 5
            command = r"\quad"
        return SYNONYMS.get(command, command)

    def _blackboard(self, name: str) -> None:
        if name in NUMBER_SETS or not ("A" <= name <= "Z" or name == "1"):
            self.add("command", NUMBER_SETS.get(name, r"\mathbb"))
        else:
            self.add("letter", name[0])

    def _opens_arguments(self) -> bool:
        return self.text[self.position : self.position + 2].startswith(("(", "\\{"))

    def _argument(self) -> str:
        """The braced argument at the position, or the next character."""
        match = _SPACE.match(self.text, self.position)
        start = match.end() if match else self.position
        if self.text[start : start + 1] != "{":
            self.position = start + 1
            return self.text[start : start + 1]
        depth = 0
        for index in range(start, len(self.text)):
            if self.text[index] == "{":
                depth += 1
            elif self.text[index] == "}":
                depth -= 1
                if depth == 0:
                    self.position = index + 1
                    return self.text[start + 1 : index]
        raise Unparsed("argument without end")

    def _text_command(self, command: str) -> None:
        content = _TEXT_MACRO.sub(r"\1", self._argument())
        bare = content.replace("~", " ").strip()
        apart = content[:1] in ("~", " ") and self._after_number()
        if _COMMAND.fullmatch(bare) and bare not in LAYOUT:
            self.text = bare + self.text[self.position :]
            self.position = 0
            return
        if (
            bare in NAMED_IN_PLAIN_TEXT
            or (bare in FUNCTIONS and not self._after_number() and (bare not in _ALSO_WORDS or self._opens_arguments()))
            or (
                command in (r"\mathrm", r"\operatorname", r"\mathsf")
                and not apart
                and len(bare) == 1
                and bare.isalpha()
            )
        ):
            self.add(*(("letter", bare) if len(bare) == 1 else ("command", "\\" + bare)))
        elif self.text[self.position : self.position + 1] == "_" and _BASED_DIGITS.fullmatch(bare):
            self.add("digits", bare)
        elif command == r"\operatorname" and bare.isalpha() and (bare in FUNCTIONS or not is_word(bare)):
            self.add("command", "\\" + bare)
        else:
            self._words(bare.replace("\\%", "%").replace("\\,", " ").replace("\\ ", " "))
        self.spaced = True

    def _words(self, content: str) -> None:
        self.spaced = True
        if self.comma_groups:
            content = COMMA_GROUPS.sub(lambda group: re.sub(r"[^\d.]", "", group.group()), content)
        for match in _TEXT_PIECE.finditer(content):
            piece = match.group()
            if piece.isspace():
                self.spaced = True
            elif piece.lower() == "pi" and self._after_number():
                self.add("command", r"\pi")
            elif piece.lower() in JOINING_WORDS or piece in FOREIGN_JOINS:
                self.add("join", FOREIGN_JOINS.get(piece, piece.lower()))
            elif piece[0].isalpha():
                self.add("word", piece)
            elif piece[0].isascii() and piece[0].isdigit():
                self.add("number", piece)
            elif piece in CURRENCIES:
                self.add("command", piece)
            elif piece in ".${}" or piece in LAYOUT:
                self.spaced = True
            elif piece in ",;:()-/+^=%":
                self.add("symbol", piece)
            elif piece == r"\cdot":
                self.add("symbol", "*")
            elif piece == r"\circ":
                self.add("command", piece)
            else:
                raise Unparsed(f"unknown text {piece!r}")

    def _font_command(self) -> None:
        # The content is mathematics in another font: read it in place.
        content = self._argument()
        if len(content) > 2 and content.isascii() and content.isalpha() and not content.isupper():
            self._words(content)  # a word in bold
            return
        if len(content) > limits.ANSWER_CHARS // 2:
            raise Unparsed("argument longer than the bound")
        self.text = "{" + content + "}" + self.text[self.position :]
        self.position = 0
        self.fonts += 1
        if self.fonts > limits.NESTING:
            raise Unparsed("nesting deeper than the bound")


_BEGINS: Final = {
    **dict.fromkeys(digits + ".", _Lexer.number),
    **dict.fromkeys(ascii_letters, _Lexer._letters),
    "\\": _Lexer._command,
}
"""By a character: what reads that which begins with it, if no symbol."""
