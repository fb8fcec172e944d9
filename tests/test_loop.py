"""The loop: what runs, in which order, and what Claude is told of it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from office import Office, asks_for, in_one_turn, one_call, only_call

from agentrt import Call, ToolError, tool
from agentrt.events import CallDecided, CallStarted
from agentrt.run import Run
from agentrt.testing import Conversation, Fault, Script, Text, ToolUse, Turn, When

MakeOffice = Callable[..., Office]


@pytest.fixture
def office(tmp_path: Path) -> MakeOffice:
    def make(*tools: Any, script: Script, **options: Any) -> Office:
        return Office(tmp_path, tools, script, **options)

    return make


class Effects:
    """What tools really did."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.entered = threading.Event()
        self.leave = threading.Event()

    def tools(self) -> tuple[Any, ...]:
        @tool(effect="read")
        def look_up(name: str) -> dict[str, str]:
            """Look a thing up."""
            self.seen.append(("look_up", name))
            return {"name": name}

        @tool(effect="write")
        def write_note(text: str) -> str:
            """Write a note."""
            self.seen.append(("write_note", text))
            return "written"

        @tool(effect="irreversible")
        def send_money(to: str, cents: int, call: Call) -> str:
            """Send money."""
            self.seen.append(("send_money", call.key))
            return "sent"

        return look_up, write_note, send_money


@pytest.fixture
def effects() -> Effects:
    return Effects()


ALL_ALLOWED = """
rules:
  - {id: all, decide: allow, tools: [look_up, write_note, send_money], why: It is a test.}
"""


async def run_it(office: Office, prompt: str = "Do it.", **options: Any) -> Run:
    with office:
        async with office.runtime(**options) as runtime:
            return await runtime.run(office.agent(), prompt)


async def test_a_read_that_policy_allows_runs_and_claude_says_the_last_word(
    office: MakeOffice, effects: Effects
) -> None:
    run = await run_it(office(*effects.tools(), script=one_call("look_up", name="x")))
    assert (run.status, run.output) == ("finished", "Done.")
    assert effects.seen == [("look_up", "x")]


async def test_what_no_rule_speaks_of_is_held_and_not_run(
    office: MakeOffice, effects: Effects
) -> None:
    run = await run_it(office(*effects.tools(), script=one_call("send_money", to="a", cents=1)))
    assert run.status == "waiting"
    assert [call.tool for call in run.held] == ["send_money"]
    assert effects.seen == []


async def test_a_denied_call_gives_claude_the_reason_as_an_error(
    office: MakeOffice, effects: Effects
) -> None:
    rules = "rules: [{id: no, decide: deny, tools: [send_money], why: Not on Sundays.}]\n"
    desk = office(*effects.tools(), script=one_call("send_money", to="a", cents=1), rules=rules)
    run = await run_it(desk)
    assert run.status == "finished"
    assert effects.seen == []
    result = desk.claude.requests[-1].body["messages"][-1]["content"][0]
    assert result["is_error"]
    assert "Not on Sundays." in result["content"]


async def test_nothing_runs_before_its_decision_and_its_start_are_recorded(
    office: MakeOffice, tmp_path: Path
) -> None:
    seen: list[list[str]] = []
    desks: list[Office] = []

    @tool(effect="read")
    def look_up(name: str, call: Call) -> str:
        """Look a thing up."""
        with desks[0].store() as store:
            seen.append([record.event.type for record in store.records(call.run)])
        return name

    desks.append(office(look_up, script=one_call("look_up", name="x")))
    await run_it(desks[0])
    assert seen[0][-2:] == ["call.decided", "call.started"]


async def test_reads_of_a_turn_run_together(office: MakeOffice) -> None:
    both = threading.Barrier(2, timeout=10)

    @tool(effect="read")
    def look_up(name: str) -> str:
        """Look a thing up."""
        both.wait()
        return name

    script = in_one_turn(ToolUse("look_up", {"name": "a"}), ToolUse("look_up", {"name": "b"}))
    run = await run_it(office(look_up, script=script))
    assert [json.loads(call.result) for call in run.all_calls] == ["a", "b"]


async def test_writes_of_a_turn_run_in_the_order_of_their_blocks(
    office: MakeOffice, effects: Effects
) -> None:
    uses = [ToolUse("write_note", {"text": str(number)}) for number in range(5)]
    await run_it(office(*effects.tools(), script=in_one_turn(*uses), rules=ALL_ALLOWED))
    assert effects.seen == [("write_note", str(number)) for number in range(5)]


async def test_a_write_never_overtakes_a_held_call_before_it_but_a_read_does(
    office: MakeOffice, effects: Effects
) -> None:
    rules = """
    rules:
      - {id: hold, decide: hold, tools: [send_money], why: Money.}
      - {id: rest, decide: allow, tools: [look_up, write_note], why: Harmless.}
    """
    script = in_one_turn(
        ToolUse("send_money", {"to": "a", "cents": 1}),
        ToolUse("write_note", {"text": "sent it"}),
        ToolUse("look_up", {"name": "x"}),
    )
    desk = office(*effects.tools(), script=script, rules=rules)
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Do it.")
            assert (run.status, effects.seen) == ("waiting", [("look_up", "x")])
            await runtime.approvals.approve(run.held[0].id, signer=desk.keys["ana"])
            run = await runtime.wait(run.id)
    assert run.status == "finished"
    assert [name for name, _ in effects.seen] == ["look_up", "send_money", "write_note"]


async def test_all_results_of_a_turn_go_back_in_one_message_in_block_order(
    office: MakeOffice, effects: Effects
) -> None:
    script = in_one_turn(
        ToolUse("look_up", {"name": "a"}, id="toolu_1"),
        ToolUse("no_such_tool", {}, id="toolu_2"),
        ToolUse("look_up", {"name": 5}, id="toolu_3"),
        ToolUse("write_note", {"text": "n"}, id="toolu_4"),
    )
    desk = office(*effects.tools(), script=script, rules=ALL_ALLOWED)
    await run_it(desk)
    blocks = desk.claude.requests[-1].body["messages"][-1]["content"]
    assert [block["tool_use_id"] for block in blocks] == [f"toolu_{n}" for n in (1, 2, 3, 4)]
    assert [block.get("is_error", False) for block in blocks] == [False, True, True, False]


async def test_an_unknown_tool_is_denied_and_claude_is_told_which_there_are(
    office: MakeOffice, effects: Effects
) -> None:
    run = await run_it(office(*effects.tools(), script=one_call("look_upp", name="x")))
    call = only_call(run)
    assert (call.status, call.basis) == ("denied", "unknown_tool")
    assert "look_up, send_money, write_note" in call.result


async def test_invalid_arguments_never_run_and_claude_is_told_which_and_what_was_expected(
    office: MakeOffice, effects: Effects
) -> None:
    script = one_call("send_money", to="a", cents="many")
    run = await run_it(office(*effects.tools(), script=script, rules=ALL_ALLOWED))
    call = only_call(run)
    assert (call.status, call.basis) == ("denied", "invalid_arguments")
    assert "cents" in call.result
    assert "integer" in call.result
    assert effects.seen == []


async def test_one_id_twice_in_a_reply_fails_the_run_and_runs_nothing(
    office: MakeOffice, effects: Effects
) -> None:
    script = in_one_turn(
        ToolUse("look_up", {"name": "a"}, id="toolu_1"),
        ToolUse("look_up", {"name": "b"}, id="toolu_1"),
    )
    run = await run_it(office(*effects.tools(), script=script))
    assert run.status == "failed"
    assert run.error is not None
    assert "toolu_1" in run.error[1]
    assert effects.seen == []


async def test_fifty_calls_in_one_turn_all_run(office: MakeOffice, effects: Effects) -> None:
    uses = [ToolUse("look_up", {"name": str(number)}) for number in range(50)]
    run = await run_it(office(*effects.tools(), script=in_one_turn(*uses)))
    assert run.status == "finished"
    assert sorted(int(name) for _, name in effects.seen) == list(range(50))


@pytest.mark.parametrize(
    ("stop_reason", "status", "code"),
    [
        ("end_turn", "finished", None),
        ("stop_sequence", "finished", None),
        ("max_tokens", "failed", "max_tokens"),
        ("refusal", "failed", "refusal"),
        ("model_context_window_exceeded", "failed", "context_window"),
        ("tea_time", "failed", "unknown_stop_reason"),
        ("tool_use", "failed", "reply_malformed"),
    ],
)
async def test_every_stop_reason_has_an_end(
    office: MakeOffice, effects: Effects, stop_reason: str, status: str, code: str | None
) -> None:
    script = Script(turns=(Turn(reply=(Text("So."),), stop_reason=stop_reason),))
    run = await run_it(office(*effects.tools(), script=script))
    assert run.status == status
    assert (run.error[0] if run.error else None) == code
    assert run.output == "So."


async def test_a_paused_turn_is_sent_back_and_goes_on(office: MakeOffice) -> None:
    script = Script(
        turns=(
            Turn(
                when=When(turn=0),
                reply=(
                    Text("Searching."),
                    _raw_server_tool_use(),
                ),
                stop_reason="pause_turn",
            ),
            Turn(reply=(Text("Found."),)),
        )
    )
    run = await run_it(office(script=script))
    assert (run.status, run.output, run.turn) == ("finished", "Found.", 2)


def _raw_server_tool_use() -> Any:
    from agentrt.testing import Raw

    return Raw(
        {
            "type": "server_tool_use",
            "id": "srvtoolu_1",
            "name": "web_search",
            "input": {"query": "x"},
        }
    )


async def test_a_call_in_a_reply_cut_by_max_tokens_never_runs(
    office: MakeOffice, effects: Effects
) -> None:
    turn = Turn(
        reply=asks_for(ToolUse("send_money", {"to": "a", "cents": 10})), stop_reason="max_tokens"
    )
    desk = office(*effects.tools(), script=Script(turns=(turn,)), rules=ALL_ALLOWED)
    run = await run_it(desk)
    assert run.status == "failed"
    assert effects.seen == []
    assert run.all_calls == ()


@pytest.mark.parametrize("cut", ["eof", "connection"])
async def test_a_stream_cut_in_a_tools_arguments_is_asked_again_and_runs_the_whole_call(
    office: MakeOffice, effects: Effects, cut: Any
) -> None:
    turn = Turn(
        when=When(turn=0),
        reply=asks_for(ToolUse("send_money", {"to": "a", "cents": 1000})),
        faults=(Fault(cut=cut, at="tool_input"),),
    )
    script = Script(turns=(turn, Turn(reply=(Text("Done."),))))
    desk = office(*effects.tools(), script=script, rules=ALL_ALLOWED)
    with desk:
        async with desk.runtime() as runtime:
            async for _ in runtime.stream(desk.agent(), "Do it."):
                pass
            run = runtime.store.load(runtime.store.runs()[0].id)
    assert run.status == "finished"
    assert len(effects.seen) == 1
    assert only_call(run).arguments_data["cents"] == 1000


async def test_a_tools_error_text_reaches_claude_and_an_exceptions_does_not(
    office: MakeOffice,
) -> None:
    @tool(effect="read")
    def says_why(name: str) -> str:
        """Say why not."""
        raise ToolError(f"There is no {name} here.")

    @tool(effect="read")
    def breaks(name: str) -> str:
        """Break."""
        raise ValueError("password=hunter2")

    script = in_one_turn(ToolUse("says_why", {"name": "x"}), ToolUse("breaks", {"name": "x"}))
    desk = office(says_why, breaks, script=script)
    run = await run_it(desk)
    first, second = run.all_calls
    assert (first.result, first.is_error) == ("There is no x here.", True)
    assert second.is_error
    assert "ValueError" in second.result
    with desk.store() as store:
        for file in store.path.parent.glob("agentrt.db*"):
            if file.is_file():
                assert b"hunter2" not in file.read_bytes()
    assert b"hunter2" not in b"".join(request.raw for request in desk.claude.requests)


@pytest.mark.parametrize("error", [ConnectionError, ValueError, SystemExit, KeyboardInterrupt])
async def test_an_irreversible_call_that_breaks_off_is_in_doubt_and_never_a_failure(
    office: MakeOffice, error: type[BaseException]
) -> None:
    @tool(effect="irreversible")
    def send_money(to: str, call: Call) -> str:
        """Send money."""
        raise error("lost")

    rules = "rules: [{id: go, decide: allow, tools: [send_money], why: Test.}]\n"
    desk = office(send_money, script=one_call("send_money", to="a"), rules=rules)
    run = await run_it(desk)
    assert run.status == "waiting"
    assert only_call(run).status == "in doubt"
    assert len(desk.claude.requests) == 1


async def test_a_doubt_is_settled_by_the_tools_check_where_the_effect_is_found(
    office: MakeOffice,
) -> None:
    sent: dict[str, str] = {}

    def was_sent(call: Call) -> str | None:
        return sent.get(call.key)

    @tool(effect="irreversible", check=was_sent)
    def send_money(to: str, call: Call) -> str:
        """Send money."""
        sent[call.key] = f"sent to {to}"
        raise ConnectionError

    rules = "rules: [{id: go, decide: allow, tools: [send_money], why: Test.}]\n"
    run = await run_it(office(send_money, script=one_call("send_money", to="a"), rules=rules))
    call = only_call(run)
    assert (run.status, call.status, call.is_error) == ("finished", "finished", False)
    assert json.loads(call.result) == "sent to a"


async def test_what_the_check_did_not_find_waits_for_a_fresh_approval(office: MakeOffice) -> None:
    entered: list[int] = []

    def was_sent(call: Call) -> str | None:
        return None

    @tool(effect="irreversible", check=was_sent)
    def send_money(to: str, call: Call) -> str:
        """Send money."""
        entered.append(call.attempt)
        if call.attempt == 1:
            raise ConnectionError
        return "sent"

    rules = "rules: [{id: go, decide: allow, tools: [send_money], why: Test.}]\n"
    desk = office(send_money, script=one_call("send_money", to="a"), rules=rules)
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Do it.")
            call = only_call(run)
            assert (call.status, call.basis, call.revision) == ("held", "second_attempt", 2)
            await runtime.approvals.approve(call.id, signer=desk.keys["ana"], reason="Again.")
            run = await runtime.wait(run.id)
    assert run.status == "finished"
    assert entered == [1, 2]


async def test_a_hung_tool_is_left_behind_in_time_and_its_call_is_in_doubt(
    office: MakeOffice, effects: Effects
) -> None:
    @tool(effect="irreversible", timeout_s=0.2)
    def send_money(to: str, call: Call) -> str:
        """Send money."""
        effects.leave.wait(30)
        return "sent"

    rules = "rules: [{id: go, decide: allow, tools: [send_money], why: Test.}]\n"
    run = await run_it(office(send_money, script=one_call("send_money", to="a"), rules=rules))
    effects.leave.set()
    assert only_call(run).status == "in doubt"
    assert "0.2 s" in only_call(run).doubt


async def test_an_async_tool_that_will_not_be_cancelled_is_left_behind_in_time_too(
    office: MakeOffice,
) -> None:
    leave = asyncio.Event()

    @tool(effect="irreversible", timeout_s=0.1)
    async def send_money(to: str) -> str:
        """Send money."""
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await leave.wait()
        return "sent"

    rules = "rules: [{id: go, decide: allow, tools: [send_money], why: Test.}]\n"
    run = await run_it(office(send_money, script=one_call("send_money", to="a"), rules=rules))
    leave.set()
    assert only_call(run).status == "in doubt"
    assert "did not come back within 0.1 s" in only_call(run).doubt


async def test_a_tools_own_timeout_is_not_that_of_the_call(office: MakeOffice) -> None:
    @tool(effect="irreversible")
    def send_money(to: str) -> str:
        """Send money."""
        raise TimeoutError

    rules = "rules: [{id: go, decide: allow, tools: [send_money], why: Test.}]\n"
    run = await run_it(office(send_money, script=one_call("send_money", to="a"), rules=rules))
    assert only_call(run).doubt == "send_money broke off with TimeoutError."


@pytest.mark.parametrize("said", [object(), "half a pair: \ud800"], ids=["object", "surrogate"])
async def test_a_preview_that_cannot_be_written_does_not_hold_the_run_up(
    office: MakeOffice, said: Any
) -> None:
    @tool(effect="irreversible", preview=lambda: said)
    def send_money(to: str) -> str:
        """Send money."""
        return "sent"

    run = await run_it(office(send_money, script=one_call("send_money", to="a")))
    assert run.status == "waiting"
    assert (only_call(run).preview or "").startswith("[the preview failed with")


async def test_a_write_that_is_harmless_to_repeat_runs_again_with_the_same_key(
    office: MakeOffice,
) -> None:
    keys: list[str] = []

    @tool(effect="write", idempotent_for="1h")
    def put_file(name: str, call: Call) -> str:
        """Put a file."""
        keys.append(call.key)
        if len(keys) < 3:
            raise ConnectionError
        return "put"

    rules = "rules: [{id: go, decide: allow, tools: [put_file], why: Test.}]\n"
    run = await run_it(office(put_file, script=one_call("put_file", name="a"), rules=rules))
    assert run.status == "finished"
    assert len(keys) == 3
    assert len(set(keys)) == 1


async def test_a_huge_result_is_cut_and_says_so(office: MakeOffice) -> None:
    @tool(effect="read", result_max_bytes=1000)
    def read_all(name: str) -> str:
        """Read it all."""
        return "x" * 50_000

    run = await run_it(office(read_all, script=one_call("read_all", name="a")))
    result = only_call(run).result
    assert len(result) < 1200
    assert "49000 of 50000 bytes were cut" in result


async def test_a_result_that_is_not_json_says_so_and_the_run_goes_on(office: MakeOffice) -> None:
    @tool(effect="read")
    def read_all(name: str) -> object:
        """Read it all."""
        return object()

    run = await run_it(office(read_all, script=one_call("read_all", name="a")))
    assert run.status == "finished"
    assert "cannot be shown" in only_call(run).result


async def test_the_turn_limit_ends_a_run_that_never_ends(
    office: MakeOffice, effects: Effects
) -> None:
    script = Script(turns=(Turn(reply=asks_for(ToolUse("look_up", {"name": "x"}))),))
    desk = office(*effects.tools(), script=script)
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(turns_max=3), "Do it.")
    assert run.error is not None
    assert run.error[0] == "turn_limit"
    assert len(desk.claude.requests) == 3


async def test_a_run_whose_time_is_up_fails_and_can_be_resumed(
    office: MakeOffice, effects: Effects
) -> None:
    slow = Turn(when=When(turn=0), reply=(Text("Late."),), delay_s=5)
    desk = office(*effects.tools(), script=Script(turns=(slow,)))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(deadline_s=0.3), "Do it.")
    assert run.status == "failed"
    assert run.error is not None
    assert run.error[0] == "deadline"


async def test_an_approval_runs_exactly_the_arguments_that_were_shown(
    office: MakeOffice, effects: Effects
) -> None:
    desk = office(*effects.tools(), script=one_call("send_money", to="a", cents=950))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Do it.")
            shown = runtime.approvals.view(run.held[0].id)
            await runtime.approvals.approve(shown, signer=desk.keys["ana"], reason="Right.")
            run = await runtime.wait(run.id)
            records = runtime.store.records(run.id)
    (decided,) = [r.event for r in records if isinstance(r.event, CallDecided)]
    (start,) = [r.event for r in records if isinstance(r.event, CallStarted)]
    assert start.arguments_digest == decided.arguments_digest == shown.call.arguments_digest
    assert effects.seen == [("send_money", start.key)]


async def test_a_rejection_gives_claude_the_reviewers_reason(
    office: MakeOffice, effects: Effects
) -> None:
    desk = office(*effects.tools(), script=one_call("send_money", to="a", cents=950))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Do it.")
            await runtime.approvals.reject(
                run.held[0].id, signer=desk.keys["ana"], reason="Too much."
            )
            run = await runtime.wait(run.id)
    assert run.status == "finished"
    assert effects.seen == []
    content = desk.claude.requests[-1].body["messages"][-1]["content"][0]["content"]
    assert "Too much." in content


async def test_consecutive_requests_extend_the_same_prefix(
    office: MakeOffice, effects: Effects
) -> None:
    """Whatever happens within a run: thinking, denials, doubts settled, edits, a resume."""

    def reply(conversation: Conversation) -> Any:
        from agentrt.testing import Thinking

        if conversation.turns == 5:
            return (Text("Done."),)
        name = str(conversation.turns)
        return (Thinking(f"turn {name}"), *asks_for(ToolUse("look_up", {"name": name})))

    desk = office(*effects.tools(), script=Script(turns=(Turn(reply=reply),)))
    with desk:
        for _ in range(2):
            async with desk.runtime() as runtime:
                run = await runtime.run(desk.agent(), "Do it.")
                assert run.status == "finished"
    bodies = [request.raw for request in desk.claude.requests][:6]
    assert len(bodies) == 6
    for before, after in pairwise(bodies):
        assert after.startswith(before.removesuffix(b"]}"))


async def test_cancelling_stops_a_request_under_way_and_starts_no_call(
    office: MakeOffice, effects: Effects
) -> None:
    slow = Turn(reply=asks_for(ToolUse("look_up", {"name": "x"})), delay_s=30)
    desk = office(*effects.tools(), script=Script(turns=(slow,)))
    with desk:
        async with desk.runtime() as runtime:
            started = await runtime.start(desk.agent(), "Do it.")
            async for item in runtime.follow(started):
                if getattr(item, "type", "") == "claude.asked":
                    await runtime.cancel(started, by="olga", reason="Wrong customer.")
            run = runtime.store.load(started)
    assert run.status == "cancelled"
    assert effects.seen == []


async def test_a_preview_that_nobody_would_read_is_cut_and_says_so(office: MakeOffice) -> None:
    def show(to: str) -> str:
        return "x" * 50_000

    @tool(effect="irreversible", preview=show)
    def send_money(to: str, call: Call) -> str:
        """Send money."""
        return "sent"

    run = await run_it(office(send_money, script=one_call("send_money", to="a")))
    assert run.held[0].preview is not None
    assert run.held[0].preview.endswith("x [40000 more characters]")
