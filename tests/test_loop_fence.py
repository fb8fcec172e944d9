"""The fence: what another carries on, or what stood still for too long, is not entered."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from office import Office, one_call, only_call

from agentrt import AuditStore, Call, tool
from agentrt.audit import claims
from agentrt.audit.appends import put
from agentrt.audit.tables import LeaseRow
from agentrt.events import CallAbandoned, CallStarted
from agentrt.loop import fence
from agentrt.loop.cancel import cancel
from agentrt.loop.fence import Abandoned, Fence
from agentrt.run import Run

GO = "rules: [{id: go, decide: allow, tools: [send_money], why: Test.}]\n"


class Sent:
    """Money that was sent, noted in a file: more than one process may do it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "sent"

    @property
    def keys(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []

    def tool(self) -> Any:
        @tool(effect="irreversible")
        def send_money(to: str, call: Call) -> str:
            """Send money."""
            with self.file.open("a") as file:
                file.write(f"{call.key}\n")
            return "sent"

        return send_money


def an_office(folder: Path) -> Office:
    sent = Sent(folder)
    return Office(folder, (sent.tool(),), one_call("send_money", to="a"), rules=GO)


async def carried(office: Office, store: AuditStore, **options: Any) -> Run:
    async with office.runtime(store=store, **options) as runtime:
        return await runtime.run(office.agent(), "Do it.")


class Meddled(AuditStore):
    """A store in which something happens right after a start is durable."""

    async def meddle(self, run: str) -> None:
        raise NotImplementedError

    async def commit(self, draft: Any, **options: Any) -> Run:
        after = await super().commit(draft, **options)
        if any(isinstance(record.event, CallStarted) for record in draft.records):
            await self.meddle(after.id)
        return after


class Taken(Meddled):
    async def meddle(self, run: str) -> None:
        row = {"run": run, "process": "p_another"}
        await self.within(lambda connection: put(connection, LeaseRow, [row]))


class Ended(Meddled):
    async def meddle(self, run: str) -> None:
        await cancel(self, run, by="ana", reason="stop")


def test_time_passes_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    if not hasattr(time, "CLOCK_BOOTTIME"):
        pytest.skip("this system has no such clock: its monotonic one goes on while it sleeps")
    monkeypatch.setattr(time, "clock_gettime", lambda clock: asked.append(clock) or 5.0)
    assert fence.seconds() == 5.0
    assert asked == [time.CLOCK_BOOTTIME]


async def test_who_does_not_carry_a_run_does_not_pass(store: AuditStore) -> None:
    with pytest.raises(Abandoned, match="not_carried"):
        await Fence(store, "r_1").check()


async def test_a_run_that_another_took_over_between_start_and_function_is_not_entered(
    tmp_path: Path,
) -> None:
    with an_office(tmp_path) as office, Taken(tmp_path / "agentrt.db") as store:
        run = await asyncio.wait_for(_until_abandoned(office, store), 60)
    assert Sent(tmp_path).keys == []
    assert (only_call(run).status, only_call(run).attempt) == ("requested", 1)


async def _until_abandoned(office: Office, store: AuditStore) -> Run:
    """The run once it is recorded that its function was not entered."""
    async with office.runtime(store=store, take_up=False) as runtime:
        run = await runtime.start(office.agent(), "Do it.")
        while not any(isinstance(r.event, CallAbandoned) for r in store.records(run)):  # noqa: ASYNC110 - another writes
            await asyncio.sleep(0.02)
        return store.load(run)


async def test_a_run_that_was_cancelled_between_start_and_function_is_not_entered(
    tmp_path: Path,
) -> None:
    with an_office(tmp_path) as office, Ended(tmp_path / "agentrt.db") as store:
        run = await carried(office, store)
        records = store.records(run.id)
    assert (run.status, only_call(run).status) == ("cancelled", "cancelled")
    assert Sent(tmp_path).keys == []
    assert [r.event.why for r in records if isinstance(r.event, CallAbandoned)] == ["not_carried"]


async def test_a_process_that_stood_still_enters_nothing_and_the_call_is_decided_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = [0.0]
    before, begin = fence.seconds, Fence.__init__

    def suspended(self: Fence, *arguments: Any) -> None:
        """The machine sleeps for a minute after the start was recorded."""
        begin(self, *arguments)
        ahead[0] += 60.0

    monkeypatch.setattr(fence, "seconds", lambda: before() + ahead[0])
    monkeypatch.setattr(Fence, "__init__", suspended)
    with an_office(tmp_path) as office, AuditStore(tmp_path / "agentrt.db") as store:
        run = await carried(office, store)
        records = store.records(run.id)
    assert [r.event.why for r in records if isinstance(r.event, CallAbandoned)] == ["too_late"]
    assert (only_call(run).status, only_call(run).basis) == ("held", "second_attempt")
    assert Sent(tmp_path).keys == []


async def test_what_is_harmless_to_repeat_needs_no_fence(tmp_path: Path) -> None:
    done: list[str] = []

    @tool(effect="write", idempotent_for="1h")
    def send_money(to: str) -> str:
        """Send money, once for each key."""
        done.append(to)
        return "sent"

    office = Office(tmp_path, (send_money,), one_call("send_money", to="a"), rules=GO)
    with office, Taken(tmp_path / "agentrt.db") as store:
        async with office.runtime(store=store, take_up=False) as runtime:
            run = await runtime.start(office.agent(), "Do it.")
            while "call.finished" not in [r.event.type for r in store.records(run)]:  # noqa: ASYNC110 - another writes
                await asyncio.sleep(0.02)
    assert done == ["a"]


# --- real processes --------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[tuple[Office, subprocess.Popen[bytes]]]:
    """A process that stopped itself between the commit of the start and the function."""
    with an_office(tmp_path) as office:
        command = [sys.executable, __file__, str(tmp_path), office.claude.url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            _wait_until_stopped(process)
            yield office, process
        finally:
            process.kill()
            process.wait()
            if process.stderr:
                process.stderr.close()


def _wait_until_stopped(process: subprocess.Popen[bytes]) -> None:
    found, status = os.waitpid(process.pid, os.WUNTRACED)
    assert found == process.pid
    assert os.WIFSTOPPED(status), "it ended before it could stop itself"


@pytest.mark.sqlite
async def test_a_stopped_process_whose_run_moved_on_enters_nothing_when_it_is_continued(
    stopped: tuple[Office, subprocess.Popen[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office, process = stopped
    monkeypatch.setattr(claims, "SILENT_S", 0.0)  # what stands still is silent at once
    with AuditStore(tmp_path / "agentrt.db") as store:
        (row,) = store.runs()
        async with office.runtime(store=store) as runtime:
            async with asyncio.timeout(60):
                while store.load(row.id).status != "waiting":  # noqa: ASYNC110 - another writes
                    await asyncio.sleep(0.02)
            (call,) = store.load(row.id).in_doubt
            with pytest.raises(Exception, match="still alive"):
                await runtime.approvals.settle(
                    call.id, happened=False, signer=office.keys["ana"], reason="not there"
                )
            process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(60):
                while store.load(row.id).calls[0].status != "held":  # noqa: ASYNC110 - another writes
                    await asyncio.sleep(0.02)
            assert Sent(tmp_path).keys == []
            await runtime.approvals.approve(call.id, signer=office.keys["ana"], reason="Again.")
            run = await asyncio.wait_for(runtime.wait(row.id), 60)
        assert (run.status, only_call(run).attempt) == ("finished", 2)
        assert len(Sent(tmp_path).keys) == 1
        assert not store.verify().findings


class StopsItself(Meddled):
    async def meddle(self, run: str) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


async def _serve(folder: Path, url: str) -> None:
    from agentrt import Policy, Runtime
    from agentrt.claude import Claude

    sent = Sent(folder).tool()
    office = Office.__new__(Office)
    office.tools = (sent,)
    with StopsItself(folder / "agentrt.db") as store:
        async with Runtime(
            store=store,
            policy=Policy.from_texts({"rules.yaml": GO}, [sent]),
            agents=[office.agent()],
            claude=Claude.scripted(url),
        ) as runtime:
            await runtime.run(office.agent(), "Do it.")


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2]))
