"""Files below one root, and nothing outside it."""

import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.errors import ToolError
from agentrt.tools import Call
from agentrt_tools.files import file_tools

SECRET = "the secret outside"


def a_call() -> Call:
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    return Call(id="c", key="r:c", run="r", user=None, attempt=1, deadline=deadline)


def tools_for(root: Path) -> Any:
    return SimpleNamespace(**{tool.name: tool for tool in file_tools(root)})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a little in it, and a secret beside it."""
    (tmp_path / "secret.txt").write_text(SECRET)
    inside = tmp_path / "root"
    (inside / "notes").mkdir(parents=True)
    (inside / "notes" / "a.txt").write_text("one\ntwo\nthree\n")
    (inside / "out").symlink_to(tmp_path)
    (inside / "secret_link").symlink_to(tmp_path / "secret.txt")
    (inside / "loop").symlink_to("loop")
    return inside


def test_files_are_listed_by_name_with_what_they_are(root: Path) -> None:
    (root / "b.txt").write_text("12345")
    os.mkfifo(root / "pipe")
    assert tools_for(root).list_files() == [
        {"name": "b.txt", "kind": "file", "size_bytes": 5},
        {"name": "loop", "kind": "link", "size_bytes": 4},
        {"name": "notes", "kind": "folder", "size_bytes": (root / "notes").stat().st_size},
        {"name": "out", "kind": "link", "size_bytes": (root / "out").lstat().st_size},
        {"name": "pipe", "kind": "other", "size_bytes": 0},
        {
            "name": "secret_link",
            "kind": "link",
            "size_bytes": (root / "secret_link").lstat().st_size,
        },
    ]


def test_lines_are_read_from_where_it_was_asked(root: Path) -> None:
    tools = tools_for(root)
    assert tools.read_file("notes/a.txt") == "one\ntwo\nthree\n"
    assert tools.read_file("notes/a.txt", first_line=2, line_count=1) == "two\n"
    assert tools.read_file("./notes//a.txt", first_line=9) == ""


def test_a_text_is_found_in_all_files_below(root: Path) -> None:
    (root / "notes" / "deep").mkdir()
    (root / "notes" / "deep" / "b.txt").write_text("a two b\n")
    (root / "notes" / "binary").write_bytes(b"two\0")
    (root / "notes" / "latin").write_bytes(b"two \xff")
    tools = tools_for(root)
    expected = [
        {"path": "notes/a.txt", "line": 2, "text": "two"},
        {"path": "notes/deep/b.txt", "line": 1, "text": "a two b"},
    ]
    assert tools.search_files("two", a_call()) == expected
    assert tools.search_files("two", a_call(), path="notes") == expected
    assert tools.search_files(SECRET, a_call()) == []


def test_a_search_stops_at_its_limit(root: Path) -> None:
    (root / "many.txt").write_text("x\n" * 1000)
    assert len(tools_for(root).search_files("x", a_call())) == 200


def test_a_file_is_written_with_its_folders_and_replaced(root: Path) -> None:
    tools = tools_for(root)
    assert tools.write_file("new/deep/a.txt", "grün") == "Wrote 5 bytes to new/deep/a.txt."
    assert (root / "new/deep/a.txt").read_text() == "grün"
    tools.write_file("new/deep/a.txt", "")
    assert (root / "new/deep/a.txt").read_text() == ""
    assert os.listdir(root / "new/deep") == ["a.txt"]


def test_a_replaced_file_keeps_its_permissions(root: Path) -> None:
    (root / "notes" / "a.txt").chmod(0o640)
    tools_for(root).write_file("notes/a.txt", "x")
    assert stat.S_IMODE((root / "notes" / "a.txt").stat().st_mode) == 0o640


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        tools_for(root).write_file("notes/a.txt", "new")
    assert (root / "notes" / "a.txt").read_text() == "one\ntwo\nthree\n"
    assert os.listdir(root / "notes") == ["a.txt"]


def test_a_reviewer_sees_what_a_write_would_change(root: Path) -> None:
    write_file = tools_for(root).write_file
    shown = write_file.preview("notes/a.txt", "one\n2\nthree\n")
    assert shown.splitlines()[-4:] == [" one", "-two", "+2", " three"]
    assert "+hello" in write_file.preview("nowhere/yet.txt", "hello")


async def test_a_deleted_file_is_gone_and_its_check_knows(root: Path) -> None:
    delete_file = tools_for(root).delete_file
    arguments = delete_file.complete({"path": "notes/a.txt"})
    assert await delete_file.run_check(arguments, a_call()) is None
    assert await delete_file.run(arguments, a_call()) == "Deleted notes/a.txt."
    assert not (root / "notes" / "a.txt").exists()
    assert await delete_file.run_check(arguments, a_call()) == "Deleted notes/a.txt."


def test_deleting_a_link_leaves_what_it_points_to(root: Path) -> None:
    tools_for(root).delete_file("secret_link")
    assert (root.parent / "secret.txt").read_text() == SECRET


def test_a_folder_is_not_deleted(root: Path) -> None:
    with pytest.raises(ToolError):
        tools_for(root).delete_file("notes")
    assert (root / "notes" / "a.txt").exists()


def attempts(tools: Any, path: str) -> Iterator[Any]:
    yield lambda: tools.read_file(path)
    yield lambda: tools.write_file(path, "overwritten")
    yield lambda: tools.delete_file(path)
    yield lambda: tools.list_files(path)
    yield lambda: tools.search_files("secret", a_call(), path=path)


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "notes/../../secret.txt",
        "/etc/passwd",
        "//etc/passwd",
        "out/secret.txt",
        "out",
        "out/root/notes/a.txt",
        "loop/a",
        "..",
        "notes/a.txt/..",
        "a\0b",
        "notes/a.txt/b",
        "x" * 300,
    ],
)
def test_no_path_leads_outside(root: Path, path: str) -> None:
    for attempt in attempts(tools_for(root), path):
        with suppress(ToolError):
            told = attempt()
            assert SECRET not in str(told)
    assert (root.parent / "secret.txt").read_text() == SECRET
    assert sorted(os.listdir(root.parent)) == ["root", "secret.txt"]


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "out/secret.txt", "secret_link"])
def test_what_leads_outside_is_refused_in_words(root: Path, path: str) -> None:
    tools = tools_for(root)
    with pytest.raises(ToolError, match=r"leads outside|symbolic link"):
        tools.read_file(path)
    with pytest.raises(ToolError, match=r"leads outside|symbolic link|no regular file"):
        tools.write_file(path, "x")


PIECES = st.sampled_from(["..", ".", "", "notes", "out", "root", "secret.txt", "a.txt", "loop"])


@given(st.lists(PIECES | st.text(max_size=3), max_size=6).map("/".join))
def test_no_path_that_can_be_made_up_leads_outside(
    tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    outside = tmp_path_factory.getbasetemp() / "attacked"
    root = outside / "root"
    (root / "notes").mkdir(parents=True, exist_ok=True)
    (outside / "secret.txt").write_text(SECRET)
    with suppress(FileExistsError):
        (root / "out").symlink_to(outside)
    tools = tools_for(root)
    for attempt in attempts(tools, path):
        with suppress(ToolError):
            assert SECRET not in str(attempt())
    assert (outside / "secret.txt").read_text() == SECRET
    assert sorted(os.listdir(outside)) == ["root", "secret.txt"]


@pytest.fixture
def exchanged(root: Path) -> Iterator[None]:
    """Somebody who goes on exchanging `notes` for a link that leads outside."""
    stop = threading.Event()

    def exchange() -> None:
        folder, link, spare = root / "notes", root / "evil", root / "spare"
        while not stop.is_set():
            # Any step may fail, as when a write made the folder anew in between.
            for step in (
                lambda: link.symlink_to(root.parent),
                lambda: folder.rename(spare),
                lambda: link.rename(folder),
                folder.unlink,
                lambda: shutil.rmtree(folder),
                lambda: spare.rename(folder),
            ):
                with suppress(OSError):
                    step()

    attacker = threading.Thread(target=exchange)
    attacker.start()
    yield
    stop.set()
    attacker.join()


def test_a_folder_exchanged_for_a_link_while_we_look_gains_nothing(
    root: Path, exchanged: None
) -> None:
    (root.parent / "a.txt").write_text(SECRET)
    tools = tools_for(root)
    for _ in range(1500):
        with suppress(ToolError):
            assert SECRET not in tools.read_file("notes/a.txt")
        with suppress(ToolError):
            assert tools.search_files(SECRET, a_call(), path="notes") == []
        with suppress(ToolError):
            tools.write_file("notes/planted.txt", "x")
        with suppress(ToolError):
            tools.delete_file("notes/secret.txt")
    assert not (root.parent / "planted.txt").exists()
    assert (root.parent / "secret.txt").exists()


def test_a_pipe_or_a_device_is_refused_without_waiting(root: Path) -> None:
    os.mkfifo(root / "pipe")
    tools = tools_for(root)
    with pytest.raises(ToolError, match="no regular file"):
        tools.read_file("pipe")
    with pytest.raises(ToolError, match="no regular file"):
        tools.write_file("pipe", "x")


def test_large_and_binary_files_are_refused(root: Path) -> None:
    with (root / "large").open("wb") as file:
        file.truncate(10**12)  # sparse: takes no room
    (root / "binary").write_bytes(b"a\0b")
    (root / "latin").write_bytes(b"\xff")
    tools = tools_for(root)
    for path, said in {"large": "larger than", "binary": "binary", "latin": "UTF-8"}.items():
        with pytest.raises(ToolError, match=said):
            tools.read_file(path)
    with pytest.raises(ToolError, match="larger than"):
        tools.write_file("new", "ü" * 600_000)


def test_a_folder_with_too_many_entries_is_refused(root: Path) -> None:
    for number in range(1001):
        (root / "notes" / str(number)).touch()
    with pytest.raises(ToolError, match="more than 1000"):
        tools_for(root).list_files("notes")


def test_a_root_that_is_gone_is_said_without_its_place(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be opened") as raised:
        tools_for(tmp_path / "gone").read_file("a")
    assert str(tmp_path) not in str(raised.value)


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for path in ("notes/a.txt", "out/secret.txt", "nowhere", "notes", "../x"):
        for attempt in attempts(tools_for(root), path):
            with suppress(ToolError):
                attempt()
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert after == before
