"""From the text of an answer to a tree, without evaluating its text.

`lexer` makes tokens of the text; `parser` makes a tree of the tokens, on top of `quantities` (units, money),
`expression` (terms), `commands` (LaTeX), `literals` (numbers, letters) and `cursor` (a position).
"""
