"""Sinks: where lines go. A file tells by its own last line how far it got, so that none is lost.

There is no second file with a position that could disagree with the first: what was cut off in the
middle of a line is removed, and the export goes on behind the last whole one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from agentrt.errors import QueryInvalid
from agentrt.exports.cursor import Cursor
from agentrt.exports.formats import Format, cursor_in
from agentrt.exports.lines import Line

__all__ = ["FileSink", "Sink", "StreamSink"]

TAIL = 1 << 16
"""Bytes that are read at once when the last line is looked for."""


class Sink(Protocol):
    """Something that takes lines."""

    def write(self, lines: Sequence[Line]) -> None:
        """Write lines; when it returns they are where they belong."""


class StreamSink:
    """Lines to a stream: whoever reads it remembers the cursor of the last one."""

    def __init__(self, stream: BinaryIO, format: Format, *, heading: bool) -> None:
        self._stream = stream
        if heading and format.heading:
            stream.write(f"{format.heading}\n".encode())

    def write(self, lines: Sequence[Line]) -> None:
        """Write lines, and push them out."""
        self._stream.write(b"".join(f"{line.text}\n".encode() for line in lines))
        self._stream.flush()


class FileSink:
    """Lines to a file that goes on behind its last whole line. One export writes it at a time."""

    def __init__(self, path: Path, format: Format) -> None:
        self._path = path
        self._format = format
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise QueryInvalid(f"{path} cannot be written: {error.strerror}.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise QueryInvalid(f"Another export writes {path}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def resume(self, *, store: str) -> Cursor | None:
        """Cut off a line that was not written whole; the cursor of the last whole one.

        None when there is none yet. Raises QueryInvalid when the file is no export of this store
        in this format: it is then left as it is.
        """
        size = os.fstat(self._file).st_size
        whole, last = self._last_line(size)
        cursor = self._cursor_of(last, store)
        if whole < size:
            os.ftruncate(self._file, whole)
        os.lseek(self._file, whole, os.SEEK_SET)
        if whole == 0 and self._format.heading:
            self._append(f"{self._format.heading}\n".encode())
        return cursor

    def write(self, lines: Sequence[Line]) -> None:
        """Write lines; they are on the disk when it returns."""
        if lines:
            self._append(b"".join(f"{line.text}\n".encode() for line in lines))
            os.fsync(self._file)

    def _append(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]

    def _last_line(self, size: int) -> tuple[int, bytes]:
        """Where the last whole line ends, and what it says."""
        start, tail = size, b""
        while start > 0 and tail.count(b"\n") < 2:
            step = min(TAIL, start)
            start -= step
            tail = os.pread(self._file, step, start) + tail
        end = tail.rfind(b"\n")
        if end < 0:
            return 0, b""
        return start + end + 1, tail[:end].rsplit(b"\n", 1)[-1]

    def _cursor_of(self, last: bytes, store: str) -> Cursor | None:
        text = last.decode(errors="replace")
        if not text or text == self._format.heading:
            return None
        try:
            return Cursor.of(cursor_in(self._format, text), store=store)
        except ValueError as error:
            raise QueryInvalid(
                f"{self._path} is no export in the format {self._format.name}: name a new file."
            ) from error
