"""SymPy behind grading: loaded in the workers alone.

`expressions` builds SymPy's expressions node by node from our trees, never from a string; `values` has SymPy work out
their values to more than a thousand digits; `decide` is the rule made of both.
"""
