from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from review_desk import Desk, busy
from textual.pilot import Pilot

from agentrt.tui import ReviewApp

WIDE, NARROW = (120, 36), (80, 24)

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "approvals.svg"

Snap = Callable[..., bool]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def screens(desk: Desk, **options: Any) -> ReviewApp:
    return ReviewApp(
        desk.store, desk.queue, desk.ana, now=desk.clock.monotonic, poll_s=3600, **options
    )


def after(desk: Desk, *keys: str) -> Callable[[Pilot[None]], Any]:
    """What the reviewer did before the picture was taken, a second between the keys."""

    async def act(pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, ReviewApp)
        await pilot.pause()
        for key in keys:
            desk.clock.pass_(1)
            await pilot.press(key)
            await pilot.pause()
        desk.clock.pass_(1)
        pilot.app.poll()
        await pilot.pause()

    return act


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_approvals(desk: Desk, snap_compare: Snap, size: tuple[int, int]) -> None:
    busy(desk)
    assert snap_compare(screens(desk), terminal_size=size, run_before=after(desk, "j"))


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_form_of_a_critical_call(desk: Desk, snap_compare: Snap, size: tuple[int, int]) -> None:
    busy(desk)
    keys = ("tab", "G", "a") if size == NARROW else ("a",)
    assert snap_compare(screens(desk), terminal_size=size, run_before=after(desk, *keys, "o", "k"))


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_runs(desk: Desk, snap_compare: Snap, size: tuple[int, int]) -> None:
    busy(desk)
    assert snap_compare(screens(desk), terminal_size=size, run_before=after(desk, "2"))


def test_a_run(desk: Desk, snap_compare: Snap) -> None:
    busy(desk)
    app = screens(desk, at="r_0000000000000002")
    assert snap_compare(app, terminal_size=NARROW, run_before=after(desk))


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_no_approvals(desk: Desk, snap_compare: Snap, size: tuple[int, int]) -> None:
    assert snap_compare(screens(desk), terminal_size=size, run_before=after(desk))


def test_the_picture_of_the_readme_is_the_screen(desk: Desk) -> None:
    """Made by `make snapshots`, which copies it from the snapshot."""
    snapshot = (
        Path(__file__).parent / "__snapshots__" / "test_tui_snapshots" / "test_approvals[wide].svg"
    )
    assert PICTURE.read_text() == snapshot.read_text()
