"""The kinds of crashes: each strikes a world until it is over, or as often as it likes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentrt.audit import AuditStore, claims
from agentrt.errors import AgentrtError
from tests.crash.account import Account, account
from tests.crash.children import ended, fork, stopped
from tests.crash.disk import FULL, Journal, watch_disk
from tests.crash.ground import Ground
from tests.crash.points import Counter, Point, kill_at
from tests.crash.server import Network
from tests.crash.work import carry_on, decide, forge, prepare
from tests.crash.world import World

__all__ = ["KINDS", "Strikes", "kinds_of", "strike"]

COMMITS = ("before commit", "after commit")
SENDS = ("before sending", "after sending", "after the effect", "before returning")
FUNCTIONS = ("before function", "after function")
SYNCS = ("before fsync", "after fsync", "at a write")
STRIKES_MAX = 12
"""How often one world is struck, before it is let be."""

FINISHES_MAX = 6
"""How often a world is taken up that nobody strikes, before it counts as stuck."""

FSYNC_FAILED = 1034
"""SQLITE_IOERR_FSYNC."""

JUMP_MS = 2 * 60 * 60 * 1000


@dataclass
class Strikes:
    """What was done to one world, and what came of it."""

    ground: Ground
    world: World
    chance: random.Random
    number: int
    """Which world of its kind it is: the first strikes sweep all points by it."""
    only: Point | None = None
    """Strike once, here, instead of wherever the kind would."""
    kills: int = 0
    wrong: list[str] = field(default_factory=list)
    last: Account = field(default_factory=lambda: Account((), over=False))

    def child(self, *work: Callable[[], object]) -> int:
        """A child that does these things one after the other."""

        def all_of_it() -> None:
            self.ground.mutate()
            for each in work:
                each()

        return fork(all_of_it)

    def killed(self, child: int) -> bool:
        """Wait for a child; whether it was killed. One that failed by itself is a finding."""
        code = ended(child)
        self.kills += code == -signal.SIGKILL
        if code not in (0, -signal.SIGKILL):
            self.wrong.append(f"a process ended with {code}")
        return code == -signal.SIGKILL

    def look(self, *, final: bool = False) -> Account:
        """Compare the store with the world, as they are between two processes."""
        self.last = account(self.world, final=final)
        self.wrong += self.last.wrong
        return self.last

    def summary(self) -> dict[str, object]:
        return {
            "kills": self.kills,
            "sends": self.last.sends,
            "doubts": self.last.doubts,
            "asked": self.last.asked,
            "wrong": self.wrong,
        }

    def carry(self, *, alone: bool = True) -> Callable[[], object]:
        return lambda: carry_on(self.world, alone=alone)

    def as_far_as_it_goes(self) -> Callable[[], object]:
        """Carry on; a database that stays away for too long may end the process, and says so."""

        def carrying() -> None:
            with suppress(AgentrtError):
                carry_on(self.world)

        return carrying

    def next_point(self, kinds: Sequence[str], *, most: int = 6) -> Point:
        """The first sweeps all that there are; later ones are near, so that all get further."""
        if self.only is not None:
            return self.only
        if self.kills == 0:
            each, number = divmod(self.number, len(kinds))
            return Point(kinds[number], 1 + each % (48 if "commit" in kinds[number] else 8))
        return Point(self.chance.choice(kinds), self.chance.randint(1, most))


Kind = Callable[[Strikes], None]


def kinds_of(store: str) -> list[str]:
    """The kinds that a store can be struck by."""
    other = ON_SQLITE if store == "postgres" else ON_POSTGRES
    return [name for name in KINDS if name not in other]


def strike(
    name: str,
    ground: Ground,
    number: int,
    *,
    until_wrong: bool = False,
    only: Point | None = None,
) -> Strikes:
    """Make a world, strike it as the kind does, let it come to its end, and compare.

    With `until_wrong` it ends with the first finding; `only` says where to strike, once.
    """
    chance = ground.chance(name, number)
    strikes = Strikes(ground, ground.world(name, number), chance, number, only)
    if ground.server is None:
        assert ended(fork(lambda: prepare(strikes.world))) == 0
    KINDS[name](strikes)
    if not (until_wrong and strikes.wrong):
        _let_finish(strikes)
    strikes.wrong = [f"{name} {number}: {what}" for what in dict.fromkeys(strikes.wrong)]
    if not strikes.wrong:
        ground.forget(strikes.world)
    return strikes


def _let_finish(strikes: Strikes) -> None:
    for _ in range(FINISHES_MAX):
        strikes.killed(strikes.child(strikes.carry()))
        if strikes.look().over:
            break
    if not strikes.look(final=True).over:
        strikes.wrong.append("left undecided: its runs did not come to an end")


def _until_over(strikes: Strikes, one: Callable[[], bool]) -> None:
    """Strike again and again; `one` says whether it met anything."""
    for _ in range(STRIKES_MAX if strikes.only is None else 1):
        if not one() or strikes.look().over or strikes.wrong:
            return


def _at(*kinds: str) -> Kind:
    """Killed at each of these points, and taken up by others who are killed there too."""

    def kind(strikes: Strikes) -> None:
        def one() -> bool:
            point = strikes.next_point(kinds)
            return strikes.killed(strikes.child(lambda: kill_at(point), strikes.carry()))

        _until_over(strikes, one)

    return kind


def at_random(strikes: Strikes) -> None:
    """Killed whenever it happens to be."""

    def one() -> bool:
        child = strikes.child(strikes.carry())
        time.sleep(strikes.chance.uniform(0.005, 0.25))
        os.kill(child, signal.SIGKILL)
        return strikes.killed(child)

    _until_over(strikes, one)


def at_syncs(strikes: Strikes) -> None:
    """Killed before and after each fsync, and in the middle of each write of the database."""

    def one() -> bool:
        point = strikes.next_point(SYNCS, most=20)
        return strikes.killed(strikes.child(lambda: _kill_at_sync(point), strikes.carry()))

    _until_over(strikes, one)


def _kill_at_sync(point: Point) -> None:
    counter = kill_at(point)
    names = {"before sync": "before fsync", "sync": "after fsync", "write": "at a write"}

    def passing(verb: str, _path: str, _data: bytes, _place: int) -> int:
        if verb in names:
            counter.pass_by(names[verb])
        return 0

    watch_disk(passing)


def in_recovery(strikes: Strikes) -> None:
    """Killed while a call is under way, and again while that is found out, and again."""
    first = Point(strikes.chance.choice((*SENDS, *FUNCTIONS)), 1 + strikes.number % 4)
    if not strikes.killed(strikes.child(lambda: kill_at(first), strikes.carry())):
        return

    def one() -> bool:
        point = Point(strikes.chance.choice((*COMMITS, *SENDS)), strikes.chance.randint(1, 3))
        return strikes.killed(strikes.child(lambda: kill_at(point), strikes.carry()))

    _until_over(strikes, one)


def in_approval(strikes: Strikes) -> None:
    """Reviewers are killed while they approve, reject and settle; who carries the run is not."""

    def one() -> bool:
        strikes.killed(strikes.child(strikes.carry(alone=False)))
        point = Point(strikes.chance.choice(COMMITS), strikes.chance.randint(1, 2))
        decided = strikes.child(lambda: kill_at(point), lambda: decide(strikes.world))
        return strikes.killed(decided)

    _until_over(strikes, one)


def in_races(strikes: Strikes) -> None:
    """Two take the same run up at once, and one of them is killed, or both are."""

    def one() -> bool:
        first, second = (strikes.next_point((*COMMITS, *SENDS)) for _ in range(2))
        both = [strikes.child(lambda: kill_at(first), strikes.carry())]
        if strikes.chance.random() < 0.2:
            both.append(strikes.child(strikes.carry()))
        else:
            both.append(strikes.child(lambda: kill_at(second), strikes.carry()))
        killed = [strikes.killed(each) for each in both]
        return any(killed)

    _until_over(strikes, one)


def while_stopped(strikes: Strikes) -> None:
    """Stopped in the middle; the run moves on with another; then it goes on, or is killed."""

    def one() -> bool:
        # Not within a commit: who is stopped there holds the lock that all others wait for.
        point = strikes.next_point(("after commit", *SENDS, "after commit", *FUNCTIONS))
        first = strikes.child(lambda: kill_at(point, by=signal.SIGSTOP), strikes.carry())
        if not stopped(first):
            return False
        strikes.killed(strikes.child(_presume_dead, strikes.carry()))
        strikes.look()
        if strikes.chance.random() < 0.3:
            os.kill(first, signal.SIGKILL)
            return strikes.killed(first)
        os.kill(first, signal.SIGCONT)
        strikes.killed(first)
        strikes.kills += 1  # a stop is a strike
        return True

    _until_over(strikes, one)


def _presume_dead() -> None:
    """Who has been silent for a moment has lost its lease, instead of after half a minute."""
    claims.SILENT_S = 0.02
    time.sleep(0.05)


def with_a_bad_disk(strikes: Strikes) -> None:
    """From some write on the disk is full, or an fsync fails; then the process is killed."""

    def one() -> bool:
        broken = strikes.chance.choice(("write", "before sync"))
        first = strikes.chance.randint(1, 120 if broken == "write" else 30)
        return strikes.killed(
            strikes.child(lambda: _break_disk(broken, first), lambda: _fail(strikes))
        )

    _until_over(strikes, one)


def _break_disk(broken: str, first: int) -> None:
    seen = 0

    def passing(verb: str, _path: str, _data: bytes, _place: int) -> int:
        nonlocal seen
        seen += verb == broken
        if verb != broken or seen < first:
            return 0
        return FULL if broken == "write" else FSYNC_FAILED

    watch_disk(passing)


def _fail(strikes: Strikes) -> None:
    """Carry on; whoever cannot for want of a disk is killed."""
    try:
        carry_on(strikes.world)
    except Exception:  # noqa: BLE001 - however it tells of it
        os.kill(os.getpid(), signal.SIGKILL)


def without_power(strikes: Strikes) -> None:
    """The machine loses its power: what was not synced is gone, or in part."""
    file = Path(strikes.world.store)
    journal = Journal(file.parent, file.parent / "kept")

    def one() -> bool:
        point = strikes.next_point((*SENDS, *COMMITS, "at a write", "after fsync"), most=8)
        journal.begin()
        killed = strikes.killed(
            strikes.child(lambda: _watch_power(journal, point), strikes.carry())
        )
        if killed:
            journal.lose_power(strikes.chance)
        return killed

    _until_over(strikes, one)


def _watch_power(journal: Journal, point: Point) -> None:
    counter = kill_at(point)

    def passing(verb: str, path: str, data: bytes, place: int) -> int:
        if verb in ("write", "sync"):
            counter.pass_by("at a write" if verb == "write" else "after fsync")
        return journal.note(verb, path, data, place)

    watch_disk(passing)


def while_the_clock_jumps(strikes: Strikes) -> None:
    """The clock jumps past all expiries just as a start is committed; then there is a kill."""

    def one() -> bool:
        if strikes.world.clock.ahead_ms == 0:
            number = 1 + strikes.number % 3
            strikes.killed(strikes.child(lambda: _jump_at(strikes.world, number), strikes.carry()))
            strikes.world.clock.ahead_ms = JUMP_MS
        point = strikes.next_point((*COMMITS, *SENDS))
        return strikes.killed(strikes.child(lambda: kill_at(point), strikes.carry()))

    _until_over(strikes, one)


def _jump_at(world: World, number: int) -> None:
    commit = AuditStore.commit
    counter = Counter(lambda _point: None)

    async def and_jump(self: Any, draft: Any, **options: Any) -> Any:
        if options.get("not_after") is not None:
            counter.pass_by("start")
            if counter.seen["start"] == number:
                world.clock.ahead_ms = JUMP_MS
        return await commit(self, draft, **options)

    AuditStore.commit = and_jump  # type: ignore[method-assign]


def with_a_forger(strikes: Strikes) -> None:
    """Killed before the fax goes out; and somebody without a key writes into the database."""
    points = (Point("before sending", 3), Point("before sending", 4), Point("before commit", 6))

    def one() -> bool:
        strikes.killed(strikes.child(strikes.carry(alone=False)))
        strikes.killed(strikes.child(lambda: decide(strikes.world)))
        strikes.killed(strikes.child(lambda: forge(strikes.world)))
        point = strikes.only or points[strikes.chance.randrange(3)]
        killed = strikes.killed(
            strikes.child(lambda: kill_at(point), strikes.carry(alone=strikes.number % 2 == 0))
        )
        strikes.killed(strikes.child(lambda: forge(strikes.world)))
        strikes.killed(strikes.child(strikes.carry(alone=False)))
        return killed

    _until_over(strikes, one)


def with_the_server_killed(strikes: Strikes) -> None:
    """The database is killed and started again, while a run is carried on."""
    server = strikes.ground.server
    assert server is not None

    def one() -> bool:
        child = strikes.child(strikes.as_far_as_it_goes())
        time.sleep(strikes.chance.uniform(0.05, 0.5))
        server.kill()
        server.start()
        strikes.killed(child)
        strikes.kills += 1
        return True

    _until_over(strikes, one)


def with_the_network_cut(strikes: Strikes) -> None:
    """Every connection to the database breaks, while a run is carried on."""
    assert strikes.ground.server is not None
    with Network(strikes.ground.server) as network:
        direct, strikes.world = strikes.world, replace(strikes.world, store=network.url)

        def one() -> bool:
            child = strikes.child(strikes.as_far_as_it_goes())
            for _ in range(3):
                time.sleep(strikes.chance.uniform(0.02, 0.2))
                network.cut()
            strikes.killed(child)
            strikes.kills += 3
            return True

        _until_over(strikes, one)
        strikes.world = direct


KINDS: dict[str, Kind] = {
    "commit": _at(*COMMITS),
    "send": _at(*SENDS, *FUNCTIONS),
    "fsync": at_syncs,
    "random": at_random,
    "recovery": in_recovery,
    "approval": in_approval,
    "race": in_races,
    "stopped": while_stopped,
    "disk": with_a_bad_disk,
    "power": without_power,
    "clock": while_the_clock_jumps,
    "forger": with_a_forger,
    "server": with_the_server_killed,
    "network": with_the_network_cut,
}
"""By the name that the command line has for them."""

ON_SQLITE = ("fsync", "disk", "power")
"""Those that need the files; on PostgreSQL they are the server's."""

ON_POSTGRES = ("server", "network")
