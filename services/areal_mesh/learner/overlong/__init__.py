"""What becomes of responses near the response limit or cut by it, before advantages are estimated: one file each.

`inputs` says what a treatment gets and gives, `table` has them all by the `type` of their settings
(`runtime/settings/overlong.py`).
"""
