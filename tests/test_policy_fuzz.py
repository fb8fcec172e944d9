"""Whatever Claude writes for arguments: nothing runs undecided, and nothing breaks."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from anthropic import AsyncAnthropic
from office import Office

from agentrt import Call, Runtime, tool
from agentrt.claude import Claude
from agentrt.events import CallDecided, CallStarted, RunFailed
from agentrt.policy import Policy
from agentrt.run import Run
from agentrt.testing import Raw, Script, Text, Turn, When


def a_rule(id: str, decide: str, when: str, **more: Any) -> dict[str, Any]:
    fields = {"id": id, "decide": decide, "tools": ["pay"], "when": when, "why": f"{id}."}
    return {key: value for key, value in {**fields, **more}.items() if value is not None}


CAP = {"sum": "args.share", "most": 1000, "per": ["user"], "within": "1h"}
CONDITIONS = [
    a_rule("go", "allow", "args.cents < 100"),
    a_rule("known", "allow", "args.to in ['ana', 'bob']"),
    a_rule("large", "deny", "args.cents * 1000000 > 500000000"),
    a_rule("share", "hold", "1.0 / args.share > 3.0"),
    a_rule("late", "deny", "args.at > timestamp('2030-01-01T00:00:00Z')"),
    a_rule("tags", "deny", "args.tags.exists(tag, tag.matches('^x+$'))"),
    a_rule("deep", "hold", "args.extra.exists(key, key.startsWith('a') && args.extra[key] == 1)"),
    a_rule("may", "deny", "args.maybe != null && 10 / args.maybe == 1"),
    a_rule("kind", "hold", "args.kind == 'odd'"),
    a_rule("named", "deny", "args.note != null && !user_named(args.note)"),
    a_rule("clamp", "allow", "args.cents > 90", set={"cents": "90"}),
    a_rule("cap", "hold", "args.share > 0.0", limit=CAP),
    a_rule("calm", "deny", "size(args.to) / (args.cents - 5) > 0", mode="shadow"),
]
RULES = json.dumps({"default": {"read": "allow"}, "rules": CONDITIONS})
"""JSON is YAML too."""

GOOD: Mapping[str, Any] = {"to": "ana", "cents": 5}


@dataclass
class Mint:
    """A tool with arguments of many kinds, and what it was entered with."""

    entered: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def pay(self) -> Any:
        @tool(effect="write", idempotent_for="1h", name="pay")
        def pay_it(
            to: str,
            cents: int,
            call: Call,
            share: float = 0.5,
            at: datetime = datetime(2026, 1, 1),
            tags: list[str] = NOTHING,
            extra: dict[str, Any] = NO_EXTRA,
            maybe: int | None = None,
            kind: Literal["even", "odd"] = "even",
            note: str | None = None,
        ) -> str:
            """Pay."""
            self.entered.append((call.id, {"to": to, "cents": cents, "share": share}))
            return f"paid {at} {tags} {extra} {maybe} {kind} {note}"[:50]

        return pay_it


NOTHING: list[str] = []
NO_EXTRA: dict[str, Any] = {}


# --- what is written, as JSON text -------------------------------------------------------


def nested(depth: int, inner: str = "1") -> str:
    return '{"a":' * depth + inner + "}" * depth


def good(**changed: str) -> str:
    """Good arguments, some of them as other JSON text."""
    parts = {name: json.dumps(value) for name, value in GOOD.items()} | changed
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in parts.items()) + "}"


VALUES = [
    *("null", "true", "false", "0", "-0", "-0.0", "5", "-5", "5.0", "5.5", "1e2", "1e308", "1e309"),
    *("-1e309", "NaN", "Infinity", "-Infinity", "1e-400", "9007199254740991", "9007199254740993"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" + "0" * 400),
    *(
        "9" * 4000,
        '""',
        '"5"',
        '"ana"',
        '"x"',
        '"' + "x" * 5_000 + '"',
        '"\\ud800"',
        '"\\udc00\\ud800"',
    ),
    *('"\\u0000"', '"\\uffff"', '"é"', '"😀"', '"2031-01-01T00:00:00Z"', '"2031-01-01"', '"now"'),
    *('"2026-13-45T99:99:99Z"', '"0000-00-00T00:00:00Z"', '"9999-12-31T23:59:59-23:59"', "[]"),
    *("[1]", '["x"]', '["xxxx","y"]', '[["x"]]', "[null]", "{}", '{"a":1}', '{"a":[1,2]}'),
    *('{"":""}', '{"a":1,"a":2}', '{"__proto__":1}', '{"a":NaN}', nested(60), nested(70)),
    *(nested(150), nested(190), nested(198), nested(210), nested(250), nested(300), nested(900)),
    *("[" * 190 + "]" * 190, "[" * 240 + "]" * 240, nested(20_000), "[" * 100_000 + "]" * 100_000),
    *('"' + "a" * 200_000 + '"', "[" + ",".join(["1"] * 20_000) + "]"),
    '{"' + '":1,"'.join(f"k{index}" for index in range(5_000)) + '":1}',
]

NAMES = ("to", "cents", "share", "at", "tags", "extra", "maybe", "kind", "note")

WHOLE = [
    *("null", "true", "5", '"text"', "[]", '["to","ana"]', "{}", '{"to":"ana"}', '{"cents":5}'),
    *(
        '{"to":"ana","cents":5,"more":1}',
        '{"to":"ana","cents":5,"call":{}}',
        '{"TO":"ana","cents":5}',
    ),
    # Of two values for one name, the one that is decided on is the one that runs.
    '{"to":"ana","cents":5,"cents":999999}',
    '{"to":"ana","cents":999999,"cents":5}',
    '{"to":"eve","to":"ana","cents":5}',
    '{"cents":5,"to":"ana","cents":"5"}',
    '{"to":"ana","cents":5,"share":0,"share":NaN}',
    '{"to":"ana","cents":5,"\\u0063ents":700}',
    '{"to":"ana","cents":5,"":1}',
    '{"to":"ana","cents":5,"\\ud800":1}',
    nested(250, '"x"'),
    "[" * 5_000 + "]" * 5_000,
]


def systematic() -> list[str]:
    return [
        *WHOLE,
        *(good(**{name: value}) for name in NAMES for value in VALUES if len(value) < 300),
    ]


def random_ones(seed: int, count: int) -> list[str]:
    dice = random.Random(seed)
    return [
        good(**{name: dice.choice(VALUES) for name in dice.sample(NAMES, dice.randint(1, 5))})
        for _ in range(count)
    ]


def huge_ones() -> list[str]:
    names = ("to", "cents", "extra", "tags")
    return [good(**{name: value}) for name in names for value in VALUES if len(value) >= 300]


# --- Claude who says it ------------------------------------------------------------------


class Hostile(httpx2.AsyncBaseTransport):
    """Puts text that no JSON library writes into the answers of the scripted Claude."""

    def __init__(self, inputs: list[str]) -> None:
        self._inputs = inputs
        self._inner = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._inner.handle_async_request(request)
        body = await answer.aread()
        await answer.aclose()
        headers = {
            name: value for name, value in answer.headers.items() if name != "content-length"
        }
        streamed = "event-stream" in answer.headers.get("content-type", "")
        text = self._streamed(body.decode()) if streamed else self._changed(body.decode())
        return httpx2.Response(answer.status_code, headers=headers, content=text.encode())

    def _changed(self, text: str) -> str:
        return re.sub(r'"@(\d+)@"', lambda found: self._inputs[int(found[1])], text)

    def _streamed(self, text: str) -> str:
        """The arguments come in pieces of a text that holds JSON: change it as a whole."""
        frames, pieces = [], ""
        for frame in text.split("\n\n"):
            if '"input_json_delta"' in frame:
                data = json.loads(frame.partition("data: ")[2])
                pieces += data["delta"]["partial_json"]
                data["delta"]["partial_json"] = self._changed(pieces)
                last = f"event: content_block_delta\ndata: {json.dumps(data)}"
                continue
            frames += [last, frame] if pieces else [frame]
            pieces = ""
        return "\n\n".join(frames)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _as_told(conversation: Any) -> tuple[Any, ...]:
    numbers = [int(word) for word in conversation.user.split() if word.isdigit()]
    return tuple(
        Raw({"type": "tool_use", "id": f"toolu_{place}", "name": "pay", "input": f"@{number}@"})
        for place, number in enumerate(numbers)
    )


SCRIPT = Script(turns=(Turn(when=When(after="pay"), reply=(Text("Done."),)), Turn(reply=_as_told)))


@dataclass
class World:
    runtime: Runtime
    office: Office
    mint: Mint
    inputs: list[str]

    async def asks_for(self, *numbers: int, stream: bool, user: str = "mona") -> Run:
        """A run in which Claude writes these inputs."""
        prompt = "Pay " + " ".join(map(str, numbers))
        if stream:
            before = {row.id for row in self.runtime.store.runs()}
            async for _ in self.runtime.stream(self.office.agent(), prompt, user=user):
                pass
            (new,) = {row.id for row in self.runtime.store.runs()} - before
            return self.runtime.store.load(new)
        return await self.runtime.run(self.office.agent(), prompt, user=user)


@asynccontextmanager
async def a_world(folder: Path, inputs: list[str]) -> AsyncIterator[World]:
    mint = Mint()
    office = Office(folder, (mint.pay(),), SCRIPT, rules=RULES)
    policy = Policy.from_texts({"rules.yaml": RULES}, office.tools)
    with office:
        client = AsyncAnthropic(
            api_key="simulated-key",
            base_url=office.claude.url,
            http_client=httpx2.AsyncClient(transport=Hostile([*inputs, good()])),
        )
        claude = Claude(client, simulated=True)
        store = folder / "a.db"
        try:
            async with Runtime(
                store=store, policy=policy, agents=[office.agent()], claude=claude
            ) as runtime:
                yield World(runtime, office, mint, inputs)
        finally:
            await claude.close()


# --- what must hold ----------------------------------------------------------------------


def check(world: World, run: Run) -> None:
    """Every entry of the function has a decision to allow it, on just these arguments."""
    assert run.over or run.status == "waiting", run.status
    decided: dict[str, CallDecided] = {}
    started: set[str] = set()
    for record in world.runtime.store.records(run.id):
        if isinstance(record.event, CallDecided):
            decided[record.event.call] = record.event
        if isinstance(record.event, CallStarted):
            assert decided[record.event.call].verdict == "allow"
            started.add(record.event.call)
    entered = [one for one in world.mint.entered if one[0] in decided]
    assert {call for call, _ in entered} == started
    assert len(entered) == len(started)
    for call, values in entered:
        event = decided[call]
        arguments = json.loads(event.arguments)
        assert {name: arguments[name] for name in values} == values
        assert not set(event.failed) & {"large", "share", "late", "tags", "deep", "may", "kind"}
        assert values["cents"] <= 100
        assert event.basis in ("rules", "default")
    if isinstance(world.runtime.store.records(run.id)[-1].event, RunFailed):
        assert not entered


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["systematic", "random", "huge"])
async def test_arguments_of_no_kind_run_undecided_or_break_anything(
    tmp_path: Path, kind: str, stream: bool
) -> None:
    inputs = {
        "systematic": systematic()[stream::7],
        "random": random_ones(7 + stream, 40),
        "huge": huge_ones()[stream::2],
    }[kind]
    async with a_world(tmp_path, inputs) as world:
        for number in range(len(inputs)):
            run = await world.asks_for(number, stream=stream)
            check(world, run)
        last = await world.asks_for(len(inputs), stream=stream, user="omar")
        check(world, last)
        assert (last.status, last.all_calls[0].status) == ("finished", "finished")
        assert world.runtime.store.verify().ok
        statuses = {row.status for row in world.runtime.store.runs()}
        assert statuses <= {"finished", "waiting", "failed"}


async def test_bad_arguments_beside_good_ones_keep_only_themselves_from_running(
    tmp_path: Path,
) -> None:
    inputs = [good(cents='"5"'), good(), good(cents="NaN"), good(cents="700"), good()]
    async with a_world(tmp_path, inputs) as world:
        run = await world.asks_for(*range(len(inputs)), stream=False)
        check(world, run)
    assert [call.status for call in run.all_calls] == [
        *("denied", "finished", "denied", "denied", "finished"),
    ]
