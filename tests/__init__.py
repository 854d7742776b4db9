"""Tests in rings, from pure decisions to a mesh that is being killed; each helper is imported by its full name."""
