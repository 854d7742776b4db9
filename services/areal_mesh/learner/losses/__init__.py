"""Policy losses, one file an algorithm: pure functions on packed 1-D tensors of response tokens.

`inputs` says what a loss gets and gives, `table` has them all by the `type` of their settings
(`runtime/settings/losses.py`). A further loss is its file, its settings and its row of the table.
"""
