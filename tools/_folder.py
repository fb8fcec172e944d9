"""One folder and nothing outside it."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agentrt import errors

__all__ = ["FILE_BYTES_MAX", "Folder", "steps_of"]

FILE_BYTES_MAX = 1_000_000
"""Larger files are neither read nor written."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a pipe would wait for its other end, so never wait.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_SAID = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "goes through something that is no folder, or through a symbolic link",
    errno.ELOOP: "is a symbolic link, and these are not followed",
    errno.EISDIR: "is a folder",
    errno.EACCES: "may not be touched: permission denied",
    errno.EPERM: "may not be touched: permission denied",
    errno.ENAMETOOLONG: "is too long a name",
    errno.ENXIO: "is no regular file",
}


@dataclass(frozen=True)
class Folder:
    """A root that no path leads out of.

    Each step of a path is opened below the one before, never through a symbolic link, so
    that nothing gained by exchanging a folder for a link while we look. Hard links are
    ordinary files: keep what is foreign off the root's file system.
    Raises ToolError where it refuses, before anything is changed.
    """

    root: Path | None
    advice: str = "Name a folder."
    """What to do when there is no root."""

    @contextmanager
    def opened(self, steps: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder that these steps lead to."""
        descriptor = self._opened_root()
        try:
            for step in steps:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(step, dir_fd=descriptor)
                below = os.open(step, _FOLDER_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def read(self, path: str) -> bytes:
        """A regular file of at most FILE_BYTES_MAX bytes."""
        with explained(path), self.opened(steps_of(path)[:-1]) as folder:
            return read_at(folder, _name_of(path), path)

    def exists(self, path: str) -> bool:
        """Whether there is anything of this name."""
        try:
            with self.opened(steps_of(path)[:-1]) as folder:
                os.stat(_name_of(path), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def write(self, path: str, content: bytes) -> None:
        """Put the whole file there or nothing; what was there is replaced."""
        name = _name_of(path)
        if len(content) > FILE_BYTES_MAX:
            raise errors.ToolError(f"The content is larger than {FILE_BYTES_MAX} bytes.")
        with explained(path), self.opened(steps_of(path)[:-1], make=True) as folder:
            _replace(folder, name, content, mode=_mode_of(folder, name, path))

    def rename(self, name: str, new_name: str) -> None:
        """Rename a file directly in the root, durably."""
        with self.opened([]) as folder:
            os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def delete(self, path: str) -> None:
        """Delete a regular file or a symbolic link itself."""
        name = _name_of(path)
        with explained(path), self.opened(steps_of(path)[:-1]) as folder:
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def _opened_root(self) -> int:
        if self.root is None:
            raise errors.ToolError(f"This tool is not configured. {self.advice}")
        try:
            return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise errors.ToolError("The folder of this tool cannot be opened.") from error


def steps_of(path: str) -> tuple[str, ...]:
    """The names on the way; refuses what could lead outside."""
    if "\0" in path:
        raise errors.ToolError("A path has no NUL character in it.")
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise errors.ToolError(f"{path!r} leads outside: give a path below the root, without `..`.")
    return pure.parts


def _name_of(path: str) -> str:
    steps = steps_of(path)
    if not steps:
        raise errors.ToolError(f"{path!r} names no file.")
    return steps[-1]


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn the refusals of the file system into words; all else goes through."""
    try:
        yield
    except OSError as error:
        if (said := _SAID.get(error.errno or 0)) is None:
            raise
        raise errors.ToolError(f"{path!r} {said}.") from error


def read_at(folder: int, name: str, path: str) -> bytes:
    """A regular file directly in an open folder."""
    descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
    try:
        _check_regular(os.fstat(descriptor), path)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(content) > FILE_BYTES_MAX:
        raise errors.ToolError(f"{path!r} is larger than {FILE_BYTES_MAX} bytes.")
    return content


def _check_regular(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise errors.ToolError(f"{path!r} is no regular file.")


def _mode_of(folder: int, name: str, path: str) -> int | None:
    """The permissions to keep; None when there is no file yet."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    _check_regular(status, path)
    return stat.S_IMODE(status.st_mode)


def _replace(folder: int, name: str, content: bytes, *, mode: int | None) -> None:
    temporary = f".{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if mode is not None:
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)
