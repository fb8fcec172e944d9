"""Where a run stands: a value, made only by folding its records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from pydantic_core import from_json, to_json

from agentrt.events import Approver, ClaudeFailed, RuleRef, Usage, User

__all__ = [
    "Approval",
    "CallStatus",
    "Contradiction",
    "Definition",
    "Run",
    "RunStatus",
    "Settlement",
    "ToolCall",
    "Trail",
    "call_id",
]

T = TypeVar("T")

RunStatus = Literal["new", "running", "waiting", "finished", "failed", "cancelled"]

CallStatus = Literal[
    "requested",  # Claude asked; policy has not spoken
    "allowed",
    "held",
    "approved",
    "denied",
    "rejected",
    "expired",
    "started",
    "in doubt",
    "finished",
    "cancelled",  # its run ended before it could start
]

RESOLVED: frozenset[CallStatus] = frozenset({"denied", "rejected", "expired", "finished"})
"""A call in one of these has the answer that Claude is given."""


class Trail(Generic[T]):
    """A sequence that only grows; `plus` costs the same at any length.

    Trails made from one another share a list. The one that is longest appends in place;
    an older one that is extended again makes a copy, so that none ever sees another's items.
    """

    __slots__ = ("_items", "_length")

    def __init__(self, items: list[T] | None = None, *, length: int | None = None) -> None:
        self._items: list[T] = items if items is not None else []
        self._length = len(self._items) if length is None else length

    def plus(self, item: T) -> Trail[T]:
        """This trail with `item` at its end."""
        items = self._items if len(self._items) == self._length else self._items[: self._length]
        items.append(item)
        if items[self._length] is not item:  # another thread extended the same trail first
            items = [*items[: self._length], item]
        return Trail(items, length=self._length + 1)

    def since(self, start: int) -> list[T]:
        """The items from `start` on."""
        return self._items[start : self._length]

    def before(self, end: int) -> Trail[T]:
        """The trail as it was when it had `end` items."""
        return Trail(self._items, length=end)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> T:
        if not 0 <= index < self._length:
            raise IndexError(index)
        return self._items[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._items[: self._length])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trail) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Definition:
    """The agent as it was when the run started, read from `run.started`."""

    data: Mapping[str, Any]

    @cached_property
    def tools(self) -> Mapping[str, Mapping[str, Any]]:
        """The recorded tools by name."""
        return {tool["name"]: tool for tool in self.data["tools"]}


@dataclass(frozen=True, slots=True)
class Approval:
    """A reviewer's signed yes to one revision of a call."""

    seq: int
    at: int
    by: str
    key: str
    reason: str
    statement: bytes
    statement_digest: str
    signature: str


@dataclass(frozen=True)
class Settlement:
    """What was said to become of an attempt in doubt, and of what call as it stood then."""

    seq: int
    attempt: int
    happened: bool
    method: Literal["check", "person"]
    by: str
    reason: str
    result: str
    statement: bytes
    statement_digest: str
    signature: str
    doubted_seq: int
    """The doubt that it settles."""
    revision: int
    arguments_digest: str
    rules_digest: str
    tool_digest: str
    approver: Approver | None
    holds: bool = True
    """False once a runtime found that no reviewer signed it."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A function's own word, late, against what was settled of its attempt."""

    call: str
    tool: str
    seq: int
    at: int
    text: str


@dataclass(frozen=True)
class ToolCall:
    """A tool_use block and all that became of it."""

    id: str
    tool: str
    tool_use_id: str
    turn: int
    index: int
    input: bytes
    """What Claude wrote, as JSON."""
    requested_seq: int
    requested_at: int
    status: CallStatus = "requested"
    revision: int = 0
    verdict: str = ""
    basis: str = ""
    reason: str = ""
    """Why policy decided so."""
    rules: tuple[RuleRef, ...] = ()
    rules_digest: str = ""
    bundle: str = ""
    effect: str = ""
    labels: tuple[str, ...] = ()
    untrusted: tuple[str, ...] = ()
    """The fields of the result that outsiders write."""
    awaiting: tuple[str, ...] = ()
    """Facts that it is held for and that were not known when it was decided."""
    until: int | None = None
    """Till when it waits for them alone, before a person is asked."""
    changed: tuple[str, ...] = ()
    """The arguments that rules set."""
    asked: bytes | None = None
    """The completed arguments before rules set some of them."""
    facts: bytes | None = None
    """What the rules read, as `call.decided` has it."""
    repeatable: bool = False
    tool_digest: str = ""
    arguments: bytes = b"{}"
    """The completed arguments: the one value that policy, reviewer and function see."""
    arguments_digest: str = ""
    shown: bytes | None = None
    """`arguments`, `asked` and `facts` as people may see them, where that is another form."""
    approver: Approver | None = None
    group: str | None = None
    """The same for the calls of its turn that belong together with it."""
    preview: str | None = None
    editor: str | None = None
    decided_seq: int = 0
    decided_at: int = 0
    approvals: tuple[Approval, ...] = ()
    used: tuple[str, ...] = ()
    """Digests of the statements that its attempts used up: none is good for another."""
    attempt: int = 0
    key: str = ""
    process: str = ""
    started_seq: int = 0
    started_at: int = 0
    deadline_at: int = 0
    doubt: str = ""
    doubted_seq: int = 0
    returned: bool = False
    """Whether the function of an attempt in doubt had come back: nothing of it runs any more."""
    check: str = ""
    """What the tool's `check` came to, where it could not settle the doubt."""
    settlements: tuple[Settlement, ...] = ()
    result: str = ""
    """What Claude is given, once the call is resolved."""
    is_error: bool = False
    finished_at: int = 0
    closed_by: str = ""
    """The reviewer who rejected or settled it."""

    @property
    def resolved(self) -> bool:
        """Whether Claude can be given an answer."""
        return self.status in RESOLVED

    @property
    def ready(self) -> bool:
        """Whether nothing but the order of the turn stands before its function."""
        return self.status in ("allowed", "approved")

    @property
    def waits(self) -> bool:
        """Whether only a person can move it on."""
        return self.status in ("held", "in doubt")

    def deferred(self, now: int) -> bool:
        """Whether it waits for a fact, and nobody is asked yet."""
        return self.status == "held" and self.until is not None and now < self.until

    @property
    def quorum(self) -> int:
        """How many reviewers it takes."""
        return self.approver.quorum if self.approver else 1

    @property
    def expires_at(self) -> int | None:
        """When a held call counts as rejected, in milliseconds since the epoch."""
        return self.approver.expires_at if self.approver else None

    @property
    def arguments_intact(self) -> bool:
        """Whether the arguments are those of the digest: not when somebody changed the store."""
        return hashlib.sha256(self.arguments).hexdigest() == self.arguments_digest

    def seen(self, name: Literal["arguments", "asked", "facts"]) -> bytes | None:
        """A field as people may see it: masked, hashed or dropped where a rule says so."""
        forms = from_json(self.shown) if self.shown else None
        found = forms.get(name) if isinstance(forms, dict) else None
        value: bytes | None = getattr(self, name)
        return value if found is None else to_json(found)

    @property
    def seen_arguments(self) -> bytes:
        """The completed arguments as people may see them."""
        return self.seen("arguments") or b"{}"

    @property
    def arguments_data(self) -> dict[str, Any]:
        """The completed arguments as plain data."""
        data: dict[str, Any] = from_json(self.arguments)
        return data


@dataclass(frozen=True)
class Run:
    """One prompt carried to its output."""

    id: str
    seq: int = 0
    """`seq` of its newest record; 0 before the first."""
    head: bytes = b""
    """Hash of its newest record."""
    at: int = 0
    """When the newest record was written, in milliseconds since the epoch."""
    status: RunStatus = "new"
    agent: str = ""
    model: str = ""
    bundle: str = ""
    environment: str = ""
    simulated: bool = False
    prompt: str = ""
    prompt_seen: str = ""
    """The prompt as people may see it."""
    user: User | None = None
    user_ref: str | None = None
    """What stands for the user in headers."""
    subjects: tuple[str, ...] = ()
    """What stands for those whom it is about, its user not counted."""
    zero_retention: bool = False
    """Whether its content is erased when it is over."""
    reply_gone: bool = False
    """Whether the last reply has no blocks: its calls are known by their decisions."""
    reducible: bool = False
    """Whether anything of it is stored in another form than it is shown in."""
    reduced: bool = False
    """Whether its conversation is no longer as it was sent."""
    forgotten: bool = False
    """Whether content of it was erased: nothing can go on from it."""
    parent: str | None = None
    """The run that it follows."""
    inherited: int = 0
    """How many of its messages it took over from there; its own prompt comes next."""
    definition: Definition = field(default_factory=lambda: Definition({"tools": []}))
    turns_max: int = 0
    deadline_ms: int = 0
    """How long it may work, the time it waits for people not counted."""
    working_since: int = 0
    """When it was started or resumed, moved on by the time it has waited since."""
    waiting_since: int | None = None
    started_at: int = 0
    turn: int = 0
    """Turns begun: 1 from the first request on."""
    ask: int = 0
    """Requests sent in this turn."""
    asked: bool = False
    """A request was sent and neither its reply nor its failure is recorded."""
    failures: int = 0
    """Failed requests since the last reply."""
    failure: ClaudeFailed | None = None
    """The last failed request, until a reply comes."""
    stop_reason: str | None = None
    """Of the last reply, until the next request."""
    refusal: str | None = None
    text: str = ""
    """The text of the last reply."""
    fault: str | None = None
    """Why the last reply cannot be acted on, where it cannot."""
    messages: Trail[bytes] = field(default_factory=Trail)
    """The conversation as it is sent, one JSON text per message."""
    messages_seen: Mapping[int, bytes] = field(default_factory=dict)
    """Those that people may see in another form only, by their place."""
    calls: tuple[ToolCall, ...] = ()
    """The calls of this turn, in the order of their blocks."""
    past_calls: Trail[ToolCall] = field(default_factory=Trail)
    contradictions: tuple[Contradiction, ...] = ()
    """Where a function came back late and says something else than was settled."""
    output: str | None = None
    error: tuple[str, str] | None = None
    """Code and message, when the run failed."""
    resumable: bool = False
    cost_usd: Decimal = Decimal(0)
    cost_unknown: bool = False
    """True when at least one reply had no known price: then `cost_usd` is too low."""
    usage: Usage = field(default_factory=Usage)

    @property
    def over(self) -> bool:
        """Whether nothing of it will ever run again (a resumable failure may be resumed)."""
        return self.status in ("finished", "failed", "cancelled")

    @property
    def deadline_at(self) -> int:
        """When its time to work is over, in milliseconds since the epoch."""
        return self.working_since + self.deadline_ms

    @property
    def held(self) -> tuple[ToolCall, ...]:
        """The calls that wait for a reviewer."""
        return tuple(call for call in self.calls if call.status == "held")

    @property
    def in_doubt(self) -> tuple[ToolCall, ...]:
        """The calls that wait for somebody to say whether they happened."""
        return tuple(call for call in self.calls if call.status == "in doubt")

    @property
    def answered(self) -> tuple[ToolCall, ...]:
        """The calls of this turn whose results Claude was not sent yet, though all have one."""
        if self.calls or self.stop_reason != "tool_use":
            return ()
        return tuple(call for call in self.past_calls if call.turn == self.turn)

    @property
    def all_calls(self) -> tuple[ToolCall, ...]:
        """Every call of the run, oldest first."""
        return (*self.past_calls, *self.calls)

    def call(self, id: str) -> ToolCall | None:
        """The call with this id; this turn's are found without a search through the past."""
        current = next((call for call in self.calls if call.id == id), None)
        return current or next((call for call in self.past_calls if call.id == id), None)


def call_id(run: str, turn: int, index: int) -> str:
    """The id of the `index`-th call of a turn.

    It is counted, not taken from Claude's block, so that one and the same id from Claude in
    two turns still makes two calls. Simulated runs have simulated calls.
    """
    digest = hashlib.sha256(f"{run}/{turn}/{index}".encode()).hexdigest()[:16]
    return f"sim_c_{digest}" if run.startswith("sim_") else f"c_{digest}"


def moment(at: int) -> datetime:
    """A time of a record as an aware datetime."""
    return datetime.fromtimestamp(at / 1000, tz=UTC)
