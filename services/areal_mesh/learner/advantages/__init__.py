"""Advantage estimates, one file each: pure functions on the whole batch, before it is cut.

`inputs` says what an estimate gets and gives, `packed` has what they share on packed tokens, `table` has them all by
the `type` of their settings (`runtime/settings/advantages.py`). A further one is its file, its settings and its row.
"""
