"""From the text of an answer to a tree, without evaluating its text.

`source` mends the text; `lexer` makes tokens of it, on top of `numerals` and `words`; `parser` makes a tree of the
tokens, on top of `quantities` (units, money), `expression` (terms), `commands` (LaTeX), `literals` (numbers, letters)
and `cursor` (a position).
"""
