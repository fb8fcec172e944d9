"""Idle rules: those that decide nothing on any tool, since others cover them on each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from agentrt.policy.rules import Rule, is_name
from agentrt.policy.study.coverage import can_cover, covers
from agentrt.policy.study.findings import Finding, some
from agentrt.policy.study.meanings import Meaning
from agentrt.policy.study.terms import Term
from agentrt.policy.study.values import Few

__all__ = ["Covering", "idle"]

_Key = tuple[Term, Any] | str | None
"""A term, with a value or with None; a whole condition; None for a rule without one."""
_DOES = {"deny": "denies", "hold": "holds", "allow": "allows"}


class Covering:
    """The rules on one tool that could cover others, found without a look at all of them."""

    def __init__(self, meanings: Iterable[Meaning]) -> None:
        self._by_key: dict[_Key, list[Meaning]] = {}
        for meaning in meanings:
            if can_cover(meaning.rule):
                for key in dict.fromkeys(_keys(meaning)):
                    self._by_key.setdefault(key, []).append(meaning)

    def of(self, meaning: Meaning) -> Meaning | None:
        """A rule that covers this one."""
        for other in self._near(meaning):
            if covers(other, meaning) and not _is_kept(meaning, beside=other):
                return other
        return None

    def _near(self, meaning: Meaning) -> Iterator[Meaning]:
        """All that can cover it: they need nothing, or the same, or a term of its first way."""
        for key in dict.fromkeys((None, meaning.rule.when)):
            yield from self._by_key.get(key, ())
        for term, values in meaning.open_ways[0].values.items():
            yield from self._by_key.get((term, None), ())
            if isinstance(values, Few) and values.values:
                yield from self._by_key.get((term, next(iter(values.values))), ())


def _keys(meaning: Meaning) -> Iterator[_Key]:
    """Under what it is found: its text, and for each way a term, with values if they are few."""
    yield meaning.rule.when
    for atoms in meaning.needs:
        listed = ((atom.term, atom.values) for atom in atoms if isinstance(atom.values, Few))
        if found := next(listed, None):
            term, few = found
            yield from ((term, value) for value in few.values)
        else:
            yield (atoms[0].term, None) if atoms else None


def _is_kept(meaning: Meaning, *, beside: Meaning) -> bool:
    """Whether, of two that cover each other, this one comes first."""
    one, other = meaning.rule, beside.rule
    return (one.file, one.line) < (other.file, other.line) and covers(meaning, beside)


def idle(
    meanings: Sequence[Meaning],
    covering: Mapping[str, Covering],
    places: Mapping[str, str],
) -> Iterator[Finding]:
    """A rule that never decides anything. `places` say where rules are, by id.

    A rule on an effect, a label or a glob is one only if rules that cover it are on the same: it
    may speak of tools to come that they do not speak of.
    """
    found: dict[str, Meaning] = {}
    for meaning in meanings:
        if meaning.rule.mode == "shadow" or not meaning.open_ways:
            return
        cover = covering[meaning.tool.name].of(meaning)
        if cover is None:
            return
        found[meaning.tool.name] = cover
    if not _covers_tools_to_come([cover.rule for cover in found.values()], meanings[0].rule):
        return
    # A warning: a strict rule that is put beside the others in an emergency makes them idle, and
    # must take effect all the same.
    yield Finding(_told(meanings[0], found, places), level="warning")


def _covers_tools_to_come(covers: Iterable[Rule], rule: Rule) -> bool:
    kinds = {selector for cover in covers for selector in cover.tools}
    return "*" in kinds or all(is_name(kind) or kind in kinds for kind in rule.tools)


# --- how it is said ----------------------------------------------------------------------


def _told(meaning: Meaning, found: Mapping[str, Meaning], places: Mapping[str, str]) -> str:
    rule = meaning.rule
    tools: dict[str, list[str]] = {}
    for tool, covering in found.items():
        tools.setdefault(covering.rule.id, []).append(tool)
    covers = {covering.rule.id: covering.rule for covering in found.values()}
    if len(covers) > 1:
        of_tools = [f"{_does(covers[one], rule, places)} ({some(tools[one])})" for one in covers]
        return f"{_head(rule, covers.values())}: {some(of_tools, between=', ')}"
    (cover,) = covers.values()
    if _says(cover) == _says(rule):
        return f"this rule says the same as {_named(cover, places)}: keep one of them"
    return f"{_head(rule, [cover])}: {_does(cover, rule, places)}"


def _head(rule: Rule, covers: Iterable[Rule]) -> str:
    if rule.decide == "allow" and all(cover.decide != "allow" for cover in covers):
        return "this rule never lets a call run"
    return "this rule decides nothing"


def _does(cover: Rule, rule: Rule, places: Mapping[str, str]) -> str:
    said = f"{_named(cover, places)} {_DOES[cover.decide]} every call that it speaks of"
    is_another_hold = cover.decide == rule.decide == "hold"
    return f"{said}, and asks for as much" if is_another_hold else said


def _named(rule: Rule, places: Mapping[str, str]) -> str:
    return f"{rule.id!r} ({places[rule.id]})"


def _says(rule: Rule) -> dict[str, Any]:
    """What the rule says, whatever it is called and why it is there."""
    unlike = ("id", "why", "defer_s")
    return {key: value for key, value in rule.meaning().items() if key not in unlike}
