"""The real SDK, over real HTTP, takes the scripted Claude for Claude."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic

from agentrt.errors import StandInError
from agentrt.testing import (
    SIMULATED_KEY,
    Fault,
    Script,
    ScriptedClaude,
    Text,
    Thinking,
    ToolUse,
    Turn,
    When,
    serve,
)

MODEL = "claude-opus-5-5"
TOOLS: Any = [{"name": "get_customer", "input_schema": {"type": "object"}}]
HELLO: Any = [{"role": "user", "content": "Refund me, please."}]
REFUNDS = Script(
    turns=[
        Turn(
            when=When(turn=0),
            reply=[
                Thinking("Who is it?"),
                Text("I look the customer up."),
                ToolUse("get_customer", {"email": "ann@example.com"}),
            ],
        ),
        Turn(
            when=When(after="get_customer"),
            reply=[
                Thinking("Found."),
                ToolUse("refund_payment", {"to": "{{ get_customer.id }}", "amount": 1000}),
            ],
        ),
        Turn(reply="Done."),
    ]
)


@asynccontextmanager
async def sdk(
    claude: ScriptedClaude, *, api_key: str = SIMULATED_KEY, retries: int = 0, timeout_s: float = 10
) -> AsyncIterator[AsyncAnthropic]:
    # The SDK's own client obeys proxies of the environment, even for loopback.
    http = httpx2.AsyncClient(trust_env=False)
    async with AsyncAnthropic(
        base_url=claude.url,
        api_key=api_key,
        max_retries=retries,
        timeout=timeout_s,
        http_client=http,
    ) as client:
        yield client


async def ask(client: AsyncAnthropic, messages: Any = HELLO, **more: Any) -> Any:
    return await client.messages.create(
        **{"model": MODEL, "max_tokens": 500, "messages": messages, **more}
    )


async def ask_streaming(client: AsyncAnthropic, messages: Any = HELLO, **more: Any) -> Any:
    asked = {"model": MODEL, "max_tokens": 500, "messages": messages, **more}
    async with client.messages.stream(**asked) as stream:
        return await stream.get_final_message()


def answered(messages: Any, reply: Any, result: str) -> Any:
    """The conversation with a reply and the results of all its calls appended."""
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": result}
        for block in reply.content
        if block.type == "tool_use"
    ]
    assistant = {"role": "assistant", "content": [block.to_dict() for block in reply.content]}
    return [*messages, assistant, {"role": "user", "content": results}]


@pytest.mark.parametrize("asking", [ask, ask_streaming])
async def test_a_conversation_with_tools_is_played_to_its_end(asking: Any) -> None:
    more = {"tools": TOOLS, "cache_control": {"type": "ephemeral"}}
    async with ScriptedClaude(REFUNDS) as claude, sdk(claude) as client:
        first = await asking(client, HELLO, **more)
        second_asked = answered(HELLO, first, '{"id": 4711}')
        second = await asking(client, second_asked, **more)
        third = await asking(client, answered(second_asked, second, "refunded"), **more)
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use"]
    assert second.content[-1].input == {"to": 4711, "amount": 1000}
    assert (third.content[0].text, third.stop_reason) == ("Done.", "end_turn")
    assert first.usage.cache_read_input_tokens == 0
    assert second.usage.cache_read_input_tokens == first.usage.cache_creation_input_tokens > 0
    assert third.usage.cache_read_input_tokens > second.usage.cache_read_input_tokens


async def test_streamed_and_whole_it_is_the_same_message() -> None:
    async with ScriptedClaude(REFUNDS) as claude, sdk(claude) as client:
        whole, streamed = await ask(client), await ask_streaming(client)
    assert streamed.to_dict()["content"] == whole.to_dict()["content"]
    assert streamed.usage == whole.usage
    assert (streamed.id, streamed.stop_reason) == (whole.id, whole.stop_reason)


async def test_whoever_asks_again_gets_the_same_answer_also_from_another_stand_in() -> None:
    replies = []
    for _ in range(2):
        async with ScriptedClaude(REFUNDS) as claude, sdk(claude) as client:
            replies += [await ask(client), await ask(client)]
    assert len({reply.to_json() for reply in replies}) == 1


async def test_everything_is_labelled_as_simulated() -> None:
    async with ScriptedClaude(REFUNDS) as claude, sdk(claude) as client:
        raw = await client.messages.with_raw_response.create(
            model=MODEL, max_tokens=500, messages=HELLO
        )
    reply = await raw.parse()
    assert raw.headers["agentrt-simulated"] == "true"
    assert raw.headers["request-id"].startswith("req_sim_")
    assert raw.headers["anthropic-ratelimit-requests-remaining"].isdecimal()
    assert reply.id.startswith("msg_sim_")
    assert reply.content[-1].to_dict()["id"].startswith("toolu_sim_")  # type: ignore[attr-defined]


async def test_a_reply_function_sees_the_conversation() -> None:
    script = Script(turns=[Turn(reply=lambda c: f"{c.model} heard: {c.user}")])
    async with ScriptedClaude(script) as claude, sdk(claude) as client:
        reply = await ask(client)
    assert reply.content[0].text == f"{MODEL} heard: Refund me, please."


async def test_tokens_are_counted_as_the_reply_will_count_them() -> None:
    async with ScriptedClaude(REFUNDS) as claude, sdk(claude) as client:
        counted = await client.messages.count_tokens(model=MODEL, messages=HELLO, tools=TOOLS)
        reply = await ask(client, tools=TOOLS)
    assert counted.input_tokens == reply.usage.input_tokens


async def test_models_are_listed_and_found() -> None:
    async with ScriptedClaude(REFUNDS) as claude, sdk(claude) as client:
        listed = [model.id async for model in client.models.list(limit=7)]
        model = await client.models.retrieve(MODEL)
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("claude-opus-9")
    assert len(listed) == len(set(listed)) > 7
    assert MODEL in listed
    assert model.capabilities is not None
    assert not model.capabilities.thinking.types.disabled.supported


async def test_no_turn_that_fits_is_a_400_that_says_so() -> None:
    script = Script(turns=[Turn(when=When(user="cancel"), reply="x")])
    async with ScriptedClaude(script) as claude, sdk(claude) as client:
        with pytest.raises(anthropic.BadRequestError, match="turn 1 wants user: 'cancel'"):
            await ask(client)


async def test_what_the_api_refuses_is_refused() -> None:
    async with ScriptedClaude(REFUNDS) as claude, sdk(claude) as client:
        with pytest.raises(anthropic.BadRequestError, match="sampling parameters"):
            await ask(client, extra_body={"temperature": 1})
        with pytest.raises(anthropic.NotFoundError):
            await ask(client, model="claude-opus-9")
        with pytest.raises(anthropic.NotFoundError, match="no GET /v1/messages/batches"):
            await client.messages.batches.list()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, anthropic.AuthenticationError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.OverloadedError),
    ],
)
async def test_a_status_fault_is_the_error_of_the_sdk(
    status: int, error: type[anthropic.APIStatusError]
) -> None:
    script = Script(turns=[Turn(reply="Done.", faults=[Fault(status=status)])])
    async with ScriptedClaude(script) as claude, sdk(claude) as client:
        with pytest.raises(anthropic.APIStatusError) as raised:
            await ask(client)
        assert (await ask(client)).content[0].text == "Done."
    assert raised.value.status_code == status
    assert isinstance(raised.value, error)
    assert raised.value.request_id == claude.requests[0].request_id


async def test_the_sdk_retries_what_it_may_until_the_faults_are_used_up() -> None:
    fault = Fault(status=529, times=2, headers={"retry-after-ms": "1"})
    async with (
        ScriptedClaude(Script(turns=[Turn(reply="Done.")], faults=[fault])) as claude,
        sdk(claude, retries=2) as client,
    ):
        assert (await ask(client)).content[0].text == "Done."
    assert [record.status for record in claude.requests] == [529, 529, 200]


async def test_faults_of_the_script_strike_before_those_of_a_turn_each_in_order() -> None:
    script = Script(
        turns=[Turn(reply="Done.", faults=[Fault(status=401), Fault(status=403)])],
        faults=[Fault(status=500)],
    )
    async with ScriptedClaude(script) as claude, sdk(claude) as client:
        for _ in range(3):
            with pytest.raises(anthropic.APIStatusError):
                await ask(client)
        await ask(client)
    assert [record.status for record in claude.requests] == [500, 401, 403, 200]


async def test_a_refused_request_is_not_kept_in_the_cache() -> None:
    script = Script(turns=[Turn(reply="Done.", faults=[Fault(status=529)])])
    async with ScriptedClaude(script) as claude, sdk(claude) as client:
        mark = {"cache_control": {"type": "ephemeral"}}
        with pytest.raises(anthropic.APIStatusError):
            await ask(client, **mark)
        assert (await ask(client, **mark)).usage.cache_read_input_tokens == 0


async def test_retry_after_reaches_the_client() -> None:
    fault = Fault(status=429, retry_after=7200, error_code="ramp_limit_exceeded")
    async with (
        ScriptedClaude(Script(turns=[Turn(faults=[fault])])) as claude,
        sdk(claude) as client,
    ):
        with pytest.raises(anthropic.RateLimitError) as raised:
            await ask(client)
    assert raised.value.response.headers["retry-after"] == "7200"
    assert raised.value.error_code == "ramp_limit_exceeded"


def refund(*faults: Fault) -> Script:
    reply = [Text("I refund it."), ToolUse("refund_payment", {"to": "ACME", "amount": 1000})]
    return Script(turns=[Turn(reply=reply, faults=faults)])


async def test_a_call_cut_by_a_clean_end_looks_plausible_and_has_no_stop_reason() -> None:
    fault = Fault(cut="eof", at="tool_input")
    async with ScriptedClaude(refund(fault)) as claude, sdk(claude) as client:
        reply = await ask_streaming(client)
    assert reply.stop_reason is None
    assert reply.content[-1].input == {"to": "ACME", "amount": 10}


@pytest.mark.parametrize("at", ["text", "tool_input", 0, 700, None])
async def test_a_cut_connection_is_a_protocol_error(at: Any) -> None:
    fault = Fault(cut="connection", at=at)
    async with ScriptedClaude(refund(fault)) as claude, sdk(claude) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await ask_streaming(client)
        assert (await ask_streaming(client)).stop_reason == "tool_use"


async def test_a_cut_inside_json_is_a_connection_error() -> None:
    async with (
        ScriptedClaude(refund(Fault(cut="connection"))) as claude,
        sdk(claude) as client,
    ):
        with pytest.raises((anthropic.APIConnectionError, httpx2.RemoteProtocolError)):
            await ask(client)


async def test_the_cut_is_not_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        ScriptedClaude(refund(Fault(cut="connection"))) as claude,
        sdk(claude) as client,
    ):
        with pytest.raises(httpx2.RemoteProtocolError):
            await ask_streaming(client)
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


async def test_an_error_in_the_stream_comes_with_status_200() -> None:
    fault = Fault(stream_error="overloaded_error", at="text")
    async with ScriptedClaude(refund(fault)) as claude, sdk(claude) as client:
        with pytest.raises(anthropic.APIStatusError) as raised:
            await ask_streaming(client)
    assert (raised.value.status_code, raised.value.type) == (200, "overloaded_error")


async def test_a_silent_stream_opens_and_says_nothing() -> None:
    async with (
        ScriptedClaude(refund(Fault(silent_s=3600))) as claude,
        sdk(claude, timeout_s=0.2) as client,
    ):
        with pytest.raises(httpx2.ReadTimeout):
            await ask_streaming(client)
    assert claude.requests[0].status == 200


async def test_a_slow_answer_comes_late() -> None:
    script = Script(turns=[Turn(reply="Done.", delay_s=0.1)])
    async with ScriptedClaude(script) as claude, sdk(claude) as client:
        asked_at = time.monotonic()
        assert (await ask(client)).content[0].text == "Done."
    assert time.monotonic() - asked_at >= 0.1


@pytest.mark.parametrize("how", ["silent", "slow"])
async def test_it_stops_at_once_although_an_answer_hangs(how: str) -> None:
    turn = Turn(delay_s=3600) if how == "slow" else Turn(faults=[Fault(silent_s=3600)])
    claude = ScriptedClaude(Script(turns=[turn]))
    claude.start()
    async with sdk(claude, timeout_s=60) as client:
        hanging = asyncio.create_task(ask_streaming(client))
        await asyncio.to_thread(claude.wait_for_requests, 1)
        stopped_at = time.monotonic()
        await asyncio.to_thread(claude.stop)
        assert time.monotonic() - stopped_at < 5
        with pytest.raises((anthropic.APIConnectionError, httpx2.RemoteProtocolError)):
            await hanging
    assert not [t for t in threading.enumerate() if t.name == "scripted-claude"]


async def test_requests_are_kept_without_their_credentials() -> None:
    async with ScriptedClaude(REFUNDS) as claude, sdk(claude) as client:
        await ask(client)
    (record,) = claude.requests
    assert (record.method, record.path, record.status) == ("POST", "/v1/messages", 200)
    assert record.body["messages"] == HELLO
    assert json.loads(record.raw) == record.body
    assert record.headers["anthropic-version"] == "2026-10-21"
    assert SIMULATED_KEY not in str(record.headers)


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_key_that_looks_real_is_refused_and_forgotten(header: str) -> None:
    key = "sk-ant-api03-this-is-not-one"
    async with (
        ScriptedClaude(REFUNDS) as claude,
        httpx2.AsyncClient(trust_env=False, base_url=claude.url) as http,
    ):
        sent = {header: f"Bearer {key}" if header == "authorization" else key}
        answer = await http.post("/v1/messages", json={}, headers=sent)
    assert answer.status_code == 401
    assert "do not send real keys" in answer.json()["error"]["message"]
    assert key not in repr(claude.requests)
    assert key not in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"x-api-key": "any"}, 400),
        ({"x-api-key": "any", "anthropic-version": "2023-06-01"}, 400),
        ({"x-api-key": "any", "anthropic-version": "2026-10-21"}, 200),
    ],
)
async def test_a_request_needs_a_key_and_a_version(headers: dict[str, str], status: int) -> None:
    body = json.dumps({"model": MODEL, "max_tokens": 5, "messages": HELLO}).encode()
    async with (
        ScriptedClaude(REFUNDS) as claude,
        httpx2.AsyncClient(trust_env=False, base_url=claude.url) as http,
    ):
        answer = await http.post("/v1/messages?beta=true", content=body, headers=headers)
    assert answer.status_code == status


def test_a_request_that_announces_too_much_is_refused_before_it_is_read() -> None:
    with ScriptedClaude(REFUNDS) as claude:
        host, _, port = claude.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/files", 404), ("GET", "/v1/messages", 405)]
)
async def test_a_path_it_does_not_have_is_not_found(method: str, path: str, status: int) -> None:
    headers = {"x-api-key": "any", "anthropic-version": "2026-10-21"}
    async with (
        ScriptedClaude(REFUNDS) as claude,
        httpx2.AsyncClient(trust_env=False, base_url=claude.url, headers=headers) as http,
    ):
        answer = await http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["type"] == "error"


async def test_another_process_can_ask_how_many_requests_were_made() -> None:
    async with ScriptedClaude(REFUNDS) as claude, sdk(claude) as client:
        await ask(client)
        with pytest.raises(anthropic.NotFoundError):
            await ask(client, model="claude-opus-9")
        async with httpx2.AsyncClient(trust_env=False, base_url=claude.url) as http:
            counts = (await http.get("/_standin/requests")).json()
    assert counts == {
        "total": 2,
        "by_path": {"/v1/messages": 2},
        "by_status": {"200": 1, "404": 1},
    }


def test_waiting_for_a_request_that_never_comes_is_an_error() -> None:
    with ScriptedClaude(REFUNDS) as claude, pytest.raises(StandInError, match="0 of 1 requests"):
        claude.wait_for_requests(1, timeout_s=0.01)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_only_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(StandInError, match="loopback only"):
        ScriptedClaude(REFUNDS, host=host).start()
    with pytest.raises(StandInError, match="loopback only"):
        serve(REFUNDS, host=host)


def test_a_port_that_is_taken_is_an_error() -> None:
    with ScriptedClaude(REFUNDS) as claude:
        port = int(claude.url.rpartition(":")[2])
        with pytest.raises(StandInError, match="cannot listen"):
            ScriptedClaude(REFUNDS, port=port).start()


def test_localhost_is_loopback() -> None:
    with ScriptedClaude(REFUNDS, host="localhost") as claude:
        assert claude.url.startswith("http://127.0.0.1:")


def test_many_come_and_go_without_leaving_a_socket() -> None:
    for _ in range(5):
        with ScriptedClaude(REFUNDS) as claude:
            host, _, port = claude.url.removeprefix("http://").partition(":")
            socket.create_connection((host, int(port))).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))


SERVING = """
from agentrt.testing import Script, serve
serve(Script.parse("turns: [{reply: Done.}]"), announce=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_it_serves_until_a_signal(sent: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVING], stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout is not None
        url = p.stdout.readline().strip()
        headers = {"x-api-key": "any", "anthropic-version": "2026-10-21"}
        body = {"model": MODEL, "max_tokens": 5, "messages": HELLO}
        with httpx2.Client(trust_env=False) as http:
            reply = http.post(f"{url}/v1/messages", json=body, headers=headers)
        p.send_signal(sent)
        assert p.stdout.read().strip() == "stopped"
        assert p.wait(timeout=10) == 0
    assert reply.json()["content"][0]["text"] == "Done."


def test_the_snippets_of_the_documentation_work() -> None:
    document = Path(__file__).parents[1] / "docs" / "scripted-claude.md"
    snippets = re.findall(r"```(\w+)\n(.*?)```", document.read_text(), re.DOTALL)
    assert {language for language, _ in snippets} == {"yaml", "python"}
    for language, snippet in snippets:
        if language == "yaml":
            assert Script.parse(snippet).turns
        else:
            exec(compile(snippet, document.name, "exec"), {})


def test_importing_it_does_not_import_the_sdk() -> None:
    code = "import sys, agentrt.testing; sys.exit('anthropic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
