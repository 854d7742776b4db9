"""The verifier: the service round the grading library, and the rewards that come of its verdicts.

`service` serves batches on the library's workers; `composing` and `rewards` turn a verdict and the terms of
`reward_terms` (or those that others install) into one number.
"""
