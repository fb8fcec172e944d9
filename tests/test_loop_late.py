"""Doubts: what a check says, what comes back late, and what is said when the two disagree."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from office import Office, one_call, only_call

from agentrt import Call, Runtime, ToolError, tool
from agentrt.errors import NotAllowed
from agentrt.run import Run, explain

GO = "rules: [{id: go, decide: allow, tools: [send_money], why: Test.}]\n"


@pytest.fixture
def office(tmp_path: Path) -> Callable[..., Office]:
    def make(sends: Any) -> Office:
        return Office(tmp_path, (sends,), one_call("send_money", to="a"), rules=GO)

    return make


async def until(runtime: Runtime, run: str, holds: Callable[[Run], bool]) -> Run:
    async with asyncio.timeout(60):
        while not holds(runtime.store.load(run)):  # noqa: ASYNC110 - another writes
            await asyncio.sleep(0.02)
    return runtime.store.load(run)


# --- what a check says -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ToolError("The ledger is closed at night."), "broke off: The ledger is closed at night."),
        (RuntimeError("password hunter2"), "broke off: RuntimeError"),
    ],
)
async def test_what_went_wrong_with_a_check_is_told_without_a_secret(
    office: Callable[..., Office], error: Exception, said: str
) -> None:
    def look(call: Call) -> str | None:
        raise error

    @tool(effect="irreversible", check=look)
    def send_money(to: str) -> str:
        """Send money."""
        raise ConnectionError

    with office(send_money) as desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Do it.")
            call = only_call(run)
            story = "\n".join(explain(runtime.store.records(run.id), call.id).lines())
    assert call.status == "in doubt"
    assert said in call.check
    assert said in story
    assert "hunter2" not in story


async def test_a_check_has_a_time_limit_of_its_own(office: Callable[..., Office]) -> None:
    async def look(call: Call) -> str | None:
        await asyncio.Event().wait()
        return None

    @tool(effect="irreversible", check=look, check_timeout_s=0.05)
    def send_money(to: str) -> str:
        """Send money."""
        raise ConnectionError

    with office(send_money) as desk:
        async with desk.runtime() as runtime:
            run = await asyncio.wait_for(runtime.run(desk.agent(), "Do it."), 60)
    assert "did not come back in time: no answer within 0.05 s" in only_call(run).check


# --- what comes back late --------------------------------------------------------------


class Slow:
    """A function that comes back when it is let."""

    def __init__(self, outcome: Any = "sent") -> None:
        self.leave = threading.Event()
        self.outcome = outcome

    def tool(self) -> Any:
        @tool(effect="irreversible", timeout_s=0.1)
        def send_money(to: str) -> str:
            """Send money."""
            self.leave.wait(60)
            if isinstance(self.outcome, Exception):
                raise self.outcome
            return str(self.outcome)

        return send_money


async def test_a_function_that_comes_back_after_its_time_is_believed(
    office: Callable[..., Office],
) -> None:
    slow = Slow()
    with office(slow.tool()) as desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Do it.")
            assert only_call(run).status == "in doubt"
            slow.leave.set()
            run = await asyncio.wait_for(runtime.wait(run.id), 60)
    assert (run.status, only_call(run).result) == ("finished", '"sent"')
    assert run.contradictions == ()


async def test_a_function_that_comes_back_late_and_broke_off_can_be_settled_at_once(
    office: Callable[..., Office],
) -> None:
    slow = Slow(ConnectionError())
    with office(slow.tool()) as desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Do it.")
            call = only_call(run).id
            settling = {"happened": False, "signer": desk.keys["ana"], "reason": "not there"}
            with pytest.raises(NotAllowed, match="still alive"):
                await runtime.approvals.settle(call, **settling)
            slow.leave.set()
            run = await until(runtime, run.id, lambda now: only_call(now).returned)
            run = await runtime.approvals.settle(call, **settling)
            run = await until(runtime, run.id, lambda now: only_call(now).status == "held")
    assert only_call(run).basis == "second_attempt"


async def test_a_function_that_says_it_did_nothing_contradicts_who_said_that_it_happened(
    office: Callable[..., Office],
) -> None:
    slow = Slow(ToolError("No funds."))
    with office(slow.tool()) as desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Do it.")
            call = only_call(run).id
            await runtime.approvals.settle(
                call, happened=True, signer=desk.keys["ana"], reason="I think so"
            )
            slow.leave.set()
            run = await until(runtime, run.id, lambda now: bool(now.contradictions))
            (found,) = runtime.approvals.contradicted()
            story = list(explain(runtime.store.records(run.id), call).lines())
    assert (found.call, found.tool) == (call, "send_money")
    assert "settled by ana (it happened); the process that started it says" in found.text
    assert story[1].startswith("CONTRADICTED: Attempt 1")
