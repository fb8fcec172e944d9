"""What can never be, and what always is: parts of a condition that no value can change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import combinations

from agentrt.policy.cel import written
from agentrt.policy.rules import is_name
from agentrt.policy.study.atoms import Atom
from agentrt.policy.study.findings import Finding, some
from agentrt.policy.study.meanings import Meaning
from agentrt.policy.study.terms import Term
from agentrt.policy.study.values import ANYTHING, Values, both, nothing
from agentrt.policy.study.ways import Way

__all__ = ["impossible", "settled"]


def impossible(meanings: Sequence[Meaning]) -> Iterator[Finding]:
    """A condition that no call of any tool that the rule covers can meet.

    Certain for every way to meet it: bounds and sets of one term exclude each other, or the
    domain of the term. A rule that some of its tools can meet is none of this, nor is one on
    kinds of tools that asks for another tool than there is yet.
    """
    if any(meaning.condition.can_be_met or _is_of_others(meaning) for meaning in meanings):
        return
    by_tool = {meaning.tool.name: tuple(_conflicts(meaning)) for meaning in meanings}
    if len(set(by_tool.values())) == 1:
        yield from next(iter(by_tool.values()))
    else:
        said = dict.fromkeys(found.message for each in by_tool.values() for found in each)
        message = f"no tool can meet this: {some([*said], between='; ')}"
        yield Finding(message, ("when",))


def _is_of_others(meaning: Meaning) -> bool:
    """Whether a rule on an effect, a label or a glob could speak of another tool than this one."""
    by_kind = not any(map(is_name, meaning.rule.tools))
    return by_kind and any(map(_asks_for_another, meaning.condition.ways))


def _asks_for_another(way: Way) -> bool:
    return all(
        term.domain.of_tool and not nothing(_common(_atoms_of(way, term), ANYTHING))
        for term in _conflicting(way)
    )


def _conflicts(meaning: Meaning) -> Iterator[Finding]:
    found = [_conflict(way) for way in meaning.condition.ways]
    yield from dict.fromkeys(found)


def _conflict(way: Way) -> Finding:
    """The fewest atoms of the way that cannot be met together."""
    term = _conflicting(way)[0]
    atoms = _atoms_of(way, term)
    candidates = (some for size in (1, 2) for some in combinations(atoms, size))
    least = next((each for each in candidates if nothing(_common(each, term.domain.values))), atoms)
    excluding = nothing(_common(least, ANYTHING)) and len(least) > 1
    reason = "they exclude each other" if excluding else term.domain.said
    text = " && ".join(dict.fromkeys(map(str, least)))
    return _finding(least, f"{text} can never be{f': {reason}' if reason else ''}")


def _conflicting(way: Way) -> list[Term]:
    """The terms that have no value left."""
    return [term for term, values in way.values.items() if nothing(values)]


def _atoms_of(way: Way, term: Term) -> list[Atom]:
    return [atom for atom in way.atoms if atom.term == term]


def _common(atoms: Sequence[Atom], values: Values) -> Values:
    return reduce(both, (atom.values for atom in atoms), values)


def _finding(atoms: Sequence[Atom], message: str) -> Finding:
    return Finding(message, ("when",), min(atom.expr.start for atom in atoms))


def settled(meanings: Sequence[Meaning]) -> Iterator[Finding]:
    """Parts of a condition that the tools' schemas make true, or false, for every call."""
    each = [_settled_parts(meaning) for meaning in meanings]
    for place, message in each[0].items():
        others = [parts.get(place, "") for parts in each[1:]]
        said = message.partition(": ")[0]
        if all(other.partition(": ")[0] == said for other in others):
            shown = message if all(other == message for other in others) else said
            yield Finding(shown, ("when",), place, "warning")


def _settled_parts(meaning: Meaning) -> Mapping[int, str]:
    """What to say of each such part, by its place in the text."""
    found = {}
    for atom in meaning.condition.atoms:
        outcome = _outcome(atom)
        if outcome is not None and not atom.term.domain.of_tool:
            said = "is always true" if outcome else "can never be"
            reason = atom.term.domain.said
            message = f"{written(atom.expr)} {said}{f': {reason}' if reason else ''}"
            found[atom.expr.start] = message
    return found


def _outcome(atom: Atom) -> bool | None:
    """What the part as it is written always comes to."""
    if atom.is_never_met:
        return not atom.positive
    return atom.positive if atom.is_always_met else None
