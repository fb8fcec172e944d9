"""Claude over real HTTP: whole replies, failures classified once, and no key anywhere."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic

from agentrt.claude import Claude, Failure, Reply, Requests, TextDelta
from agentrt.claude import client as client_file
from agentrt.claude.request import request_head
from agentrt.errors import ClaudeError, CredentialsMissing
from agentrt.testing import Fault, Script, ScriptedClaude, Text, ToolUse, Turn

MODEL = "claude-sonnet-5-5"
REPLY = (Text("Hello."), ToolUse("look_up", {"amount": 1000}))
DEFINITION: dict[str, Any] = {
    "name": "a",
    "model": MODEL,
    "tokens_max": 100,
    "instructions": "Help.",
    "cache": "1h",
    "effort": "low",
    "thinking": {"type": "adaptive"},
    "tools": [
        {
            "name": "look_up",
            "description": "Look up.",
            "input_schema": {"type": "object", "properties": {"amount": {"type": "integer"}}},
        }
    ],
}


def body(*, stream: bool = False, **changes: Any) -> bytes:
    head = request_head({**DEFINITION, **changes})
    return Requests(head, stream=stream).body([b'{"role":"user","content":"Hi"}'])[0]


def test_a_request_made_by_adding_to_the_last_is_the_one_made_from_nothing() -> None:
    head = request_head(DEFINITION)
    growing = Requests(head, stream=False)
    messages: list[bytes] = []
    for number in range(5):
        messages.append(b'{"role":"user","content":"%d"}' % number)
        text, digest = growing.body(messages)
        assert (text, digest) == Requests(head, stream=False).body(messages)
        assert digest == hashlib.sha256(text).hexdigest()
        assert len(json.loads(text)["messages"]) == number + 1


@pytest.fixture
def scripted() -> Iterator[Any]:
    running: list[ScriptedClaude] = []

    def start(*faults: Fault, **turn: Any) -> ScriptedClaude:
        claude = ScriptedClaude(Script(turns=(Turn(reply=REPLY, faults=faults, **turn),)))
        running.append(claude)
        claude.start()
        return claude

    yield start
    for claude in running:
        claude.stop()


@pytest.fixture(autouse=True)
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backing off is the SDK's, and it takes its time."""
    monkeypatch.setattr(client_file, "RETRIES_MAX", 0)


async def ask(server: ScriptedClaude, *, stream: bool = False, **options: Any) -> Reply | Failure:
    deadline_s = options.pop("deadline_s", 20)
    claude = Claude.scripted(server.url, **options)
    try:
        show = (lambda _delta: None) if stream else None
        return await claude.ask(body(stream=stream), deadline_s=deadline_s, show=show)
    finally:
        await claude.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_is_whole_with_usage_and_frozen_price(scripted: Any, stream: bool) -> None:
    reply = await ask(scripted(), stream=stream)
    assert isinstance(reply, Reply)
    text, use = json.loads(reply.blocks)
    assert (text["text"], use["input"]) == ("Hello.", {"amount": 1000})
    assert reply.stop_reason == "tool_use"
    assert reply.usage.output_tokens > 0
    assert reply.price is not None
    assert reply.price.cost_usd > 0
    assert reply.price.rates["input_mtok"] == "2"
    assert reply.request_id is not None
    assert [attempt.status for attempt in reply.attempts] == [200]


async def test_a_streamed_reply_is_the_same_as_one_in_one_piece(scripted: Any) -> None:
    server = scripted()
    whole, streamed = await ask(server), await ask(server, stream=True)
    assert isinstance(whole, Reply)
    assert isinstance(streamed, Reply)
    assert json.loads(whole.blocks) == json.loads(streamed.blocks)


async def test_text_is_shown_as_it_arrives(scripted: Any) -> None:
    claude = Claude.scripted(scripted().url)
    seen: list[Any] = []
    reply = await claude.ask(body(stream=True), deadline_s=20, show=seen.append)
    await claude.close()
    assert isinstance(reply, Reply)
    assert reply.first_token_ms is not None
    assert "".join(delta.text for delta in seen if isinstance(delta, TextDelta)) == "Hello."
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("fault", "kind", "outage"),
    [
        (Fault(status=401), "authentication", True),
        (Fault(status=402, error_type="billing_error"), "billing", True),
        (Fault(status=403, error_type="permission_error"), "permission", False),
        (Fault(status=404), "not_found", False),
        (Fault(status=429), "rate_limited", True),
        (Fault(status=429, error_code="enforced_spend_limit_reached"), "spend_limit", True),
        (Fault(status=500), "server_error", True),
        (Fault(status=529), "overloaded", True),
        (Fault(status=400), "invalid_request", False),
        (Fault(status=413, error_type="request_too_large"), "too_large", False),
    ],
)
async def test_every_error_is_classified_once(
    scripted: Any, fault: Fault, kind: str, outage: bool
) -> None:
    failure = await ask(scripted(fault))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.outage, failure.again) == (kind, outage, False)
    assert failure.message


@pytest.mark.parametrize("cut", ["eof", "connection"])
@pytest.mark.parametrize("at", ["text", "tool_input", 5])
async def test_a_cut_stream_is_a_failure_and_never_a_reply(
    scripted: Any, cut: Any, at: Any
) -> None:
    failure = await ask(scripted(Fault(cut=cut, at=at)), stream=True)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.again) == ("cut", True)


async def test_an_error_in_mid_stream_is_known_by_its_type(scripted: Any) -> None:
    failure = await ask(scripted(Fault(stream_error="overloaded_error")), stream=True)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.again, failure.outage) == ("overloaded", True, True)


async def test_a_silent_stream_ends_after_the_silence_that_was_allowed(scripted: Any) -> None:
    failure = await ask(scripted(Fault(silent_s=30)), stream=True, silence_s=0.2)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.again) == ("timeout", True)


async def test_the_total_deadline_holds_however_slowly_a_reply_drips(scripted: Any) -> None:
    began = time.monotonic()
    failure = await ask(scripted(delay_s=30), deadline_s=0.3)
    assert isinstance(failure, Failure)
    assert failure.kind == "deadline"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("wait", [3600, "Wed, 21 Oct 2099 07:28:00 GMT"])
async def test_an_hour_of_retry_after_is_not_waited_for(
    scripted: Any, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_file, "RETRIES_MAX", 4)
    began = time.monotonic()
    failure = await ask(scripted(Fault(status=429, retry_after=wait, times=10)))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.outage) == ("rate_limited", True)
    assert "It asked to wait" in failure.message
    assert len(failure.attempts) == 1
    assert time.monotonic() - began < 10


async def test_a_spend_limit_is_not_tried_again(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_file, "RETRIES_MAX", 4)
    fault = Fault(status=429, error_code="enforced_spend_limit_reached", times=10)
    failure = await ask(scripted(fault))
    assert isinstance(failure, Failure)
    assert len(failure.attempts) == 1


async def test_the_sdk_retries_and_every_attempt_is_noted(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_file, "RETRIES_MAX", 4)
    reply = await ask(scripted(Fault(status=529), Fault(status=500)))
    assert isinstance(reply, Reply)
    assert [attempt.status for attempt in reply.attempts] == [529, 500, 200]


async def test_nobody_there_is_an_outage() -> None:
    claude = Claude.scripted("http://127.0.0.1:9")
    failure = await claude.ask(body(), deadline_s=20)
    await claude.close()
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.outage) == ("connection", True)


async def test_a_key_in_an_error_is_masked(scripted: Any) -> None:
    secret = "simulated-secret-0123456789"
    server = scripted(Fault(status=401, message=f"invalid key {secret}"))
    client = AsyncAnthropic(
        api_key=secret, base_url=server.url, http_client=httpx2.AsyncClient(trust_env=False)
    )
    claude = Claude(client, simulated=True)
    failure = await claude.ask(body(), deadline_s=20)
    await client.close()
    assert isinstance(failure, Failure)
    assert secret not in failure.message
    assert "[key]" in failure.message


async def test_a_stand_in_that_nobody_expected_is_refused(scripted: Any) -> None:
    client = AsyncAnthropic(
        api_key="simulated-key",
        base_url=scripted().url,
        http_client=httpx2.AsyncClient(trust_env=False),
    )
    with pytest.raises(ClaudeError, match="simulated"):
        await Claude(client).ask(body(), deadline_s=20)
    await client.close()


def test_without_a_key_it_says_how_to_get_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_LOG"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CredentialsMissing, match="ANTHROPIC_API_KEY"):
        Claude()


def test_the_debug_log_of_the_sdk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated-key")
    monkeypatch.setenv("ANTHROPIC_LOG", "debug")
    with pytest.raises(ClaudeError, match="ANTHROPIC_LOG"):
        Claude()


async def test_the_cache_marks_are_on_tools_instructions_and_the_moving_end(
    scripted: Any,
) -> None:
    server = scripted()
    await ask(server)
    sent = server.requests[-1].body
    assert sent["tools"][-1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert sent["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert sent["cache_control"] == {"type": "ephemeral"}
    assert sent["max_tokens"] == 100
    assert sent["output_config"] == {"effort": "low"}


def test_an_agent_without_tools_or_instructions_sends_neither() -> None:
    sent = json.loads(body(tools=[], instructions="", effort=None, thinking=None))
    assert sent.keys() == {"model", "max_tokens", "cache_control", "messages"}


async def test_the_second_request_reads_what_the_first_wrote(scripted: Any) -> None:
    server = scripted()
    first, second = await ask(server), await ask(server)
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert first.usage.cache_write_1h_tokens > 0
    assert second.usage.cache_read_tokens >= first.usage.cache_write_1h_tokens
