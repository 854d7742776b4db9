"""The verifier: grades a response against reference answers, and never runs what a model wrote.

`grading` holds the pure rules (`answer_matches`): `extraction` finds the answer, `reading` makes `trees` of it,
`equality` compares them. `workers` keeps algebra in processes that cannot harm or hang their caller; `rewards` turns
verdicts into rewards. docs/verifier.md describes the protocol.
"""

from areal_mesh.verifier.grading import answer_matches
from areal_mesh.verifier.verdict import GradeRequest, Verdict

__all__ = ["GradeRequest", "Verdict", "answer_matches"]
