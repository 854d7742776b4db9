"""Grading as a library: judges a response against reference answers, and never runs what a model wrote.

`matching` is the way in (`answer_matches`), `grade` the protocol: `extraction` finds the answer, `reading` makes
`trees` of it, `equality` compares them. `workers` keeps algebra in processes that cannot harm or hang their caller;
`answer_file` grades a file. It imports nothing else of the project. docs/grading.md describes the protocol.
"""

from areal_mesh.grading.matching import answer_matches
from areal_mesh.grading.verdict import GradeRequest, Verdict

__all__ = ["GradeRequest", "Verdict", "answer_matches"]
