"""What a process says of itself."""

import importlib.metadata

import pytest

from areal_mesh.runtime.identity import version


def test_the_release_is_read_from_the_disk_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(name: str) -> str:
        read.append(name)
        return "1.2.3"

    monkeypatch.setattr(importlib.metadata, "version", counted)
    version.cache_clear()
    try:
        assert [version(), version()] == ["1.2.3", "1.2.3"]
        assert read == ["areal-mesh"]
    finally:
        version.cache_clear()
