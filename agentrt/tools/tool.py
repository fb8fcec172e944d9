"""One function, one purpose, one name a policy can speak about."""

import functools
import hashlib
import inspect
import math
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, Literal, get_args, overload

import rfc8785
from pydantic import JsonValue
from typing_extensions import ParamSpec, TypeVar

from agentrt.errors import ToolDefinitionError
from agentrt.privacy.keep import Keep
from agentrt.privacy.reducing import merged
from agentrt.tools.arguments import Completer
from agentrt.tools.call import Call
from agentrt.tools.execution import execute
from agentrt.tools.keeping import argument_fields, result_fields
from agentrt.tools.result import RESULT_BYTES_MAX
from agentrt.tools.schema import (
    Parameters,
    call_parameter,
    doc_of,
    parameters_of,
    refusal,
    source_of,
)

__all__ = ["NAME_PATTERN", "UNTRUSTED", "Effect", "Keep", "Tool", "names_field", "tool"]

Effect = Literal["read", "write", "irreversible"]
"""What a tool does to the world; the later, the stricter."""

NAME_PATTERN = re.compile(r"[a-zA-Z0-9_-]{1,128}")
"""The Messages API refuses other names."""

RESERVED_NAMES = frozenset({"code_execution", "web_fetch", "web_search"})
"""Names of tools that run on Anthropic's servers: a call by one of these is not ours."""

UNTRUSTED = "reads_untrusted"
"""The label of tools whose results hold what outsiders wrote."""

UNSAID = "?"
"""Among the untrusted fields of a tool that does not say which of its fields are facts."""

_FIELD_NAME = r"[^\s.\[\]!*]+(\[\])*"
_FIELD_PATTERN = re.compile(rf"\*|({_FIELD_NAME}|(\[\])+)(\.{_FIELD_NAME})*")
_LABEL_PATTERN = re.compile(r"[a-zA-Z0-9_-]+")
_DURATION_PATTERN = re.compile(r"([1-9][0-9]*)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

# Defaults let `Tool` alone mean a tool of any signature.
P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)


@dataclass(frozen=True, eq=False, repr=False)
class Tool(Generic[P, R]):
    """A function that Claude may call, with all a policy can know of it.

    Made by `@tool`. Calling it calls the function, unchecked and ungoverned, as in a test.
    """

    function: Callable[P, R]
    name: str
    description: str
    effect: Effect
    labels: frozenset[str]
    timeout_s: float
    idempotent_for: timedelta | None
    """How long the callee makes a repetition with the same `call.key` harmless."""
    check: Callable[..., Any] | None
    """Whether the effect of `call.key` happened: its result if so, None if not."""
    check_timeout_s: float
    """How long the `check` may take; then nobody knows."""
    preview: Callable[..., Any] | None
    """What would happen, for a reviewer to see; changes nothing."""
    keep: Mapping[str, Keep]
    """What its arguments leave behind, by path: from annotations and from `@tool(keep=...)`."""
    searchable: tuple[str, ...]
    """Arguments that auditors find calls by, as in `args.amount_cents:>5000`."""
    keep_result: Mapping[str, Keep]
    """The same of its result; `*` is all of it."""
    subjects: tuple[str, ...]
    """The arguments that name whom a call is about, by path."""
    untrusted: frozenset[str]
    """The fields of the result that outsiders write: `*` is all, `!id` says all but this, and
    `?` that the tool does not say, so that none of them is believed."""
    result_max_bytes: int
    settings: Mapping[str, JsonValue]
    """What the function was bound to when it was made: part of the digest."""
    source: str
    """`file:line`"""
    digest: str
    """Changes whenever the tool means or does something else: SHA-256, in hex."""
    parameters: Parameters

    def __post_init__(self) -> None:
        # What functools.update_wrapper does, which a frozen instance does not let it do.
        for attribute in functools.WRAPPER_ASSIGNMENTS:
            if hasattr(self.function, attribute):
                object.__setattr__(self, attribute, getattr(self.function, attribute))
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as it is."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Tool {self.name}, {self.effect}, {self.source}>"

    @property
    def input_schema(self) -> dict[str, JsonValue]:
        """The JSON Schema that Claude gets."""
        return self.parameters.schema

    @property
    def repeatable(self) -> bool:
        """Whether a call that was cut short may simply run again."""
        return self.effect == "read" or (self.effect == "write" and self.idempotent_for is not None)

    def complete(self, arguments: object) -> dict[str, JsonValue]:
        """Check Claude's input and fill in the defaults.

        What comes out is plain JSON and goes through unchanged a second time.
        Raises ArgumentsInvalid, in words meant for Claude.
        """
        return self._completer.complete(arguments)

    async def run(self, arguments: Mapping[str, JsonValue], call: Call) -> Any:
        """Run the function on completed arguments, once, without a time limit of its own.

        Raises what the function raises, as an `Exception` whatever it was, and
        ArgumentsInvalid when the arguments were not completed ones.
        """
        return await self._enter("function", arguments, call)

    async def run_check(self, arguments: Mapping[str, JsonValue], call: Call) -> Any:
        """Ask the world whether the effect of `call.key` happened: its result, or None."""
        return await self._enter("check", arguments, call)

    async def run_preview(self, arguments: Mapping[str, JsonValue], call: Call) -> Any:
        """What this call would do, for a reviewer to see."""
        return await self._enter("preview", arguments, call)

    async def _enter(self, part: str, arguments: Mapping[str, JsonValue], call: Call) -> Any:
        if not (entry := self._entries.get(part)):
            advice = f"Give it one: @tool({part}=...)"
            raise ToolDefinitionError(f"{self.name} ({self.source}) has no {part}. {advice}.")
        values = self._completer.python_values(arguments)
        return await execute(entry.function, entry.wanted(values, call))

    @cached_property
    def _entries(self) -> dict[str, "_Entry"]:
        parts = {"function": self.function, "check": self.check, "preview": self.preview}
        return {part: _Entry.of(function) for part, function in parts.items() if function}

    @cached_property
    def _completer(self) -> Completer:
        return Completer(self.name, self.parameters)


@dataclass(frozen=True)
class _Entry:
    """A function and the names it wants its values under."""

    function: Callable[..., Any]
    names: frozenset[str]
    call_name: str | None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "_Entry":
        names = frozenset(inspect.signature(function).parameters)
        return cls(function, names, call_parameter(function))

    def wanted(self, values: Mapping[str, object], call: Call) -> dict[str, object]:
        wanted = {name: value for name, value in values.items() if name in self.names}
        return wanted | ({self.call_name: call} if self.call_name else {})


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    effect: Effect = ...,
    name: str | None = ...,
    labels: Collection[str] = ...,
    timeout_s: float = ...,
    idempotent_for: timedelta | str | None = ...,
    check: Callable[..., Any] | None = ...,
    check_timeout_s: float = ...,
    preview: Callable[..., Any] | None = ...,
    keep: Mapping[str, Keep] | None = ...,
    searchable: Collection[str] = ...,
    keep_result: Mapping[str, Keep] | None = ...,
    subject: str | Collection[str] = ...,
    untrusted: Collection[str] = ...,
    facts: Collection[str] = ...,
    result_max_bytes: int = ...,
    settings: Mapping[str, JsonValue] | None = ...,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    effect: Effect = "irreversible",
    name: str | None = None,
    labels: Collection[str] = (),
    timeout_s: float = 60.0,
    idempotent_for: timedelta | str | None = None,
    check: Callable[..., Any] | None = None,
    check_timeout_s: float = 30.0,
    preview: Callable[..., Any] | None = None,
    keep: Mapping[str, Keep] | None = None,
    searchable: Collection[str] = (),
    keep_result: Mapping[str, Keep] | None = None,
    subject: str | Collection[str] = (),
    untrusted: Collection[str] = (),
    facts: Collection[str] = (),
    result_max_bytes: int = RESULT_BYTES_MAX,
    settings: Mapping[str, JsonValue] | None = None,
) -> Any:
    """Make a function a tool: `@tool`, or `@tool(effect="read", ...)`.

    A tool that does not say what it does to the world is irreversible. `untrusted` are the
    fields of its result that outsiders write, such as `messages[].body`; or `facts` those that
    they do not (`["*"]`: all of it), all others being untrusted. Of a tool that says neither, no
    field is believed to be a fact. `subject` names the arguments that say whom a call is about,
    such as `customer_id` or `customer.id`: what is recorded of it can be forgotten by them.
    Raises ToolDefinitionError, with file and line, when the function cannot become a tool.
    """

    def make(function: Callable[..., Any]) -> Tool:
        if not inspect.isfunction(function):
            raise refusal(function, "it is not a function", "Put @tool on a def or async def")
        return _make(
            function,
            effect=effect,
            name=function.__name__ if name is None else name,
            labels=_labels(function, labels, untrusted, facts),
            untrusted=_untrusted(function, labels, untrusted, facts),
            timeout_s=timeout_s,
            idempotent_for=_duration(function, idempotent_for),
            check=check,
            check_timeout_s=check_timeout_s,
            preview=preview,
            searchable=_searchable(function, searchable),
            keep=MappingProxyType(merged([argument_fields(function), keep or {}])),
            keep_result=MappingProxyType(merged([result_fields(function), keep_result or {}])),
            subjects=(subject,) if isinstance(subject, str) else tuple(subject),
            result_max_bytes=result_max_bytes,
            settings=MappingProxyType(dict(settings or {})),
        )

    return make if function is None else make(function)


def _make(function: Callable[..., Any], **options: Any) -> Tool:
    parameters = parameters_of(function)
    made = Tool(
        function=function,
        description=_description(function),
        source=source_of(function),
        digest="",
        parameters=parameters,
        **options,
    )
    for problem, advice in _option_problems(made):
        raise refusal(function, problem, advice)
    return replace(made, digest=_digest(made))


def _description(function: Callable[..., object]) -> str:
    doc = doc_of(function)
    return "\n\n".join(part for part in (doc.short_description, doc.long_description) if part)


def _labels(
    function: Callable[..., object],
    labels: Collection[str],
    untrusted: Collection[str],
    facts: Collection[str],
) -> frozenset[str]:
    if isinstance(labels, str):
        raise refusal(function, "labels is one text", f'Write labels=["{labels}"]')
    for label in labels:
        if not _LABEL_PATTERN.fullmatch(label):
            advice = "Use letters, digits, _ and -, so that a policy can say label:name"
            raise refusal(function, f"label {label!r} cannot be written in a policy", advice)
    outsiders_write = bool(untrusted) or (bool(facts) and "*" not in facts)
    return frozenset(labels) | ({UNTRUSTED} if outsiders_write else set())


def _searchable(function: Callable[..., object], paths: Collection[str]) -> tuple[str, ...]:
    if isinstance(paths, str):
        raise refusal(function, "searchable is one text", f'Write searchable=["{paths}"]')
    return tuple(sorted(set(paths)))


def _untrusted(
    function: Callable[..., object],
    labels: Collection[str],
    untrusted: Collection[str],
    facts: Collection[str],
) -> frozenset[str]:
    """The patterns of the fields that outsiders write."""
    if untrusted and facts:
        advice = "Say which fields are untrusted, or which are facts: the others are the other kind"
        raise refusal(function, "it has both untrusted= and facts=", advice)
    for said in (untrusted, facts):
        for field in (said,) if isinstance(said, str) else said:
            if isinstance(said, str) or not names_field(field):
                advice = 'Write fields of the result, as in ["body", "messages[].text"]'
                raise refusal(function, f"{field!r} is no field of a result", advice)
    if "*" in facts:
        return frozenset()
    if facts:
        return frozenset({"*", *(f"!{field}" for field in facts)})
    return frozenset(untrusted) or frozenset({"*" if UNTRUSTED in labels else UNSAID})


def names_field(pattern: str) -> bool:
    """Whether it says a field of a result, such as `messages[].body`; `*` is all of it."""
    return _FIELD_PATTERN.fullmatch(pattern) is not None


def _duration(function: Callable[..., object], stated: timedelta | str | None) -> timedelta | None:
    if not isinstance(stated, str):
        return stated
    if not (found := _DURATION_PATTERN.fullmatch(stated)):
        advice = 'Write a number and s, m, h or d, as in "24h"'
        raise refusal(function, f"idempotent_for={stated!r} is not a time", advice)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _option_problems(made: Tool) -> Iterator[tuple[str, str]]:
    yield from _name_problems(made.name)
    yield from _effect_problems(made)
    yield from _keep_problems(made)
    yield from _searchable_problems(made)
    yield from _limit_problems(made)
    yield from _function_problems(made.function)
    for option in ("check", "preview"):
        yield from _companion_problems(made, option, getattr(made, option))


def _name_problems(name: str) -> Iterator[tuple[str, str]]:
    if not NAME_PATTERN.fullmatch(name):
        yield f"its name {name!r} is not one the API takes", "Use up to 128 of a-z A-Z 0-9 _ -"
    if name in RESERVED_NAMES:
        yield f"the name {name} belongs to a tool on Anthropic's servers", "Choose another"


def _effect_problems(made: Tool) -> Iterator[tuple[str, str]]:
    if made.effect not in get_args(Effect):
        yield f"effect={made.effect!r} is not an effect", "Say read, write or irreversible"
    if made.idempotent_for is None:
        return
    if made.effect != "write":
        problem = f"idempotent_for says nothing of effect={made.effect!r}"
        yield problem, "Leave it out, or say write if repeating the call is harmless"
    if made.idempotent_for <= timedelta(0):
        yield "idempotent_for is not a time span", "Say how long a repetition is harmless"


def _keep_problems(made: Tool) -> Iterator[tuple[str, str]]:
    for name in made.keep:
        if not _begins_with_parameter(made, name):
            yield f"keep names `{name}`, which is no parameter", "Name one that Claude sets"
    for name in made.keep_result:
        if not names_field(name):
            yield f"keep_result names `{name}`, which is no field", "Write body or rows[].note"
    for name in made.subjects:
        if not _begins_with_parameter(made, name):
            yield f"subject names `{name}`, which is no parameter", "Name one that Claude sets"
    for name, keep in (*made.keep.items(), *made.keep_result.items()):
        if keep not in get_args(Keep):
            yield f"keep says {keep!r} of `{name}`", "Say log, hash or drop"


def _searchable_problems(made: Tool) -> Iterator[tuple[str, str]]:
    for path in made.searchable:
        name = path.split(".", 1)[0]
        if name not in made.parameters.names():
            yield f"searchable names `{path}`, which is no parameter", "Name one that Claude sets"
        if made.keep.get(name) == "drop":
            yield f"searchable names `{path}`, which keep drops", "Keep it, or do not search it"


def _begins_with_parameter(made: Tool, path: str) -> bool:
    return names_field(path) and re.split(r"[.\[]", path)[0] in (*made.parameters.names(), "*")


def _limit_problems(made: Tool) -> Iterator[tuple[str, str]]:
    if not (math.isfinite(made.timeout_s) and made.timeout_s > 0):
        yield f"timeout_s={made.timeout_s} is not a time", "Give seconds, more than 0"
    if not (math.isfinite(made.check_timeout_s) and made.check_timeout_s > 0):
        yield f"check_timeout_s={made.check_timeout_s} is not a time", "Give seconds, more than 0"
    if made.result_max_bytes < 1:
        yield f"result_max_bytes={made.result_max_bytes} leaves nothing", "Give 1 or more"


def _function_problems(function: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        yield "it yields, and a call has one result", "Return a list"


def _companion_problems(
    made: Tool, option: str, companion: Callable[..., Any] | None
) -> Iterator[tuple[str, str]]:
    if companion is None:
        return
    if not inspect.isfunction(companion):
        yield f"its {option} is not a function", f"Give a def or async def as {option}="
        return
    known = {*made.parameters.names(), call_parameter(companion)}
    for name in inspect.signature(companion).parameters:
        if name not in known:
            problem = f"its {option} {companion.__name__} takes `{name}`, which the tool does not"
            yield problem, "Take parameters of the tool by their names, and a Call if you need it"


def _digest(made: Tool) -> str:
    try:
        return hashlib.sha256(rfc8785.dumps(_meaning(made))).hexdigest()
    except (rfc8785.CanonicalizationError, ValueError) as error:
        problem = f"its schema or settings have no canonical form ({error})"
        raise refusal(made.function, problem, "Keep numbers within 2**53") from error


def _meaning(made: Tool) -> dict[str, Any]:
    window = made.idempotent_for
    functions = {"function": made.function, "check": made.check, "preview": made.preview}
    return {
        "name": made.name,
        "description": made.description,
        "input_schema": made.input_schema,
        "effect": made.effect,
        "labels": sorted(made.labels),
        **({} if UNSAID in made.untrusted else {"untrusted": sorted(made.untrusted)}),
        "idempotent_for_s": None if window is None else window.total_seconds(),
        "timeout_s": made.timeout_s,
        "settings": dict(made.settings),
        **{key: _text_of(function) for key, function in functions.items() if function},
    }


def _text_of(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        # Typed at a prompt, or executed from text: what it does is still in its code.
        return _code_text(inspect.unwrap(function).__code__)


def _code_text(code: types.CodeType) -> str:
    constants = [
        _code_text(constant) if isinstance(constant, types.CodeType) else repr(constant)
        for constant in code.co_consts
    ]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}"
