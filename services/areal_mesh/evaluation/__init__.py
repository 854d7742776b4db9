"""A library: what an evaluation asks, keeps and says, apart from how responses are generated and graded.

`suites` reads the problems, `requests` names and seeds what is asked, `responses` keeps every answer in one append-only
file, `statistics` has the formulas, `scores` the figures of a suite, `tables` and `published` what a person reads.
"""
