"""A rule bound to one tool: its expressions typed by the tool's schema, ready to be asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any

from agentrt.events import RuleRef
from agentrt.policy import cel
from agentrt.policy.cel import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    Checked,
    Expr,
    Failed,
    Malformed,
    Mistyped,
    Program,
    Record,
    Type,
    check,
    parse,
)
from agentrt.policy.problems import suggestion
from agentrt.policy.rules import DECISIONS, Rule, ToolLike
from agentrt.policy.vocabulary import Vocabulary

__all__ = ["Bound", "Mistake", "bind", "expressions", "parsed"]

Path = tuple[str, ...]

_WORDS = re.compile(r"[\w .:@-]+")


@dataclass(frozen=True)
class Mistake:
    """What is wrong with an expression of a rule, and from where to where in its text."""

    path: Path
    """The key it stands under, such as ("limit", "sum")."""
    message: str
    start: int
    end: int


@dataclass(frozen=True)
class Bound:
    """A rule as it speaks of one tool."""

    rule: Rule
    ref: RuleRef
    when: Program | None = None
    amount: Program | None = None
    settings: Mapping[str, Program] = field(default_factory=dict)
    checked: Mapping[Path, Checked] = field(default_factory=dict)
    """The typed expressions, for whoever studies the rule."""
    mistakes: tuple[Mistake, ...] = ()
    """With any of them it cannot be asked, and counts against the call."""

    def met(self, values: Mapping[str, Any], host: Any) -> bool:
        """Whether the condition is met. Raises Failed or Unknown."""
        if self.mistakes:
            raise Failed(self.mistakes[0].message)
        return self.when is None or self.when(values, host) is True

    def weight(self, values: Mapping[str, Any], host: Any) -> int | Decimal:
        """What the call adds to the rule's limit. Raises Failed or Unknown."""
        if self.amount is None:
            return 1
        weight = Decimal(str(self.amount(values, host)))
        if not weight.is_finite() or weight < 0:
            raise Failed("what a limit adds up must not be negative")
        return weight

    @cached_property
    def rank(self) -> tuple[int, str]:
        """The order in which rules are told: deny, hold, allow, each by id."""
        return DECISIONS.index(self.rule.decide), self.rule.id

    @property
    def programs(self) -> Iterator[Program]:
        """All its expressions."""
        yield from (program for program in (self.when, self.amount) if program)
        yield from self.settings.values()


def expressions(rule: Rule) -> Iterator[tuple[Path, str]]:
    """The expressions of a rule, each with the keys it stands under."""
    if rule.when is not None:
        yield ("when",), rule.when
    if rule.limit is not None and rule.limit.sum is not None:
        yield ("limit", "sum"), rule.limit.sum
    for name, value in rule.set.items():
        yield ("set", name), value if isinstance(value, str) else _literal(value)


def bind(
    rule: Rule, tool: ToolLike, vocabulary: Vocabulary, *, beside: Sequence[ToolLike] = ()
) -> Bound:
    """The rule for one tool; `beside` are the other tools that it covers."""
    ref = _ref(rule)
    if rule.when is None and not rule.set and (rule.limit is None or rule.limit.sum is None):
        return Bound(rule, ref)
    roots = vocabulary.roots(tool, beside)
    mistakes = list(_settings_unknown(rule, tool, roots["args"]))
    checked: dict[Path, Checked] = {}
    for path, text in expressions(rule):
        found = _typed(path, text, roots, vocabulary, wanted=_wanted(path, roots["args"]))
        if isinstance(found, Checked):
            checked[path] = found
            mistakes += _not_of_past_calls(rule, path, found)
        else:
            mistakes += found
    if mistakes:
        return Bound(rule, ref, checked=checked, mistakes=tuple(mistakes))
    return _compiled(rule, ref, checked)


def _compiled(rule: Rule, ref: RuleRef, checked: Mapping[Path, Checked]) -> Bound:
    programs = {path: cel.compile(typed) for path, typed in checked.items()}
    return Bound(
        rule,
        ref,
        when=programs.get(("when",)),
        amount=programs.get(("limit", "sum")),
        settings={path[1]: program for path, program in programs.items() if path[0] == "set"},
        checked=checked,
    )


def _typed(
    path: Path,
    text: str,
    roots: Mapping[str, Type],
    vocabulary: Vocabulary,
    *,
    wanted: tuple[Type, ...],
) -> Checked | list[Mistake]:
    try:
        return _checked(parsed(text), roots, vocabulary.functions, wanted)
    except Malformed as error:
        return [Mistake(path, error.message, error.start, error.end)]
    except Mistyped as error:
        meant = _meant_as_text(path, text, wanted)
        return [
            Mistake(path, f"{found.message}{meant}", found.start, found.end)
            for found in error.problems
        ]


def _meant_as_text(path: Path, text: str, wanted: tuple[Type, ...]) -> str:
    """What to write where a rule sets an argument to a text and leaves out the inner quotes."""
    is_text = path[0] == "set" and cel.accepts(wanted[-1], cel.STRING)
    return f"; for the text itself write '\"{text}\"'" if is_text and _WORDS.fullmatch(text) else ""


def _checked(
    expr: Expr, roots: Mapping[str, Type], functions: Mapping[str, Any], wanted: tuple[Type, ...]
) -> Checked:
    for kind in wanted[:-1]:
        try:
            return check(expr, roots, functions, wanted=kind)
        except Mistyped:
            continue
    return check(expr, roots, functions, wanted=wanted[-1])


@lru_cache(maxsize=4096)
def parsed(text: str) -> Expr:
    """The expression. Raises Malformed."""
    return parse(text)


def _wanted(path: Path, arguments: Type) -> tuple[Type, ...]:
    """The types that an expression may have, the one to complain about last."""
    match path:
        case ("when",):
            return (BOOL,)
        case ("limit", _):
            return (DOUBLE, INT)
        case (_, name):
            known = arguments.fields if isinstance(arguments, Record) else {}
            return (known[name].type if name in known else ANY,)
        case _:
            raise ValueError(path)


def _not_of_past_calls(rule: Rule, path: Path, checked: Checked) -> Iterator[Mistake]:
    """A limit's expressions are asked of past calls too, of which only these are known."""
    if rule.limit is None or path[0] == "set":
        return
    others = [read for read in checked.reads if read.partition(".")[0] not in ("args", "tool")]
    others += [call.name for call in checked.calls]
    for other in sorted(others):
        message = (
            f"with a limit, {path[-1]!r} is asked of earlier calls too, so it can speak of args "
            f"and tool only, not of {other}"
        )
        yield Mistake(path, message, 0, 0)


def _settings_unknown(rule: Rule, tool: ToolLike, arguments: Type) -> Iterator[Mistake]:
    known = tool.input_schema.get("properties", {})
    for name in rule.set:
        if name not in known:
            message = f"{tool.name} has no argument {name!r}{suggestion(name, known)}"
            yield Mistake(("set", name), message, 0, 0)


def _literal(value: bool | int | None) -> str:
    return "null" if value is None else str(value).lower()


def _ref(rule: Rule) -> RuleRef:
    return RuleRef(id=rule.id, file=rule.file, line=rule.line)
