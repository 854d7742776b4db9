"""Benchmarks: each prints one table, with the peer or the baseline beside us in the same alternating run."""
