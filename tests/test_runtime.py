"""The runtime: started, followed, stopped, taken up again, by this process or another."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import aclosing, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic
from office import MODEL, Office, in_one_turn, one_call, only_call, types

from agentrt import Call, Policy, Runtime, tool
from agentrt.claude import Claude, TextDelta
from agentrt.claude import client as client_file
from agentrt.errors import CarriedElsewhere, NotFound, ProjectError, RunError, RunOver, StoreCorrupt
from agentrt.events import CallDecided, RunStarted
from agentrt.run import fold
from agentrt.testing import Fault, Script, Text, ToolUse, Turn

MakeOffice = Callable[..., Office]


@pytest.fixture
def office(tmp_path: Path) -> MakeOffice:
    def make(*tools: Any, script: Script, **options: Any) -> Office:
        return Office(tmp_path, tools, script, **options)

    return make


def money(seen: list[str]) -> Any:
    @tool(effect="irreversible")
    def send_money(to: str, cents: int, call: Call) -> str:
        """Send money."""
        seen.append(call.key)
        return "sent"

    return send_money


SEND = {"to": "ana", "cents": 950}


async def test_a_stream_tells_every_event_once_and_in_order_and_text_as_it_comes(
    office: MakeOffice,
) -> None:
    desk = office(money([]), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            items = [item async for item in runtime.stream(desk.agent(), "Pay.", user="mona")]
            (row,) = runtime.store.runs()
            records = runtime.store.records(row.id)
    assert types(items) == [record.event.type for record in records]
    text = "".join(item.text for item in items if isinstance(item, TextDelta))
    assert text == "Let me see."
    assert types(items)[-1] == "call.decided"


async def test_a_stream_that_waits_goes_on_after_an_approval_in_another_process(
    office: MakeOffice,
) -> None:
    seen: list[str] = []
    desk = office(money(seen), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            told: list[Any] = []
            async for item in runtime.stream(desk.agent(), "Pay.", wait=True):
                told.append(item)
                if getattr(item, "verdict", "") == "hold":
                    await _approve_elsewhere(desk)
    assert types(told)[-1] == "run.finished"
    assert "call.approved" in types(told)
    assert len(seen) == 1


async def _approve_elsewhere(desk: Office) -> None:
    from agentrt.approvals import ApprovalQueue

    with desk.store() as store:
        queue = ApprovalQueue(store, desk.policy.reviewers)
        await queue.approve(queue.held()[0].id, signer=desk.keys["ana"], reason="Right.")


async def test_a_run_that_waits_leaves_no_task_and_no_lease(office: MakeOffice) -> None:
    desk = office(money([]), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
            assert runtime.store.carrier(run.id) is None
            assert not [task for task in asyncio.all_tasks() if run.id in task.get_name()]


async def test_what_happens_while_a_follower_reads_the_past_is_told_at_once(
    office: MakeOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Turn(reply=(Text("Done."),), delay_s=30)
    desk = office(money([]), script=Script(turns=(slow,)))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.start(desk.agent(), "Pay.")
            read = runtime.store.records

            def read_slowly(run: str, *, after: int = 0) -> Any:
                past = read(run, after=after)[:1]
                while len(read(run)) < 2:
                    time.sleep(0.01)
                time.sleep(0.2)  # the runtime says what it has just recorded
                return past

            monkeypatch.setattr(runtime.store, "records", read_slowly)
            async with asyncio.timeout(20), aclosing(runtime.follow(run)) as items:  # type: ignore[type-var]
                heard = [(await anext(items)).type for _ in range(2)]
            monkeypatch.undo()
            await runtime.cancel(run, by="olga", reason="Enough.")
    assert heard == ["run.started", "claude.asked"]


async def test_who_stops_listening_leaves_nothing_behind(office: MakeOffice) -> None:
    desk = office(money([]), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
            before = asyncio.all_tasks()
            async with aclosing(runtime.follow(run.id)) as items:  # type: ignore[type-var]
                async for item in items:
                    if isinstance(item, CallDecided):
                        break
            async with asyncio.timeout(20):
                await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)
            assert len(runtime._followers) == 0


async def test_a_run_whose_agent_is_not_here_is_left_to_those_who_have_it(
    office: MakeOffice,
) -> None:
    desk = office(money([]), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
        async with desk.runtime(agent=desk.agent(name="cook")) as runtime:
            with pytest.raises(ProjectError, match="It has: cook"):
                await runtime.resume(run.id)
            assert runtime.store.carrier(run.id) is None


async def test_a_run_left_by_one_process_is_taken_up_by_the_next_start(office: MakeOffice) -> None:
    seen: list[str] = []
    desk = office(money(seen), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
        await _approve_elsewhere(desk)
        async with desk.runtime() as runtime:
            run = await asyncio.wait_for(runtime.wait(run.id), timeout=20)
    assert run.status == "finished"
    assert len(seen) == 1


async def test_what_the_runtime_returned_is_what_the_store_folds_to(office: MakeOffice) -> None:
    desk = office(money([]), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
            await _approve_elsewhere(desk)
            run = await runtime.wait(run.id)
            again = fold(runtime.store.records(run.id))
            assert list(again.messages) == list(run.messages)
            assert replace(again, definition=run.definition) == run


async def test_an_outage_fails_the_run_and_resuming_it_goes_on_where_it_stood(
    office: MakeOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_file, "RETRIES_MAX", 0)
    turn = Turn(reply=(Text("There."),), faults=(Fault(status=529),))
    desk = office(script=Script(turns=(turn,)))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Hello.")
            assert (run.status, run.resumable) == ("failed", True)
            assert run.error is not None
            assert run.error[0] == "overloaded"
            run = await runtime.resume(run.id, by="olga")
    assert (run.status, run.output, run.turn) == ("finished", "There.", 1)


async def test_a_finished_run_cannot_be_resumed_or_cancelled(office: MakeOffice) -> None:
    desk = office(script=Script(turns=(Turn(reply=(Text("There."),)),)))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Hello.")
            with pytest.raises(RunOver):
                await runtime.resume(run.id)
            with pytest.raises(RunOver):
                await runtime.cancel(run.id, by="olga", reason="Late.")
            with pytest.raises(NotFound):
                await runtime.cancel("r_none", by="olga", reason="?")


async def test_cancelling_a_waiting_run_closes_its_held_calls(office: MakeOffice) -> None:
    desk = office(money([]), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
            run = await runtime.cancel(run.id, by="olga", reason="Wrong.")
            assert (run.status, only_call(run).status) == ("cancelled", "cancelled")
            assert runtime.approvals.held() == []


async def test_a_run_carried_by_a_living_process_is_not_carried_twice(office: MakeOffice) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    @tool(effect="read")
    async def look_up(name: str) -> str:
        """Look up."""
        entered.set()
        await leave.wait()
        return name

    desk = office(look_up, script=one_call("look_up", name="x"))
    with desk:
        async with desk.runtime() as first:
            started = await first.start(desk.agent(), "Look.")
            await entered.wait()
            async with desk.runtime() as second:
                with pytest.raises(CarriedElsewhere):
                    await second.resume(started)
                leave.set()
                run = await second.wait(started)
    assert run.status == "finished"
    assert only_call(run).attempt == 1


async def test_closing_lets_the_call_under_way_finish_and_starts_nothing_more(
    office: MakeOffice,
) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    @tool(effect="write")
    async def write_note(text: str) -> str:
        """Write."""
        entered.set()
        await leave.wait()
        return text

    rules = "rules: [{id: go, decide: allow, tools: [write_note], why: Test.}]\n"
    script = in_one_turn(ToolUse("write_note", {"text": "1"}), ToolUse("write_note", {"text": "2"}))
    desk = office(write_note, script=script, rules=rules)
    with desk:
        async with desk.runtime() as runtime:
            started = await runtime.start(desk.agent(), "Write.")
            await entered.wait()
            asyncio.get_running_loop().call_later(0.05, leave.set)
        with desk.store() as store:
            run = store.load(started)
    assert [call.status for call in run.calls] == ["finished", "allowed"]


async def test_the_policys_text_is_recorded_once_and_anew_when_it_changes(
    office: MakeOffice,
) -> None:
    desk = office(script=Script(turns=(Turn(reply=(Text("There."),)),)))
    with desk:
        for _ in range(2):
            async with desk.runtime():
                pass
        first = desk.policy
        desk.rules += "# a comment\n"
        async with desk.runtime() as runtime:
            assert runtime.store.bundle(first.bundle) == dict(first.files)
            assert runtime.store.bundle(desk.policy.bundle) == dict(desk.policy.files)
            assert len(runtime.store.records("store")) == 2


HOLD = """
rules:
  - {id: money, decide: hold, tools: [send_money], why: It is gone then.}
"""


@pytest.mark.parametrize(
    ("change", "survives"),
    [
        (lambda rules: rules + "# only a comment\n", True),
        (lambda rules: "# moved down\n\n" + rules, True),
        (lambda rules: rules.replace("It is gone then.", "Ask twice."), False),
        (lambda rules: rules.replace("send_money]", "'send_*']"), False),
    ],
)
async def test_an_approval_survives_a_comment_and_not_a_change_of_the_asking_rule(
    office: MakeOffice, change: Callable[[str], str], survives: bool
) -> None:
    seen: list[str] = []
    desk = office(money(seen), script=one_call("send_money", **SEND), rules=HOLD)
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
        await _approve_elsewhere(desk)
        desk.rules = change(HOLD)
        async with desk.runtime() as runtime:
            run = await runtime.resume(run.id)
    assert run.status == ("finished" if survives else "waiting")
    assert len(seen) == (1 if survives else 0)


async def test_an_approval_is_void_when_the_tool_has_changed(office: MakeOffice) -> None:
    seen: list[str] = []
    desk = office(money(seen), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
        await _approve_elsewhere(desk)

        @tool(effect="irreversible")
        def send_money(to: str, cents: int, call: Call) -> str:
            """Send money, a little more."""
            seen.append("other")
            return "sent"

        desk.tools = (send_money,)
        async with desk.runtime() as runtime:
            run = await runtime.resume(run.id)
    assert run.status == "waiting"
    assert only_call(run).revision == 2
    assert seen == []


async def test_an_approval_by_a_reviewer_who_was_removed_since_does_not_count(
    office: MakeOffice,
) -> None:
    seen: list[str] = []
    desk = office(money(seen), script=one_call("send_money", **SEND))
    desk.reviewer("ben", "owner")
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
        await _approve_elsewhere(desk)
        del desk.keys["ana"]
        async with desk.runtime() as runtime:
            run = await runtime.resume(run.id)
    assert run.status == "waiting"
    assert seen == []


async def test_a_tool_that_is_gone_denies_its_open_calls(office: MakeOffice) -> None:
    desk = office(money([]), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
        await _approve_elsewhere(desk)
        desk.tools = ()
        async with desk.runtime() as runtime:
            run = await runtime.resume(run.id)
    assert run.status == "finished"
    assert only_call(run).basis == "tool_gone"


async def test_the_key_is_in_no_file_of_the_store(office: MakeOffice) -> None:
    secret = "simulated-secret-abcdef0123456789"
    turn = Turn(reply=(Text("There."),), faults=(Fault(status=401, message=f"bad {secret}"),))
    desk = office(script=Script(turns=(turn,)))
    with desk:
        client = AsyncAnthropic(
            api_key=secret,
            base_url=desk.claude.url,
            http_client=httpx2.AsyncClient(trust_env=False),
        )
        claude = Claude(client, simulated=True)
        async with Runtime(
            store=desk.folder / "agentrt.db", policy=desk.policy, claude=claude
        ) as runtime:
            for prompt in ("Hello.", "Again."):
                await runtime.run(desk.agent(), prompt)
        await client.close()
    for file in desk.folder.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file


async def test_simulated_runs_are_labelled_and_kept_out_of_the_figures(office: MakeOffice) -> None:
    desk = office(money([]), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
            assert run.id.startswith("sim_r_")
            assert run.held[0].id.startswith("sim_c_")
            assert runtime.store.model_calls() == []
            assert len(runtime.store.model_calls(simulated=True)) == 1
            assert all(row.simulated for row in runtime.store.runs())


async def test_a_simulated_run_is_not_carried_on_by_a_real_claude(office: MakeOffice) -> None:
    desk = office(money([]), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
        await _approve_elsewhere(desk)
        client = AsyncAnthropic(
            api_key="simulated-key",
            base_url=desk.claude.url,
            http_client=httpx2.AsyncClient(trust_env=False),
        )
        async with Runtime(
            store=desk.folder / "agentrt.db",
            policy=desk.policy,
            agents=[desk.agent()],
            claude=Claude(client),
        ) as runtime:
            with pytest.raises(RunError, match="simulated"):
                await runtime.resume(run.id)
        await client.close()


async def test_what_a_call_came_to_is_recorded_though_claude_cannot_be_asked(
    office: MakeOffice,
) -> None:
    """Without it a payment that went out would be in doubt."""
    seen: list[str] = []
    desk = office(money(seen), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
        await _approve_elsewhere(desk)
        client = AsyncAnthropic(
            api_key="simulated-key",
            base_url=desk.claude.url,
            http_client=httpx2.AsyncClient(trust_env=False),
        )
        real = Runtime(
            store=desk.folder / "agentrt.db",
            policy=desk.policy,
            agents=[desk.agent()],
            claude=Claude(client),
        )
        async with real:
            with pytest.raises(RunError, match="simulated"):
                await real.resume(run.id)
            run = real.store.load(run.id)
        await client.close()
    assert (only_call(run).status, len(seen)) == ("finished", 1)


async def test_an_empty_prompt_starts_nothing(office: MakeOffice) -> None:
    desk = office(script=Script(turns=(Turn(reply=(Text("There."),)),)))
    with desk:
        async with desk.runtime() as runtime:
            with pytest.raises(RunError, match="empty"):
                await runtime.run(desk.agent(), "  ")
            with pytest.raises(RunError, match="UTF-8"):
                await runtime.run(desk.agent(), "half a pair: \ud800")
            assert runtime.store.runs() == []


@pytest.mark.sqlite
async def test_headers_hold_no_names_and_no_words(office: MakeOffice) -> None:
    desk = office(money([]), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "A secret prompt.", user="mona@example.com")
            await _approve_elsewhere(desk)
            await runtime.wait(run.id)
            headers = b"".join(record.header for record in runtime.store.records(run.id))
            (start, *_) = runtime.store.records(run.id)
    for private in (b"mona@example.com", b"secret prompt", b'"ana"', b"cents", b"Right."):
        assert private not in headers
    assert isinstance(start.event, RunStarted)
    assert start.event.model == MODEL


async def test_a_policy_folder_can_be_given_as_a_path(office: MakeOffice, tmp_path: Path) -> None:
    desk = office(script=Script(turns=(Turn(reply=(Text("There."),)),)))
    folder = tmp_path / "policies"
    folder.mkdir()
    for name, text in desk.policy.files.items():
        (folder / name).write_text(text)
    with desk:
        claude = Claude.scripted(desk.claude.url)
        async with Runtime(store=tmp_path / "a.db", policy=folder, claude=claude) as runtime:
            assert isinstance(runtime.policy, Policy)
            run = await runtime.run(desk.agent(), "Hello.")
        await claude.close()
    assert run.status == "finished"


async def test_a_runtime_can_be_told_to_carry_only_its_own_runs(office: MakeOffice) -> None:
    seen: list[str] = []
    desk = office(money(seen), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            other = await runtime.run(desk.agent(), "Pay.")
        await _approve_elsewhere(desk)
        async with desk.runtime(take_up=False) as runtime:
            mine = await runtime.run(desk.agent(), "Pay.")
            await _approve_elsewhere(desk)
            assert (await asyncio.wait_for(runtime.wait(mine.id), timeout=20)).over
            assert not runtime.store.load(other.id).over
    assert len(seen) == 1


@pytest.mark.sqlite
async def test_a_run_whose_content_was_changed_is_not_carried_on(office: MakeOffice) -> None:
    seen: list[str] = []
    desk = office(money(seen), script=one_call("send_money", **SEND))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.")
        await _approve_elsewhere(desk)
        with closing(sqlite3.connect(desk.folder / "agentrt.db")) as owner:
            owner.execute("DROP TRIGGER content_update")
            owner.execute(
                "UPDATE content SET body = CAST(replace(CAST(body AS TEXT), '950', '999') AS BLOB)"
            )
            owner.commit()
        async with desk.runtime() as runtime:
            with pytest.raises(StoreCorrupt, match="was changed"):
                await runtime.resume(run.id)
            assert not runtime.store.load(run.id).over
    assert seen == []
