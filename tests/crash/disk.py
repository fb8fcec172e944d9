"""A disk under SQLite that can be watched, filled, and lose its power.

It stands between the SQLite that the store uses and the operating system, as a VFS made with
ctypes: SQLite's own one does all the work, and every write, truncation, sync and deletion passes
by here first. `Journal` writes each of them down, so that the files can be made again as they
would be after a power loss: all that was synced, and of the rest any part.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["FULL", "Journal", "watch_disk"]

FULL = 13
"""SQLITE_FULL, which a write on a full disk comes back with."""

SECTOR = 512
"""Bytes that a disk writes as a whole: a write that is longer may be torn between them."""

WATCHED = 0x100 | 0x800 | 0x80000
"""SQLITE_OPEN_MAIN_DB, _MAIN_JOURNAL and _WAL."""

Passing = Callable[[str, str, bytes, int], int]
"""Told what is about to be done to which file, with which bytes at which place; 0, or a failure."""

_POINTER = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, _POINTER, _POINTER, _POINTER, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_int)
_CLOSE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int)


class _Vfs(ctypes.Structure):
    """sqlite3_vfs of sqlite3.h, version 3."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("path_max", ctypes.c_int),
        ("next", _POINTER),
        ("name", ctypes.c_char_p),
        ("app_data", _POINTER),
        ("open", _POINTER),
        ("delete", _POINTER),
        ("others", _POINTER * 14),
    )


class _Methods(ctypes.Structure):
    """sqlite3_io_methods of sqlite3.h, version 3."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("close", _POINTER),
        ("read", _POINTER),
        ("write", _POINTER),
        ("truncate", _POINTER),
        ("sync", _POINTER),
        ("others", _POINTER * 13),
    )


class _File(ctypes.Structure):
    """sqlite3_file: what follows its methods belongs to the VFS that opened it."""

    _fields_ = (("methods", ctypes.POINTER(_Methods)),)


def watch_disk(passing: Passing) -> None:
    """Let everything that SQLite does to its files in this process pass by `passing`, for good."""
    import pysqlite3._sqlite3 as compiled

    library = ctypes.CDLL(compiled.__file__)
    library.sqlite3_initialize()
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    _kept.append(_Watch(passing, library))


_kept: list[Any] = []
"""C holds no references to what Python made."""


class _Watch:
    """The VFS that is registered."""

    def __init__(self, passing: Passing, library: ctypes.CDLL) -> None:
        self._passing = passing
        base = library.sqlite3_vfs_find(None).contents
        self._open_base = _OPEN(base.open)
        self._delete_base = _DELETE(base.delete)
        self._files: dict[int, tuple[str, _Methods, Any]] = {}
        self._made: dict[int, _Methods] = {}
        self._vfs = _Vfs.from_buffer_copy(base)
        self._vfs.name = b"watched"
        self._calls = (
            _OPEN(self._open),
            _DELETE(self._delete),
            _CLOSE(self._close),
            _WRITE(self._write),
            _TRUNCATE(self._truncate),
            _SYNC(self._sync),
        )
        self._vfs.open, self._vfs.delete = map(_address, self._calls[:2])
        library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        # SQLite keeps more behind the end of the name: only its own copy of it will do.
        code = self._open_base(vfs, name, file, flags, out)
        if code == 0 and name is not None and flags & WATCHED:
            opened = _File.from_address(file)
            original = opened.methods
            self._files[file] = (_text(name), original.contents, original)
            opened.methods = ctypes.pointer(self._methods_for(original))
        return code

    def _methods_for(self, original: Any) -> _Methods:
        address = ctypes.addressof(original.contents)
        if address not in self._made:
            made = _Methods.from_buffer_copy(original.contents)
            made.close, made.write, made.truncate, made.sync = map(_address, self._calls[2:])
            self._made[address] = made
        return self._made[address]

    def _delete(self, vfs: int, name: int, sync: int) -> int:
        failed = self._passing("delete", _text(name), b"", 0)
        return failed or self._delete_base(vfs, name, sync)

    def _close(self, file: int) -> int:
        _, original, pointer = self._files.pop(file)
        _File.from_address(file).methods = pointer
        return _CLOSE(original.close)(file)

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        path, original, _ = self._files[file]
        failed = self._passing("write", path, ctypes.string_at(data, size), offset)
        return failed or _WRITE(original.write)(file, data, size, offset)

    def _truncate(self, file: int, size: int) -> int:
        path, original, _ = self._files[file]
        failed = self._passing("truncate", path, b"", size)
        return failed or _TRUNCATE(original.truncate)(file, size)

    def _sync(self, file: int, flags: int) -> int:
        path, original, _ = self._files[file]
        failed = self._passing("before sync", path, b"", 0)
        code = failed or _SYNC(original.sync)(file, flags)
        return code or self._passing("sync", path, b"", 0)


def _text(name: int) -> str:
    return os.fsdecode(ctypes.string_at(name))


def _address(function: Any) -> int | None:
    return ctypes.cast(function, _POINTER).value


class Journal:
    """Every change to the files of a folder, in the order in which all processes made them."""

    def __init__(self, folder: Path, kept: Path) -> None:
        """`kept` is a folder for the journal and the files as they were when it began."""
        self._folder = folder
        self._before = kept / "before"
        self._log = kept / "journal"

    def begin(self) -> None:
        """What is in the folder now is on the disk."""
        shutil.rmtree(self._before, ignore_errors=True)
        self._before.mkdir(parents=True)
        for path in self._files():
            shutil.copyfile(path, self._before / path.name)
        self._log.write_bytes(b"")

    def note(self, verb: str, path: str, data: bytes, place: int) -> int:
        """Write one change down; for `watch_disk`."""
        if Path(path).parent == self._folder and verb != "before sync":
            head = json.dumps([verb, Path(path).name, place, len(data)]).encode()
            log = os.open(self._log, os.O_WRONLY | os.O_APPEND)
            os.write(log, head + b"\n" + data)  # in one piece: others write here too
            os.close(log)
        return 0

    def lose_power(self, chance: random.Random) -> None:
        """Make the files again as they may be after a power loss; nobody has them open."""
        files = {path.name: bytearray(path.read_bytes()) for path in self._before.iterdir()}
        unsynced: dict[str, list[tuple[str, int, bytes]]] = {}
        for verb, name, place, data in self._noted():
            waiting = unsynced.setdefault(name, [])
            if verb == "delete":
                waiting.clear()
                files.pop(name, None)
            elif verb == "sync":
                _do(files, name, waiting)
                waiting.clear()
            else:
                waiting.append((verb, place, data))
        for name, waiting in unsynced.items():
            _do(files, name, list(_some(waiting, chance)))
        for path in self._files():
            path.unlink()
        for name, content in files.items():
            (self._folder / name).write_bytes(content)

    def _files(self) -> list[Path]:
        """The database's own files; what lies in the `-shm` file is nothing after a crash."""
        found = (path for path in self._folder.glob("*.db*") if path.is_file())
        return [path for path in found if not path.name.endswith(("-shm", "-turn"))]

    def _noted(self) -> Iterator[tuple[str, str, int, bytes]]:
        with self._log.open("rb") as log:
            while head := log.readline():
                verb, name, place, size = json.loads(head)
                yield verb, name, place, log.read(size)


def _do(files: dict[str, bytearray], name: str, changes: list[tuple[str, int, bytes]]) -> None:
    for verb, place, data in changes:
        content = files.setdefault(name, bytearray())
        if verb == "truncate":
            del content[place:]
        else:
            content.extend(bytes(max(0, place - len(content))))
            content[place : place + len(data)] = data


def _some(
    changes: list[tuple[str, int, bytes]], chance: random.Random
) -> Iterator[tuple[str, int, bytes]]:
    """Any part of what was not synced: each change done, not done, or done in part."""
    share = chance.choice((0.0, 0.5, 1.0))
    for verb, place, data in changes:
        if chance.random() >= share:
            continue
        if verb == "write" and len(data) > SECTOR and chance.random() < 0.2:
            data = data[: SECTOR * chance.randrange(1, len(data) // SECTOR + 1)]
        yield verb, place, data
