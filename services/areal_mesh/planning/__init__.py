"""A library: what a run will take of time and of memory, computed before anything starts.

Pure: shapes of models and GPUs in, seconds, tokens and bytes out. `calibration` holds the constants that are measured
and not computed, each with what it was fitted to; `published` the figures of others that they are held against.
"""
