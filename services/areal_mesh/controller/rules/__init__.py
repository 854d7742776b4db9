"""Rules that end a stage, one file each: pure functions of its last steps, all in `table` by the `type` of their
settings (`runtime/settings/stages.py`). A rule looks at full windows only, so that one lucky step decides nothing.
"""
