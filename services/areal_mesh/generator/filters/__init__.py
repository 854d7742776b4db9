"""Filters of groups before the replay buffer: a file each, chosen by `type` in `table.py`. No I/O."""
