"""Coverage: when a rule decides nothing on a tool because another decides all that it does.

Rule A covers rule B for a tool when every decision on the tool is the same without B: A has to
decide as strictly, and to speak whenever B does.

A deny or hold rule speaks unless its condition is false, also when it fails; an allow rule only
when it is true. So wherever B is not false, A must be true or fail. For this it is enough that
for every way to meet B there is a way to meet A in which each atom is met by all values that
the atoms of B leave to its term. For say that A is false. Then an atom of that way is false, so
its term has a value, and it is one that B's atoms on the same term do not leave: as the term
comes to the same value there, one of those is false, and so is this way to meet B. As this holds
for every way, B is false. Errors do no harm: a term that fails makes no atom false. Where B is
an allow rule it is true, so A cannot be false; where A is one too it must be true, and then each
of its terms has to be among those that B's atoms are about.

Two things could make the same term come to something else. Steps: a condition that has taken
too many fails from then on, so where several parts take steps, only atoms that take none count.
And facts that are not known yet: they make a call wait that is held otherwise, or denied.

Nothing is claimed of several rules that cover another only together.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from agentrt.policy.bound import Bound
from agentrt.policy.cel import Record
from agentrt.policy.rules import DECISIONS, Approve, Rule, effect_of
from agentrt.policy.study.atoms import Atom
from agentrt.policy.study.meanings import Meaning
from agentrt.policy.study.terms import Term
from agentrt.policy.study.values import Values, within
from agentrt.policy.study.ways import Way
from agentrt.policy.tools_file import RaisedTool
from agentrt.policy.vocabulary import Vocabulary

__all__ = ["can_cover", "covers"]


def can_cover(rule: Rule) -> bool:
    """Whether it decides by its condition alone, and only decides."""
    return rule.mode == "enforce" and rule.limit is None and not rule.set


def covers(one: Meaning, other: Meaning) -> bool:
    """Whether, with `one` there, every decision on the tool is the same without `other`."""
    return (
        one is not other
        and can_cover(one.rule)
        and DECISIONS.index(one.rule.decide) <= DECISIONS.index(other.rule.decide)
        and (one.wording == other.wording or _speaks_whenever(one, other))
        and _waits_alike(one, other)
        and _decides_as_much(one, other)
    )


# --- whether it speaks -------------------------------------------------------------------


def _speaks_whenever(one: Meaning, other: Meaning) -> bool:
    return all(_meets(one, _left(way, other)) for way in other.open_ways)


def _left(way: Way, other: Meaning) -> Mapping[Term, Values]:
    """The values that a way to meet the other rule leaves to its terms."""
    must_be_false = other.rule.decide != "allow"
    return way.free_values if must_be_false and other.condition.may_tire else way.values


def _meets(one: Meaning, left: Mapping[Term, Values]) -> bool:
    return any(all(_is_met(atom, left) for atom in atoms) for atoms in one.needs)


def _is_met(atom: Atom, left: Mapping[Term, Values]) -> bool:
    return atom.term in left and within(left[atom.term], atom.values)


# --- whether it decides as much ----------------------------------------------------------


def _decides_as_much(one: Meaning, other: Meaning) -> bool:
    rule, idle = one.rule, other.rule
    if rule.decide == "deny":
        return True
    if idle.set:  # what is held or allowed goes on with the arguments that it sets
        return False
    if idle.decide == "allow":
        return True
    return _asks_as_much(one, other)


def _asks_as_much(one: Meaning, other: Meaning) -> bool:
    """Whether a call that both hold would take no less of people without `other`."""
    groups_alike = other.rule.group in (None, one.rule.group)
    asked = _asked(one)
    return groups_alike and asked.stricter(_asked(other)) == asked


def _asked(meaning: Meaning) -> Approve:
    """What a rule asks for when it holds a call, which a deny rule does while it waits."""
    return (meaning.rule.approve or Approve()).for_effect(effect_of(meaning.tool))


def _waits_alike(one: Meaning, other: Meaning) -> bool:
    """Whether no fact that is not known yet makes it matter that `other` is there."""
    if other.rule.decide == "allow":
        return True
    if not _may_wait(one.bound):
        return one.rule.decide == "deny" or not _may_wait(other.bound)
    # With the same wording they wait for the same: the sooner one asks, for all that both do.
    is_same = one.wording == other.wording
    return is_same and one.rule.defer_s <= other.rule.defer_s and _asks_as_much(one, other)


def _may_wait(bound: Bound) -> bool:
    reads = (read for checked in bound.checked.values() for read in checked.reads)
    return any(
        read.startswith(("run.", "user.")) and read not in _never_unknown() for read in reads
    )


@cache
def _never_unknown() -> frozenset[str]:
    """What every project's runs and users have; of a project's own facts, some may be stated."""
    roots = Vocabulary().roots(RaisedTool("", "read", frozenset(), {}), ())
    return frozenset(
        f"{root}.{name}"
        for root, kind in roots.items()
        for name in (kind.fields if isinstance(kind, Record) else ())
    )
