"""Checkpoints: their files, written whole or not at all, and when they are written and deleted."""
