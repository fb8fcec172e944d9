"""Read, search, write and delete text files below one root, and nothing outside it.

The tools of this module work below the folder in AGENTRT_FILES_ROOT; `file_tools(root)`
makes them for another.
"""

import difflib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from pydantic import Field

from agentrt.errors import ToolError
from agentrt.tools import Call, Tool, tool

from ._folder import Folder, explained, read_at, steps_of

__all__ = [
    "delete_file",
    "file_tools",
    "list_files",
    "read_file",
    "search_files",
    "write_file",
]

ROOT_VARIABLE = "AGENTRT_FILES_ROOT"
ENTRIES_MAX = 1000
MATCHES_MAX = 200
FILES_SEARCHED_MAX = 10_000
LINE_CHARACTERS_MAX = 500

FilePath = Annotated[
    str,
    Field(
        min_length=1, max_length=1000, description="Path of the file below the root, as in a/b.txt."
    ),
]
FolderPath = Annotated[
    str,
    Field(
        min_length=1, max_length=1000, description="Path of the folder below the root; `.` is it."
    ),
]


class Entry(TypedDict):
    """One name in a folder."""

    name: str
    kind: Literal["file", "folder", "link", "other"]
    size_bytes: int


class Match(TypedDict):
    """A line with the text that was looked for."""

    path: str
    line: int
    text: str


def file_tools(root: Path | None) -> tuple[Tool, ...]:
    """The five tools for the files below one root; without one they refuse."""
    folder = Folder(root, f"Its operator has to name a folder in {ROOT_VARIABLE}.")
    make = (_list_files, _read_file, _search_files, _write_file, _delete_file)
    return tuple(make_one(folder) for make_one in make)


def _settings(folder: Folder) -> dict[str, str | None]:
    return {"root": None if folder.root is None else str(folder.root)}


def _list_files(folder: Folder) -> Tool:
    @tool(effect="read", settings=_settings(folder))
    def list_files(path: FolderPath = ".") -> list[Entry]:
        """List the files and folders directly in a folder, by name.

        A folder with more than 1000 entries is refused.
        """
        with explained(path), folder.opened(steps_of(path)) as opened:
            entries = sorted(_entries(opened), key=lambda entry: entry["name"])
        if len(entries) > ENTRIES_MAX:
            raise ToolError(f"{path!r} has more than {ENTRIES_MAX} entries.")
        return entries

    return list_files


def _entries(opened: int) -> Iterator[Entry]:
    with os.scandir(opened) as found:
        for count, entry in enumerate(found):
            if count > ENTRIES_MAX:
                return
            status = entry.stat(follow_symlinks=False)
            name = os.fsencode(entry.name).decode(errors="replace")
            yield Entry(name=name, kind=_kind(status.st_mode), size_bytes=status.st_size)


def _kind(mode: int) -> Literal["file", "folder", "link", "other"]:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def _read_file(folder: Folder) -> Tool:
    @tool(effect="read", settings=_settings(folder))
    def read_file(
        path: FilePath,
        first_line: Annotated[int, Field(ge=1, description="Where to begin; 1 is the top.")] = 1,
        line_count: Annotated[int, Field(ge=1, le=10_000, description="How many lines.")] = 1000,
    ) -> str:
        """Read lines of a text file in UTF-8.

        Symbolic links, devices, binary files and files above one megabyte are refused.
        """
        lines = _text(folder.read(path), path).splitlines(keepends=True)
        return "".join(lines[first_line - 1 : first_line - 1 + line_count])

    return read_file


def _text(content: bytes, path: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ToolError(f"{path!r} is not text in UTF-8.") from error
    if "\0" in text:
        raise ToolError(f"{path!r} is a binary file.")
    return text


def _search_files(folder: Folder) -> Tool:
    @tool(effect="read", settings=_settings(folder))
    def search_files(
        text: Annotated[str, Field(min_length=1, max_length=1000, description="What to find.")],
        call: Call,
        path: FolderPath = ".",
    ) -> list[Match]:
        """Find the lines that contain a text, in all text files of a folder and below.

        Upper and lower case differ. Gives up to 200 lines, and looks into up to 10,000 files.
        """
        found: list[Match] = []
        with explained(path), folder.opened(steps_of(path)) as opened:
            for file_path, content in _text_files(opened):
                found += _matches(content, text, "/".join([*steps_of(path), file_path]))
                if len(found) >= MATCHES_MAX or call.cancelled:
                    break
        return found[:MATCHES_MAX]

    return search_files


def _text_files(opened: int) -> Iterator[tuple[str, str]]:
    """Path and text of each file below, in a fixed order; what cannot be read is left out."""
    searched = 0
    for parent, folders, names, descriptor in os.fwalk(".", dir_fd=opened, follow_symlinks=False):
        folders.sort()
        for name in sorted(names):
            if (searched := searched + 1) > FILES_SEARCHED_MAX:
                return
            path = os.path.normpath(os.path.join(parent, name))
            try:
                text = _text(read_at(descriptor, name, path), path)
            except (OSError, ToolError):
                continue
            yield os.fsencode(path).decode(errors="replace"), text


def _matches(content: str, text: str, path: str) -> Iterator[Match]:
    for number, line in enumerate(content.splitlines(), start=1):
        if text in line:
            yield Match(path=path, line=number, text=line[:LINE_CHARACTERS_MAX])


def _write_file(folder: Folder) -> Tool:
    def show_change(path: str, content: str) -> str:
        before = _text(folder.read(path), path) if folder.exists(path) else ""
        lines = difflib.unified_diff(
            before.splitlines(), content.splitlines(), f"a/{path}", f"b/{path}", lineterm=""
        )
        return "\n".join(lines)

    @tool(effect="write", idempotent_for="1h", preview=show_change, settings=_settings(folder))
    def write_file(
        path: FilePath,
        content: Annotated[str, Field(max_length=1_000_000, description="The whole new text.")],
    ) -> str:
        """Write a text file in UTF-8, replacing what was there; missing folders are made.

        Either the whole file is written or nothing. Only regular files are replaced.
        """
        encoded = content.encode()
        folder.write(path, encoded)
        return f"Wrote {len(encoded)} bytes to {path}."

    return write_file


def _delete_file(folder: Folder) -> Tool:
    def is_gone(path: str) -> str | None:
        # Whoever took it away: the effect of the call, that it is not there, holds.
        return None if folder.exists(path) else f"Deleted {path}."

    @tool(effect="irreversible", check=is_gone, settings=_settings(folder))
    def delete_file(path: FilePath) -> str:
        """Delete one file for good. Folders are refused."""
        folder.delete(path)
        return f"Deleted {path}."

    return delete_file


def _root_from_environment() -> Path | None:
    root = os.environ.get(ROOT_VARIABLE)
    return Path(root) if root else None


list_files, read_file, search_files, write_file, delete_file = file_tools(_root_from_environment())
