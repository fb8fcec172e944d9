"""What of a run may be written down, sent back to Claude, and shown: secrets never are.

Results and errors are masked before anything is written. What Claude wrote has to be sent back
to it as it came, so that stays as it is while the run lives, and has a form beside it in which
it is shown; when the run is over, that form takes its place.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json, to_json

from agentrt.events import CallDecided, ClaudeReplied, RunStarted
from agentrt.policy.privacy_file import PrivacyRules
from agentrt.privacy.keep import Keep
from agentrt.privacy.masking import Counts, Mask, Secrets, counted
from agentrt.privacy.reducing import Hash, hashed_with, keyed, reduced
from agentrt.run import Run, ToolCall

__all__ = ["Keeping", "Left"]

CHARACTERS_MIN = 4
"""A value of a hashed or dropped field is looked for in other texts from this length on."""

Subjects = Callable[[str], str]
"""What stands for a subject in headers."""


class Left:
    """What is left of the result of one call, and how often something was masked in it."""

    def __init__(self, mask: Mask, fields: Mapping[str, Keep], mark: Hash, own: Mapping[str, str]):
        self._mask = mask
        self._fields = fields
        self._mark = mark
        self._own = own
        self._counts = Counts()

    @property
    def masked(self) -> dict[str, int] | None:
        """How often each rule masked something so far; None when none did."""
        return counted(self._counts)

    def value(self, value: Any) -> Any:
        """A result as it may be written, and sent to Claude."""
        value = reduced(value, self._fields, self._mark)
        if self._own:
            value = _replaced(value, self._own)
        return self._mask.value(value, self._counts)

    def text(self, text: str) -> str:
        """An error's text, or a preview."""
        return self._mask.text(_without(text, self._own), self._counts)


class Keeping:
    """Masks, hashes and drops by the policy that holds. Holds no text of any run."""

    def __init__(
        self,
        rules: Callable[[], PrivacyRules],
        *,
        key: bytes,
        ref: Subjects,
        known: Callable[[], Secrets] = Secrets,
    ) -> None:
        """`key` is that of hashed values; `known` are secrets that are known by their value."""
        self._rules = rules
        self._mark = hashed_with(key)
        self._ref = ref
        self._known = known
        self._masks: dict[tuple[frozenset[str], tuple[str, ...]], Mask] = {}

    @classmethod
    def plain(cls) -> Keeping:
        """One that knows no rules and no values: what looks like a secret is masked all the same.

        Hashes are under a key of its own, so equal values are found within this process only.
        """
        key = secrets.token_bytes(32)
        return cls(PrivacyRules, key=key, ref=lambda name: keyed(key, name))

    @property
    def mask(self) -> Mask:
        """Masks secrets in any text."""
        known, optional = self._known(), self._rules().mask
        key = known.values, optional
        if key not in self._masks:
            self._masks[key] = Mask(known, optional=optional)
        return self._masks[key]

    def text(self, text: str) -> tuple[str, dict[str, int] | None]:
        """A text of ours, such as a failure's message, and what was masked in it."""
        counts = Counts()
        return self.mask.text(text, counts), counted(counts)

    def started(self, event: RunStarted) -> RunStarted:
        """With the form in which the prompt is shown, and whether anything stays of the run."""
        shown = {"prompt": self.mask.text(event.prompt)}
        nothing = self._rules().keeps_nothing(agent=event.agent, environment=event.environment)
        return event.model_copy(
            update={
                "zero_retention": nothing or None,
                "shown": to_json(shown) if shown["prompt"] != event.prompt else None,
            }
        )

    def replied(self, run: Run, event: ClaudeReplied, tools: Mapping[str, Any]) -> ClaudeReplied:
        """With the form in which the reply is shown, where it holds what must not be read."""
        blocks = from_json(event.blocks)
        seen = [self._block(run, block, tools) for block in blocks]
        own = _own_of(run)
        for block, form in zip(blocks, seen, strict=True):
            own |= _differences(block.get("input"), form.get("input"))
        if own:
            seen = [_replaced(block, own) for block in seen]
        if seen == blocks:
            return event
        return event.model_copy(update={"shown": to_json({"blocks": seen})})

    def decided(self, run: Run, event: CallDecided, tool: Any | None) -> CallDecided:
        """With what the call is about, and the form in which its arguments are shown."""
        counts = Counts()
        given = {
            name: from_json(value)
            for name in ("arguments", "asked", "facts")
            if (value := getattr(event, name)) is not None
        }
        fields = self._argument_fields(run, tool)
        shown = {
            name: self.mask.value(reduced(value, fields if name != "facts" else {}, self._mark), c)
            for name, value in given.items()
            for c in (counts if name == "arguments" else None,)
        }
        own = _own_of(run) | _differences(given["arguments"], shown["arguments"])
        shown = {name: _replaced(value, own) for name, value in shown.items()}
        differ = {name: value for name, value in shown.items() if value != given[name]}
        preview = event.preview
        return event.model_copy(
            update={
                "subjects": tuple(
                    dict.fromkeys(self._ref(one) for one in subjects_in(tool, given["arguments"]))
                ),
                "reason": self.mask.text(_without(event.reason, own), counts),
                "preview": preview and self.mask.text(_without(preview, own), counts),
                "shown": to_json(differ) if differ else None,
                "masked": counted(counts),
            }
        )

    def left(self, run: Run, call: ToolCall, tool: Any) -> Left:
        """What may be left of the result of a call."""
        rules = self._rules()
        fields = rules.result(tool, agent=run.agent, environment=run.environment)
        return Left(self.mask, fields, self._mark, _own_of(run))

    def _argument_fields(self, run: Run, tool: Any | None) -> Mapping[str, Keep]:
        if tool is None:
            return {}
        return self._rules().arguments(tool, agent=run.agent, environment=run.environment)

    def _block(self, run: Run, block: Any, tools: Mapping[str, Any]) -> Any:
        if block.get("type") != "tool_use":
            return self.mask.value(block)
        fields = self._argument_fields(run, tools.get(block.get("name", "")))
        given = reduced(block.get("input"), fields, self._mark)
        return {**block, "input": self.mask.value(given)}


def subjects_in(tool: Any | None, arguments: Any) -> Iterator[str]:
    """Whom a call is about: the values that its tool says name them."""
    for path in getattr(tool, "subjects", ()):
        for value in at_path(arguments, path):
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                yield str(value)


def at_path(value: Any, path: str) -> Iterator[Any]:
    """The values at a path such as `customer.id` or `rows[].id`."""
    found = [value]
    for step in path.replace("[]", ".[]").removeprefix(".").split("."):
        if step == "[]":
            found = [item for each in found if isinstance(each, list) for item in each]
        else:
            found = [each[step] for each in found if isinstance(each, dict) and step in each]
    for each in found:
        yield from each if isinstance(each, list) else [each]


def _own_of(run: Run) -> dict[str, str]:
    """What Claude wrote in this run that must not be read, and what stands for it."""
    if not run.reducible:
        return {}
    found: dict[str, str] = {}
    for call in run.all_calls:
        if call.shown is not None:
            found |= _differences(from_json(call.arguments), from_json(call.seen_arguments))
    return found


def _differences(given: Any, shown: Any) -> dict[str, str]:
    """The texts that are shown in another form, the longest first."""
    pairs = dict(_pairs(given, shown))
    return dict(sorted(pairs.items(), key=lambda pair: -len(pair[0])))


def _pairs(given: Any, shown: Any) -> Iterator[tuple[str, str]]:
    if isinstance(given, dict) and isinstance(shown, dict) and len(given) == len(shown):
        for one, other in zip(given.values(), shown.values(), strict=True):
            yield from _pairs(one, other)
    elif isinstance(given, list) and isinstance(shown, list):
        for one, other in zip(given, shown, strict=True):
            yield from _pairs(one, other)
    elif isinstance(shown, str) and given != shown:
        yield from ((text, shown) for text in _texts(given) if len(text) >= CHARACTERS_MIN)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case bool() | None:
            return
        case str() | int() | float():
            yield str(value)
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            for item in value.values():
                yield from _texts(item)


def _without(text: str, own: Mapping[str, str]) -> str:
    for value, mark in own.items():
        text = text.replace(value, mark)
    return text


def _replaced(value: Any, own: Mapping[str, str]) -> Any:
    """JSON data in which the values of hashed and dropped fields stand nowhere else either."""
    match value:
        case str():
            return _without(value, own)
        case bool() | None:
            return value
        case int() | float():
            return own.get(str(value), value)
        case list():
            return [_replaced(item, own) for item in value]
        case dict():
            return {key: _replaced(item, own) for key, item in value.items()}
        case _:
            return value
