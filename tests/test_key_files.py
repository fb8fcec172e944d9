"""Files of keys: whole or not at all, never over another, and for nobody else to read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentrt.key_files import put_whole


def test_a_file_is_put_there_with_its_mode_and_nothing_beside_it(tmp_path: Path) -> None:
    assert put_whole(tmp_path / "key", b"secret", mode=0o600)
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"mine")
    assert not put_whole(tmp_path / "key", b"other", mode=0o600)
    assert [file.name for file in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_bytes() == b"mine"


def test_what_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_file: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        put_whole(tmp_path / "key", b"secret", mode=0o600)
    assert list(tmp_path.iterdir()) == []
