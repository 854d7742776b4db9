"""Transports, one a file, all in `table` by the `type` of their settings (`runtime/settings/weights.py`).

`gloo` and `nccl` share a process group of one's own (`process_group`) that meets at the learner's store (`store`);
`disk` and `ipc` meet in a folder (`folder`). `delta` goes over any of the others.
"""
