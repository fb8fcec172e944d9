from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from review_desk import Desk

from agentrt.errors import StoreUnavailable


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def test_a_watch_notices_what_another_connection_writes_once(desk: Desk) -> None:
    watch = desk.store.watch()
    assert not watch.changed()
    desk.start(1, prompt="hello")
    assert watch.changed()
    assert not watch.changed()
    watch.close()


def test_a_watch_notices_that_the_file_is_gone(desk: Desk) -> None:
    watch = desk.store.watch()
    desk.store.path.rename(desk.folder / "moved.db")
    with pytest.raises(StoreUnavailable, match="no audit store"):
        watch.changed()
    watch.close()


def test_a_watch_notices_that_another_file_took_its_place(desk: Desk) -> None:
    watch = desk.store.watch()
    desk.store.path.rename(desk.folder / "moved.db")
    desk.store.path.write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="replaced"):
        watch.changed()
    watch.close()


def test_the_last_word_of_a_reviewer_is_found(desk: Desk) -> None:
    assert desk.store.last_approval() is None
    first, second = (desk.hold(n, "write_file", {}, severity="low") for n in (1, 2))
    desk.approve(first, key=desk.ana)
    desk.clock.pass_(1)
    desk.reject(second, key=desk.lee)
    last = desk.store.last_approval()
    assert last is not None
    assert (last.call, last.verdict, last.by) == (second, "reject", "lee")
