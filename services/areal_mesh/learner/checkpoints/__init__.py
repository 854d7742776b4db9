"""Checkpoints as files, written whole or not at all; when they are written is `checkpoint_schedule`."""
