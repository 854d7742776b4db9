"""The generator: vLLM, the rollout loop around it, and the receiving end of a publish.

A prompt is leased, answered by the engine, graded by the verifier and appended to the replay buffer, many groups at
once. Decisions (concurrency, rendering, assembling a group, measuring) are modules without I/O; `service.py` puts them
together.
"""
