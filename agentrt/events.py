"""What can happen: each class one fact, past tense.

An event's plain fields form its *header*, which is hashed and kept for ever and so holds
opaque ids only. Fields marked `CONTENT` (prompts, names, arguments, results) are stored
apart, where they can be erased; the header carries a salted commitment to each. Fields
marked `SHARED` (an agent's definition, a policy's text) name no person and are stored once
under their hash.

A field of type `bytes` holds JSON text exactly as it was sent or received.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json, to_json

__all__ = [
    "CONTENT",
    "SHARED",
    "AnyEvent",
    "Approver",
    "Attempt",
    "BundleLoaded",
    "BundleRefused",
    "CallAbandoned",
    "CallApproved",
    "CallDecided",
    "CallDoubted",
    "CallExpired",
    "CallFinished",
    "CallRejected",
    "CallSettled",
    "CallStarted",
    "CheckpointSigned",
    "ClaudeAsked",
    "ClaudeFailed",
    "ClaudeReplied",
    "ContentForgotten",
    "ContentReduced",
    "ErasureResumed",
    "ErasureSuspended",
    "Event",
    "FactStated",
    "Record",
    "RuleRef",
    "RunCancelled",
    "RunFailed",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "Usage",
    "User",
    "event_types",
    "load_event",
]

FORMAT_VERSION = 1
"""The version of the event format; it is in every header. Old versions stay readable."""


@dataclass(frozen=True)
class Storage:
    """Where a field of an event is kept, when not in the header."""

    erasable: bool


CONTENT = Storage(erasable=True)
SHARED = Storage(erasable=False)

FORGOTTEN_TEXT = "[forgotten]"
"""Stands for text whose content was erased; `Record.forgotten` names the fields."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RuleRef(_Value):
    """A rule as it was when it decided: its id and the place of its text."""

    id: str
    file: str
    line: int


class User(_Value):
    """On whose behalf a run works, and how that was established."""

    name: str
    roles: tuple[str, ...] = ()
    verified: str = "stated"
    """How the name was verified: `stated` means the caller said so."""


class Usage(_Value):
    """Tokens of one request, as the API counts them.

    `input_tokens` is the uncached rest only; the whole prompt is the sum of the three.
    """

    input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    web_searches: int = 0
    service_tier: str | None = None
    speed: str | None = None


class Attempt(_Value):
    """One HTTP attempt of a request; the SDK may make several."""

    duration_ms: int
    status: int | None = None
    """None when no answer came."""
    request_id: str | None = None


class Approver(_Value):
    """Who may approve a held call, how many, how soon."""

    roles: tuple[str, ...] = ()
    quorum: int = 1
    severity: str = "high"
    expires_at: int | None = None
    """Milliseconds since the epoch."""
    four_eyes: bool = False
    reason_required: bool = False


class Event(BaseModel):
    """A fact about a run. Frozen; every subclass has a `type`, a noun and what befell it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    storage: ClassVar[Mapping[str, Storage]] = {}

    type: str
    cause: int | None = None
    """`seq` of the record this one follows from; None at the start of a chain."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.storage = {
            name: mark
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Storage)
        }

    def header(self) -> dict[str, Any]:
        """The plain fields that have a value, as JSON data; None and empty lists are defaults."""
        return {name: value for name, value in self._plain().items() if value != []}

    def parts(self) -> dict[str, bytes]:
        """The stored bytes of every marked field that has a value."""
        values = ((name, getattr(self, name)) for name in self.storage)
        return {
            name: value if isinstance(value, bytes) else to_json(value)
            for name, value in values
            if value is not None
        }

    @classmethod
    def load(cls, header: Mapping[str, Any], parts: Mapping[str, bytes | None]) -> Self:
        """The event back from its header fields and parts; a part that is None was erased."""
        content = {name: _read_part(cls, name, body) for name, body in parts.items()}
        return cls.model_validate({**header, **content})

    def seen(self, name: str) -> Any:
        """A field as people may see it: masked where its `shown` says so."""
        shown: bytes | None = getattr(self, "shown", None)
        forms = from_json(shown) if shown else None
        found = forms.get(name) if isinstance(forms, dict) else None
        if found is None:
            return getattr(self, name)
        return found if isinstance(found, str) else to_json(found)

    def data(self) -> dict[str, Any]:
        """All fields as JSON data, for people and programs to read: masked where that is said."""
        values = {name: self.seen(name) for name in self.storage if name != "shown"}
        readable = {
            name: from_json(value) if isinstance(value, bytes) else value
            for name, value in values.items()
            if value is not None
        }
        return {**self._plain(), **from_json(to_json(readable))}

    def _plain(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude=set(self.storage), exclude_none=True)


def _read_part(cls: type[Event], name: str, body: bytes | None) -> Any:
    if body is None:
        return _placeholder(cls, name)
    return body if bytes in _kinds(cls, name) else from_json(body)


@cache  # asked for every field of every record that is read
def _kinds(cls: type[Event], name: str) -> tuple[Any, ...]:
    annotation = cls.model_fields[name].annotation
    return get_args(annotation) or (annotation,)


def _placeholder(cls: type[Event], name: str) -> Any:
    """What an erased field reads as: it never passes for a real value, see `Record.forgotten`."""
    kinds = _kinds(cls, name)
    if type(None) in kinds:
        return None
    return to_json({"forgotten": True}) if bytes in kinds else FORGOTTEN_TEXT


class RunStarted(Event):
    """A prompt was accepted: who asks what of which agent, under which policy."""

    type: Literal["run.started"] = "run.started"
    agent: str
    model: str
    bundle: str
    environment: str
    service: str
    """The runtime's own identity: program and process."""
    simulated: bool
    turns_max: int
    deadline_ms: int
    """How long the run may work; the time it waits for people does not count."""
    user_ref: str | None = None
    """A keyed hash of the user's name."""
    parent: str | None = None
    """The run that this one follows."""
    parent_head: str | None = None
    """Hash of the parent's record that it follows: what it builds on cannot be exchanged."""
    subjects: tuple[str, ...] = ()
    """Keyed hashes of whom the runs that it follows were about."""
    zero_retention: bool | None = None
    """Whether its content is erased when it is over."""
    definition: Annotated[bytes, SHARED]
    """The agent as it was: instructions, model, settings, tools with schemas and digests."""
    prompt: Annotated[str, CONTENT]
    shown: Annotated[bytes | None, CONTENT] = None
    """Fields that are shown in another form than they are sent to Claude in, by name."""
    user: Annotated[User | None, CONTENT] = None
    history: Annotated[bytes | None, CONTENT] = None
    """The parent's conversation as a JSON list of messages, byte for byte as it was sent: a run
    holds all that it needs, and no fold reads another's records."""


class RunFinished(Event):
    """Claude said its last word."""

    type: Literal["run.finished"] = "run.finished"
    stop_reason: str
    masked: dict[str, int] | None = None
    """How often each rule found a secret in the output, and masked it."""
    output: Annotated[str, CONTENT]


class RunFailed(Event):
    """The run could not go on; nothing of it runs any more."""

    type: Literal["run.failed"] = "run.failed"
    code: str
    resumable: bool = False
    """True when the cause lies outside the run (an outage) and `agentrt runs resume` may go on."""
    masked: dict[str, int] | None = None
    message: Annotated[str, CONTENT]


class RunCancelled(Event):
    """A person or a program stopped the run; calls that had not started never will."""

    type: Literal["run.cancelled"] = "run.cancelled"
    by_ref: str
    by: Annotated[str, CONTENT]
    reason: Annotated[str, CONTENT]


class RunResumed(Event):
    """A failed run was told to go on where it stood."""

    type: Literal["run.resumed"] = "run.resumed"
    by_ref: str
    by: Annotated[str, CONTENT]


class FactStated(Event):
    """Somebody told the run a fact that its policy asks for."""

    type: Literal["fact.stated"] = "fact.stated"
    name: str
    by_ref: str
    by: Annotated[str, CONTENT]
    value: Annotated[bytes, CONTENT]


class ClaudeAsked(Event):
    """A request is about to be sent. Without a reply after it, it counts as sent and spent."""

    type: Literal["claude.asked"] = "claude.asked"
    turn: int
    ask: int
    """1 for the first request of the turn, 2 when it had to be asked again, ..."""
    model: str
    messages: int
    tokens_max: int
    request_digest: str
    """SHA-256 of the exact request body."""


class ClaudeReplied(Event):
    """A complete reply came: `message_stop` was seen and there is a stop reason."""

    type: Literal["claude.replied"] = "claude.replied"
    turn: int
    message_id: str
    request_id: str | None = None
    model: str
    stop_reason: str
    refusal: str | None = None
    """The category of a refusal, where the API gave one."""
    usage: Usage
    cost_usd: Annotated[str | None, Field(pattern=r"^[0-9]+(\.[0-9]+)?$")] = None
    """Decimal dollars at the prices of that moment; None is unknown, never zero."""
    rates: dict[str, str] | None = None
    """The rate card that `cost_usd` was counted with, dollars per million tokens."""
    latency_ms: int
    first_token_ms: int | None = None
    attempts: tuple[Attempt, ...] = ()
    blocks: Annotated[bytes, CONTENT]
    """The content blocks exactly as the API sent them."""
    shown: Annotated[bytes | None, CONTENT] = None
    """`blocks` as they are shown, where they hold what must not be read; when the run is over
    they are stored so too."""


class ClaudeFailed(Event):
    """No complete reply came."""

    type: Literal["claude.failed"] = "claude.failed"
    turn: int
    kind: str
    status: int | None = None
    request_id: str | None = None
    again: bool
    """Whether asking again at once may help."""
    outage: bool
    """Whether the cause lies outside the run, which can then be resumed later."""
    latency_ms: int
    attempts: tuple[Attempt, ...] = ()
    masked: dict[str, int] | None = None
    message: Annotated[str, CONTENT]


class CallDecided(Event):
    """Policy decided a call. Each revision of a call has one; the last one holds."""

    type: Literal["call.decided"] = "call.decided"
    call: str
    revision: int
    tool: str
    verdict: Literal["allow", "hold", "deny"]
    basis: str
    """What decided: `rules`, `default`, `unknown_tool`, `tool_gone`, `invalid_arguments`, or
    `second_attempt` for an irreversible call that was started before."""
    rules: tuple[RuleRef, ...] = ()
    """The rules that matched."""
    considered: tuple[RuleRef, ...] = ()
    """The rules that cover the tool and did not match."""
    shadow: tuple[RuleRef, ...] = ()
    """The rules in `mode: shadow` that would have matched; they decide nothing."""
    failed: tuple[str, ...] = ()
    """The ids of rules that could not be evaluated: a deny or hold among them matched."""
    rules_digest: str
    """SHA-256 of the canonical text of the deciding rules, without comments and places."""
    bundle: str
    effect: str
    labels: tuple[str, ...] = ()
    untrusted: tuple[str, ...] = ()
    """The fields of the result that outsiders write, such as `messages[].body`; `*` is all,
    `!id` all but this, and `?` says that the tool does not tell."""
    repeatable: bool
    """Whether a second attempt with the same key is harmless by the tool's own word."""
    tool_digest: str
    arguments_digest: str
    approver: Approver | None = None
    approvals: tuple[int, ...] = ()
    """`seq` of earlier approvals that speak of just this and so still count."""
    awaiting: tuple[str, ...] = ()
    """Facts that were not known yet: once one is, the call is decided again."""
    until: int | None = None
    """Till when it waits for them before a person is asked, in milliseconds since the epoch."""
    changed: tuple[str, ...] = ()
    """The arguments that rules set; what they were before is in `asked`."""
    editor_ref: str | None = None
    """Set when a reviewer changed the arguments: this revision runs what the reviewer wrote."""
    group: str | None = None
    """The same for the calls of a turn that belong together; one decision may cover them."""
    subjects: tuple[str, ...] = ()
    """Keyed hashes of whom the call is about, by the arguments that its tool names."""
    masked: dict[str, int] | None = None
    """How often each rule found a secret in the arguments, the reason or the preview."""
    arguments: Annotated[bytes, CONTENT]
    """The completed arguments as RFC 8785 JSON; `arguments_digest` is their SHA-256."""
    reason: Annotated[str, CONTENT]
    facts: Annotated[bytes | None, CONTENT] = None
    """What the rules read: `values` by expression, `limits`, `errors` and `waits` by rule, and
    `found`, which says where a value was found."""
    asked: Annotated[bytes | None, CONTENT] = None
    """The completed arguments before rules set some of them."""
    preview: Annotated[str | None, CONTENT] = None
    """What the tool's `preview` said the call will do."""
    editor: Annotated[str | None, CONTENT] = None
    shown: Annotated[bytes | None, CONTENT] = None
    """`arguments`, `asked` and `facts` as they are shown, where that is another form."""


class _Verdict(Event):
    call: str
    revision: int
    reviewer_ref: str
    key: str
    """Fingerprint of the key that signed."""
    statement_digest: str
    by: Annotated[str, CONTENT]
    reason: Annotated[str, CONTENT]
    statement: Annotated[bytes, CONTENT]
    """The exact bytes that were signed."""
    signature: Annotated[str, CONTENT]
    """SSHSIG armour over `statement`."""


class CallApproved(_Verdict):
    """A reviewer said yes to exactly these arguments."""

    type: Literal["call.approved"] = "call.approved"


class CallRejected(_Verdict):
    """A reviewer said no, with a reason that Claude is told."""

    type: Literal["call.rejected"] = "call.rejected"


class CallExpired(Event):
    """Nobody decided in time: the call counts as rejected."""

    type: Literal["call.expired"] = "call.expired"
    call: str
    revision: int


class CallStarted(Event):
    """The tool's function is about to be entered; durable before it is."""

    type: Literal["call.started"] = "call.started"
    call: str
    revision: int
    attempt: int
    key: str
    """The idempotency key, the same for every attempt."""
    process: str
    deadline_at: int
    arguments_digest: str
    tool_digest: str
    bundle: str
    approvals: tuple[int, ...] = ()
    """`seq` of the approvals that this attempt uses up."""


class CallFinished(Event):
    """The function returned or refused; its outcome is known."""

    type: Literal["call.finished"] = "call.finished"
    call: str
    attempt: int
    outcome: Literal["ok", "error"]
    duration_ms: int
    cut_bytes: int = 0
    """How much of the result was left out because it was too large."""
    masked: dict[str, int] | None = None
    """How often each rule found a secret in the result, and masked it."""
    result: Annotated[str, CONTENT]
    """What Claude is given."""


class CallDoubted(Event):
    """The call was started and nobody can know whether it happened."""

    type: Literal["call.doubted"] = "call.doubted"
    call: str
    attempt: int
    returned: bool | None = None
    """True when its function had come back: then nothing of the attempt runs any more."""
    checked: Literal["nothing_yet", "failed", "timed_out"] | None = None
    """What the tool's `check` came to: it found nothing while the attempt may still run, it broke
    off, or it took too long. None when the tool has none, or when it settled the doubt."""
    refused: int | None = None
    """`seq` of a settlement that no reviewer signed, or not this: it does not count."""
    reason: Annotated[str, CONTENT]
    check_said: Annotated[str | None, CONTENT] = None
    """What went wrong with the `check`, for the person who settles."""


class CallAbandoned(Event):
    """The function of this attempt was not entered and never will be.

    Only the process that started the attempt can know that, and it alone says so.
    """

    type: Literal["call.abandoned"] = "call.abandoned"
    call: str
    attempt: int
    why: Literal["not_carried", "too_late"]
    """Another carries the run, or it is over; or more time had passed since the start was recorded
    than a lease allows."""


class CallSettled(Event):
    """A doubt was resolved: by the tool's `check`, or by a person who looked."""

    type: Literal["call.settled"] = "call.settled"
    call: str
    attempt: int
    happened: bool
    method: Literal["check", "person"]
    reviewer_ref: str | None = None
    key: str | None = None
    statement_digest: str | None = None
    masked: dict[str, int] | None = None
    by: Annotated[str | None, CONTENT] = None
    reason: Annotated[str, CONTENT]
    result: Annotated[str | None, CONTENT] = None
    statement: Annotated[bytes | None, CONTENT] = None
    signature: Annotated[str | None, CONTENT] = None


class BundleLoaded(Event):
    """A runtime began to decide by this policy; in the store's own chain."""

    type: Literal["bundle.loaded"] = "bundle.loaded"
    bundle: str
    service: str
    files: Annotated[bytes, SHARED]
    """The text of every file of the bundle, reviewers included, by name."""


class BundleRefused(Event):
    """A changed policy could not be loaded, and the one before stayed; in the store's own chain."""

    type: Literal["bundle.refused"] = "bundle.refused"
    bundle: str
    """The policy that stayed."""
    service: str
    problems: Annotated[bytes, SHARED]
    """What is wrong with the other, as a list of texts."""


class CheckpointSigned(Event):
    """A key put the heads of all runs under its signature; in the store's own chain.

    Not each checkpoint is recorded here, only the first by a key, those that were asked for, and
    one an hour: they grow out of one another, and that can be proven.
    """

    type: Literal["checkpoint.signed"] = "checkpoint.signed"
    origin: str
    size: int
    """How many heads the tree has."""
    root: str
    """The tree's root hash."""
    key: str
    """Fingerprint of the key that signed."""


class ContentReduced(Event):
    """A run came to its end: what was stored as Claude wrote it is stored as it is shown."""

    type: Literal["content.reduced"] = "content.reduced"
    replaced: dict[str, str]
    """The commitment to what is there now, by place: `seq/field`."""
    erased: tuple[str, ...] = ()
    """Places of which nothing is left."""


class ContentForgotten(Event):
    """Content was erased. In the store's own chain it sums up what was done in all runs."""

    type: Literal["content.forgotten"] = "content.forgotten"
    request: str
    """The same for all that was erased together."""
    ground: Literal["request", "retention", "zero_retention"]
    erased: tuple[str, ...] = ()
    """The places: `seq/field`."""
    kinds: dict[str, int]
    """How many fields of each kind of content were erased."""
    runs: int | None = None
    """In the store's own chain: in how many runs."""
    by_ref: str
    by: Annotated[str, CONTENT]
    reason: Annotated[str, CONTENT]


class ErasureSuspended(Event):
    """Nothing of a run, or of a subject, is erased until it is released; in the store's chain."""

    type: Literal["erasure.suspended"] = "erasure.suspended"
    hold: str
    run_held: str | None = None
    subject_ref: str | None = None
    by_ref: str
    by: Annotated[str, CONTENT]
    reason: Annotated[str, CONTENT]


class ErasureResumed(Event):
    """A hold is over; in the store's own chain."""

    type: Literal["erasure.resumed"] = "erasure.resumed"
    hold: str
    by_ref: str
    by: Annotated[str, CONTENT]
    reason: Annotated[str, CONTENT]


AnyEvent = (
    RunStarted
    | RunFinished
    | RunFailed
    | RunCancelled
    | RunResumed
    | FactStated
    | ClaudeAsked
    | ClaudeReplied
    | ClaudeFailed
    | CallDecided
    | CallApproved
    | CallRejected
    | CallExpired
    | CallStarted
    | CallFinished
    | CallDoubted
    | CallAbandoned
    | CallSettled
    | ContentReduced
    | ContentForgotten
    | ErasureSuspended
    | ErasureResumed
    | BundleLoaded
    | BundleRefused
    | CheckpointSigned
)
"""The closed union: whoever matches on it and forgets one does not type-check."""

_CLASSES: dict[str, Any] = {
    get_args(cls.model_fields["type"].annotation)[0]: cls for cls in get_args(AnyEvent)
}


def event_types() -> Mapping[str, type[Event]]:
    """Every event by its `type`."""
    return dict(_CLASSES)


def load_event(header: Mapping[str, Any], parts: Mapping[str, bytes | None]) -> AnyEvent:
    """The event of a stored header and its parts. Raises KeyError for an unknown type."""
    event: AnyEvent = _CLASSES[header["type"]].load(header, parts)
    return event


@dataclass(frozen=True, slots=True)
class Record:
    """An event as stored: where it stands in its run, when it was written, and its hash."""

    run: str
    seq: int
    """1 for the first event of a run."""
    at: int
    """Milliseconds since the epoch; never goes back within a run."""
    event: AnyEvent
    header: bytes
    """The exact bytes that are hashed."""
    hash: bytes
    """SHA-256(0x00 || header), so that it is an RFC 6962 leaf hash; the next record names it."""
    forgotten: frozenset[str] = frozenset()
    """Fields of the event whose content was erased."""
