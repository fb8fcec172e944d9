import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentrt.audit.processes import Process, is_alive

CHILD = """
import sys
from pathlib import Path
from agentrt.audit.processes import Process
process = Process(Path(sys.argv[1]))
print(process.id, flush=True)
sys.stdin.read()
"""


@contextmanager
def another(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process, and the name that it has."""
    command = [sys.executable, "-c", CHILD, str(folder)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout is not None
        try:
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


def test_a_process_lives_until_it_says_that_it_ends(tmp_path: Path) -> None:
    process = Process(tmp_path)
    assert is_alive(tmp_path, process.id)
    process.end()
    assert not is_alive(tmp_path, process.id)
    process.end()


def test_another_process_is_seen_to_live(tmp_path: Path) -> None:
    with another(tmp_path) as (_, name):
        assert is_alive(tmp_path, name)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_was_killed_is_dead_at_once(tmp_path: Path, number: int) -> None:
    with another(tmp_path) as (child, name):
        child.send_signal(number)
        child.wait()
        assert not is_alive(tmp_path, name)
        assert (tmp_path / name).exists()


def test_a_stopped_process_still_lives(tmp_path: Path) -> None:
    with another(tmp_path) as (child, name):
        child.send_signal(signal.SIGSTOP)
        assert is_alive(tmp_path, name)


def test_a_program_that_was_started_does_not_keep_the_dead_alive(tmp_path: Path) -> None:
    process = Process(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, stderr=-1) as child:
        os.close(process._file)
        process._file = -1
        assert not is_alive(tmp_path, process.id)
        child.kill()


def test_asking_leaves_the_answer_as_it_is(tmp_path: Path) -> None:
    process = Process(tmp_path)
    assert [is_alive(tmp_path, process.id) for _ in range(3)] == [True, True, True]
    process.end()


def test_a_process_nobody_knows_is_not_alive(tmp_path: Path) -> None:
    assert not is_alive(tmp_path, "p_1_abc")
    assert not is_alive(tmp_path / "no_folder", "p_1_abc")


def test_a_file_that_may_not_be_opened_is_no_proof_of_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    assert is_alive(tmp_path, "p_1_abc")


def test_processes_have_names_of_their_own_and_files_that_only_they_can_read(
    tmp_path: Path,
) -> None:
    first, second = Process(tmp_path / "new"), Process(tmp_path / "new")
    assert first.id != second.id
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / first.id).stat().st_mode & 0o777 == 0o600
    first.end()
    second.end()
