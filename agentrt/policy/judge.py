"""A judgement: which rules match a call, which do not, and which nobody can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from agentrt.policy.bound import Bound
from agentrt.policy.cel import Failed, Undetermined, Unknown, plain
from agentrt.policy.known import Found, Known

__all__ = ["Judgement", "judge"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


# One is made for every decision: a tuple is made at once, a frozen dataclass field by field.
class Judgement(NamedTuple):
    """What each rule says. Errors count against the call: see `matched` and `stuck`."""

    matched: tuple[Bound, ...] = ()
    """Rules that speak; a deny or hold that could not be evaluated is one of them."""
    stuck: tuple[Bound, ...] = ()
    """Rules that would change the call and cannot: it is held, since it must not run unchanged."""
    considered: tuple[Bound, ...] = ()
    """Rules that cover the tool and do not speak."""
    shadow: tuple[Bound, ...] = ()
    """Rules in `mode: shadow` that would speak."""
    failed: Mapping[str, str] = _NOTHING
    """Why a rule could not be evaluated, by its id."""
    waiting: tuple[Bound, ...] = ()
    """Rules that ask for a fact that is not known yet."""
    awaiting: Mapping[str, str] = _NOTHING
    """The fact that a rule waits for, by its id."""
    settings: Mapping[str, Any] = _NOTHING
    """The arguments that rules set."""
    found: Mapping[str, tuple[Found, ...]] = _NOTHING
    """What a rule found of the values that it asked for, by its id."""
    values: Mapping[str, Any] = _NOTHING
    """What the conditions were asked with."""
    asked_with: Mapping[str, Any] = _NOTHING
    """The same before rules set arguments, where any did."""

    def values_for(self, bound: Bound) -> Mapping[str, Any]:
        """What a rule's condition was asked with when it spoke."""
        return self.asked_with if bound.rule.set and self.asked_with else self.values

    def suspected(self, bound: Bound) -> tuple[Found, ...]:
        """The values that the rule found where they should not come from, and nowhere else."""
        found = self.found.get(bound.rule.id)
        if found is None:
            return ()
        good = [one.value for one in found if one.function != "from_tool"]
        return tuple(one for one in found if one.function == "from_tool" and one.value not in good)

    def then(self, second: Judgement) -> Judgement:
        """This one of the arguments as asked for, and `second` of the arguments as rules set them.

        What was refused or held stays so. What was allowed is allowed when it still is, or when
        the rule that set the arguments says so.
        """
        kept = [one for one in self.matched if one.rule.decide != "allow" or one.rule.set]
        matched = _once([*kept, *second.matched])
        return Judgement(
            matched=matched,
            stuck=_once([*self.stuck, *second.stuck]),
            considered=tuple(one for one in second.considered if one not in matched),
            shadow=_once([*self.shadow, *second.shadow]),
            failed={**self.failed, **second.failed},
            waiting=_once([*self.waiting, *second.waiting]),
            awaiting={**second.awaiting, **self.awaiting},
            settings=self.settings,
            found={**self.found, **second.found},
            values=second.values,
            asked_with=self.values,
        )

    def stuck_with(self, reason: str) -> Judgement:
        """The judgement when what the rules set cannot be: the rules that set it hold the call."""
        setting = tuple(one for one in self.matched if one.rule.set)
        failed = {one.rule.id: reason for one in setting}
        return self._replace(
            stuck=_once([*self.stuck, *setting]),
            failed={**self.failed, **failed},
            settings={},
        )


def judge(
    bounds: Sequence[Bound], known: Known, arguments: Mapping[str, Any], tool: Mapping[str, Any]
) -> Judgement:
    """What `bounds`, the rules that cover the tool, say of a call with these arguments."""
    judging = _Judging(known.values(arguments, tool), known, tool["name"])
    for bound in bounds:
        judging.hear(bound)
    return judging.judgement()


class _Judging:
    """Goes through the rules once."""

    def __init__(self, values: Mapping[str, Any], known: Known, tool: str) -> None:
        self._values = values
        self._known = known
        self._tool = tool
        self._matched: list[Bound] = []
        self._stuck: list[Bound] = []
        self._considered: list[Bound] = []
        self._shadow: list[Bound] = []
        self._failed: dict[str, str] = {}
        self._waiting: list[Bound] = []
        self._awaiting: dict[str, str] = {}
        self._settings: dict[str, Any] = {}
        self._found: dict[str, tuple[Found, ...]] = {}

    def judgement(self) -> Judgement:
        return Judgement(
            matched=tuple(self._matched),
            stuck=tuple(self._stuck),
            considered=tuple(self._considered),
            shadow=tuple(self._shadow),
            failed=self._failed,
            waiting=tuple(self._waiting),
            awaiting=self._awaiting,
            settings={} if self._stuck else self._settings,
            found=self._found,
            values=self._values,
        )

    def hear(self, bound: Bound) -> None:
        found = self._known.found
        noted = len(found)
        try:
            speaks = bound.met(self._values, self._known) and self._over_limit(bound)
            if speaks:
                self._speak(bound)
            else:
                self._considered.append(bound)
        except Undetermined as error:
            self._cannot_tell(bound, error)
        if len(found) > noted:
            self._found[bound.rule.id] = tuple(found[noted:])

    def _speak(self, bound: Bound) -> None:
        if bound.rule.mode == "shadow":
            self._shadow.append(bound)
            return
        self._set(bound)
        self._matched.append(bound)

    def _cannot_tell(self, bound: Bound, error: Undetermined) -> None:
        """A rule that would keep the call from running, or change it, counts against it."""
        rule = bound.rule
        if isinstance(error, Unknown) and rule.mode == "enforce" and rule.decide != "allow":
            self._waiting.append(bound)
            self._awaiting[rule.id] = error.name
            return
        self._failed[rule.id] = str(error)
        if rule.mode == "shadow":
            (self._considered if rule.decide == "allow" else self._shadow).append(bound)
        elif rule.set:
            self._stuck.append(bound)
        else:
            (self._considered if rule.decide == "allow" else self._matched).append(bound)

    def _over_limit(self, bound: Bound) -> bool:
        limit = bound.rule.limit
        if limit is None:
            return True
        spent = self._known.spent(bound.rule.id, limit.per, self._tool)
        return spent + bound.weight(self._values, self._known) > limit.cap

    def _set(self, bound: Bound) -> None:
        for name, program in bound.settings.items():
            value = plain(program(self._values, self._known))
            if name in self._settings and self._settings[name] != value:
                raise Failed(f"another rule sets {name} to something else")
            self._settings[name] = value


def _once(bounds: Sequence[Bound]) -> tuple[Bound, ...]:
    return tuple({bound.rule.id: bound for bound in bounds}.values())
