import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from agentrt.audit.database import open_database
from agentrt.audit.writer import GROUP_MAX, Writer
from agentrt.errors import Conflict, StoreUnavailable


class Bench:
    """A writer on a database of its own, with its commits counted."""

    def __init__(self, path: Path) -> None:
        self.database = open_database(path, create=True)
        self.engine = self.database.engine
        with self.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS note (text TEXT UNIQUE)")
        self.commits = 0
        event.listen(self.engine, "commit", self._count)
        self.writer = Writer(self.database)

    def _count(self, _connection: Connection) -> None:
        self.commits += 1

    def note(self, text: str) -> Future[str]:
        def work(connection: Connection) -> str:
            connection.exec_driver_sql("INSERT INTO note VALUES (?)", (text,))
            return text

        return self.writer.submit(work)

    def notes(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.exec_driver_sql("SELECT text FROM note").scalars())

    def close(self) -> None:
        self.writer.close()
        self.database.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    opened = Bench(tmp_path / "a.db")
    yield opened
    opened.close()


def busy(bench: Bench) -> tuple[Future[None], threading.Event]:
    """Work that keeps the writer until the event is set, so that others have to wait."""
    begun, done = threading.Event(), threading.Event()

    def work(_connection: Connection) -> None:
        begun.set()
        done.wait(timeout=10)

    waiting = bench.writer.submit(work)
    begun.wait(timeout=10)
    return waiting, done


def test_work_is_done_in_the_order_it_was_given(bench: Bench) -> None:
    order: list[int] = []
    work = [
        bench.writer.submit(lambda _connection, number=number: order.append(number))
        for number in range(50)
    ]
    for waiting in work:
        waiting.result(timeout=10)
    assert order == list(range(50))


def test_what_waits_is_committed_together(bench: Bench) -> None:
    _, done = busy(bench)
    work = [bench.note(str(number)) for number in range(32)]
    before = bench.commits
    done.set()
    assert [waiting.result(timeout=10) for waiting in work] == [str(n) for n in range(32)]
    assert bench.commits - before == 2  # the one that kept it busy, and all that waited


def test_a_group_is_not_larger_than_it_may_be(bench: Bench) -> None:
    _, done = busy(bench)
    work = [bench.note(str(number)) for number in range(GROUP_MAX + 1)]
    before = bench.commits
    done.set()
    work[-1].result(timeout=10)
    assert bench.commits - before == 3


def test_nobody_hears_of_success_before_the_commit(bench: Bench) -> None:
    done_at_commit: list[bool] = []
    first: Future[str] | None = None

    def look(_connection: Connection) -> None:
        done_at_commit.append(first is not None and first.done())

    event.listen(bench.engine, "commit", look)
    first = bench.note("a")
    first.result(timeout=10)
    assert done_at_commit == [False]
    assert bench.notes() == {"a"}


def test_work_that_is_refused_does_not_disturb_its_group(bench: Bench) -> None:
    def refuse(_connection: Connection) -> None:
        raise Conflict

    _, done = busy(bench)
    good, bad, better = bench.note("a"), bench.writer.submit(refuse), bench.note("b")
    before = bench.commits
    done.set()
    assert good.result(timeout=10) == "a"
    assert better.result(timeout=10) == "b"
    assert isinstance(bad.exception(timeout=10), Conflict)
    assert bench.commits - before == 2


@pytest.mark.parametrize("failure", [ValueError("mine"), KeyError("x")])
def test_work_that_fails_after_writing_leaves_nothing_and_fails_alone(
    bench: Bench, failure: Exception
) -> None:
    def fail(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO note VALUES ('half')")
        raise failure

    _, done = busy(bench)
    good, bad, better = bench.note("a"), bench.writer.submit(fail), bench.note("b")
    done.set()
    assert bad.exception(timeout=10) is failure
    assert {good.result(timeout=10), better.result(timeout=10)} == {"a", "b"} == bench.notes()


def test_a_failing_database_is_a_store_that_is_not_available(bench: Bench) -> None:
    bench.note("a").result(timeout=10)
    twice = bench.note("a").exception(timeout=10)
    assert isinstance(twice, StoreUnavailable)
    assert bench.note("b").result(timeout=10) == "b"


def test_a_commit_that_fails_fails_all_of_its_group_and_none_after(bench: Bench) -> None:
    def fail(_connection: Connection) -> None:
        raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    event.listen(bench.engine, "commit", fail)
    failed = [bench.note(str(number)).exception(timeout=10) for number in range(3)]
    event.remove(bench.engine, "commit", fail)
    assert all(isinstance(error, StoreUnavailable) for error in failed)
    assert not [str(error) for error in failed if "Make room" not in str(error)]
    assert bench.note("later").result(timeout=10) == "later"
    assert bench.notes() == {"later"}


def test_a_database_that_cannot_be_reached_is_told_to_each_who_waits(bench: Bench) -> None:
    def fail(*_arguments: Any) -> None:
        raise OperationalError("connect", {}, Exception("unable to open database file"))

    event.listen(bench.engine, "begin", fail)
    assert isinstance(bench.note("a").exception(timeout=10), StoreUnavailable)
    event.remove(bench.engine, "begin", fail)
    assert bench.note("b").result(timeout=10) == "b"


def test_work_that_nobody_waits_for_any_more_is_still_done(bench: Bench) -> None:
    _, done = busy(bench)
    given_up, other = bench.note("a"), bench.note("b")
    given_up.cancel()
    done.set()
    other.result(timeout=10)
    assert bench.notes() == {"a", "b"}


def test_closing_finishes_what_was_given_and_takes_no_more(bench: Bench) -> None:
    _, done = busy(bench)
    work = [bench.note(str(number)) for number in range(GROUP_MAX + 5)]
    closing = threading.Thread(target=bench.writer.close)
    closing.start()
    done.set()
    closing.join(timeout=10)
    assert all(waiting.done() and waiting.exception() is None for waiting in work)
    with pytest.raises(StoreUnavailable, match="closed"):
        bench.note("late")
    bench.writer.close()


def test_two_writers_on_one_file_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    benches = [Bench(path), Bench(path)]
    order: list[int] = []
    lock = threading.Lock()

    def work_of(index: int) -> Any:
        def work(connection: Connection) -> None:
            connection.exec_driver_sql("INSERT INTO note VALUES (NULL)")
            with lock:
                order.append(index)

        return work

    def go(index: int) -> None:
        for _ in range(60):
            benches[index].writer.submit(work_of(index)).result(timeout=20)

    threads = [threading.Thread(target=go, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for bench in benches:
        bench.close()
    changes = sum(a != b for a, b in itertools.pairwise(order))
    assert len(order) == 120
    assert changes > 5  # the busy handler alone would let one of them finish first
