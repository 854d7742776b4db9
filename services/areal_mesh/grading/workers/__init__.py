"""Grading with algebra in processes of its own.

`pool` decides cheap cases itself and sends the others to workers; `processes` starts and stops them through
`fork_server`, `worker` is what runs in them, `sandbox` what they may not do.
"""
