"""Answers as bounded expression trees, and what can be done with a tree by itself.

`nodes` has the tree; `rationals` its exact value, `shapes` and `rewriting` its other spellings, `matrices` its
arithmetic.
"""
