from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
import yaml
from chance import examples
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from agentrt.policy import (
    Decision,
    Known,
    Policy,
    PolicyProblem,
    Question,
    find_problems,
    stated_fact,
)
from agentrt.policy.bindings import Bindings, mistakes_in
from agentrt.policy.bound import Bound
from agentrt.policy.cel import INT, Failed, Undetermined, Unknown
from agentrt.policy.decide import decide
from agentrt.policy.facts import Fact, Facts, History
from agentrt.policy.known import RESULTS, SAID, limit_name
from agentrt.policy.provenance import Place, Texts
from agentrt.policy.rules_file import read_rules_file
from agentrt.policy.study import study
from agentrt.policy.study.values import Edge, Few, Span, Values, both, nothing, within
from agentrt.policy.tools_file import RaisedTool, as_seen
from agentrt.policy.vocabulary import Vocabulary, about_tool
from agentrt.policy.yaml_source import read_source

TODAY = date(2026, 6, 1)


@dataclass(frozen=True)
class Spoken:
    """A tool, as far as a policy knows it."""

    name: str
    effect: str = "irreversible"
    labels: tuple[str, ...] = ()
    input_schema: Mapping[str, Any] = field(default_factory=dict, hash=False)


def schema(*optional: str, **properties: Any) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


PAY = Spoken(
    "pay",
    labels=("moves_money",),
    input_schema=schema(
        "note",
        "urgent",
        cents={"type": "integer", "minimum": 0, "maximum": 1000},
        price={"type": "number", "exclusiveMinimum": 0},
        to={"type": "string", "minLength": 1, "maxLength": 10},
        reason={"enum": ["late", "lost"]},
        stars={"type": "integer", "enum": [1, 3, 5]},
        tags={"type": "array", "items": {"type": "string"}, "maxItems": 4},
        maybe={"anyOf": [{"type": "integer", "maximum": 9}, {"type": "null"}]},
        item={"$ref": "#/$defs/Item"},
        note={"type": "string"},
        urgent={"type": "boolean"},
    )
    | {"$defs": {"Item": schema(count={"type": "integer", "minimum": 1})}},
)
MAIL = Spoken(
    "mail",
    "write",
    ("egress",),
    schema(
        "cents", "note", body={"type": "string"}, cents={"type": "integer"}, note={"type": "string"}
    ),
)
READ = Spoken("read", "read", input_schema=schema(path={"type": "string"}))
TOOLS = [PAY, MAIL, READ]


def rule(
    decide: str, tools: str | list[str], when: str | None = None, **more: Any
) -> dict[str, Any]:
    said = {"decide": decide, "tools": [tools] if isinstance(tools, str) else tools, "why": "So."}
    return said | ({} if when is None else {"when": when}) | more


def text_of(*rules: dict[str, Any]) -> str:
    named = [{"id": f"rule-{number}"} | each for number, each in enumerate(rules, 1)]
    return yaml.safe_dump({"rules": named}, sort_keys=False, width=1000)


def found(*rules: dict[str, Any], today: date = TODAY) -> list[PolicyProblem]:
    return list(find_problems({"a.yaml": text_of(*rules)}, TOOLS, today=today))


def said(*rules: dict[str, Any], today: date = TODAY) -> list[str]:
    return [
        f"{'warning: ' if problem.level == 'warning' else ''}{problem.message}"
        for problem in found(*rules, today=today)
    ]


# What can never be


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (
            "args.cents > 100 && args.cents < 50",
            "args.cents > 100 && args.cents < 50 can never be: they exclude each other",
        ),
        (
            "50 > args.cents && !(args.cents <= 100)",
            "50 > args.cents && !(args.cents <= 100) can never be: they exclude each other",
        ),
        (
            "args.cents > 5 && args.cents < 6",
            "args.cents > 5 && args.cents < 6 can never be: they exclude each other",
        ),
        (
            "args.cents > 60 * 60",
            "args.cents > 60 * 60 can never be: args.cents is at least 0 and at most 1000",
        ),
        (
            "args.price <= 0.0",
            "args.price <= 0.0 can never be: args.price is more than 0.0",
        ),
        (
            "size(args.to) > 10 || args.to.size() == 0",
            "size(args.to) > 10 can never be: size(args.to) is at least 1 and at most 10",
        ),
        (
            "size(args.tags) > 4",
            "size(args.tags) > 4 can never be: size(args.tags) is at least 0 and at most 4",
        ),
        (
            'args.to == "a" && args.to in ["b", "c"]',
            'args.to == "a" && args.to in ["b", "c"] can never be: they exclude each other',
        ),
        (
            'args.reason != "late" && args.reason != "lost"',
            'args.reason != "late" && args.reason != "lost" can never be: '
            "args.reason is 'late' or 'lost'",
        ),
        ("args.stars == 2", "args.stars == 2 can never be: args.stars is 1 or 3 or 5"),
        (
            "args.maybe != null && args.maybe > 9",
            "args.maybe > 9 can never be: args.maybe is at most 9",
        ),
        (
            "args.item.count == 0",
            "args.item.count == 0 can never be: args.item.count is at least 1",
        ),
        ("args.cents == null", "args.cents == null can never be: args.cents is never null"),
        (
            "has(args.note) && !has(args.note)",
            "has(args.note) && !has(args.note) can never be: they exclude each other",
        ),
        (
            "run.read_untrusted && (args.cents > 5 && !run.read_untrusted)",
            "run.read_untrusted && !run.read_untrusted can never be: they exclude each other",
        ),
        (
            'now > timestamp("2026-02-01T00:00:00Z") && now < timestamp("2026-01-01T00:00:00Z")',
            'now > timestamp("2026-02-01T00:00:00Z") && now < timestamp("2026-01-01T00:00:00Z") '
            "can never be: they exclude each other",
        ),
        (
            'environment == "production" && environment == "staging"',
            'environment == "production" && environment == "staging" can never be: '
            "they exclude each other",
        ),
        ("1 > 2", "1 > 2 can never be"),
        ("false", "false can never be"),
        (
            'tool.effect == "read"',
            "tool.effect == \"read\" can never be: tool.effect is 'irreversible'",
        ),
        (
            '"egress" in tool.labels',
            "\"egress\" in tool.labels can never be: pay has no label 'egress'",
        ),
    ],
)
def test_a_condition_that_no_value_meets_is_an_error_that_says_why(when: str, message: str) -> None:
    assert said(rule("deny", "pay", when))[0] == message


def test_a_contradiction_is_told_where_it_stands() -> None:
    (problem,) = found(rule("deny", "pay", 'args.to == "x" && args.cents > 7 && args.cents < 3'))
    assert (problem.line, problem.text[problem.column - 1 :]) == (
        7,
        "args.cents > 7 && args.cents < 3",
    )


def test_every_way_to_meet_a_condition_has_to_be_closed() -> None:
    assert said(rule("deny", "pay", "(args.cents > 7 || args.cents == 5) && args.cents < 3")) == [
        "args.cents > 7 && args.cents < 3 can never be: they exclude each other",
        "args.cents == 5 && args.cents < 3 can never be: they exclude each other",
    ]
    assert said(rule("deny", "pay", "(args.cents > 7 || args.cents == 2) && args.cents < 3")) == []


@pytest.mark.parametrize(
    "when",
    [
        "args.price > 5.0 && args.price < 5.1",
        "!(args.price / args.price > 1.0) && !(args.price / args.price <= 1.0)",
        'args.tags.exists(t, t == "a") && args.tags.exists(t, t == "b")',
        "args.maybe == null || args.maybe > 5",
        'args.to > "a" && args.to < "b"',
        "args.cents >= 5 && args.cents <= 5 && args.cents + 1 != 6",
        "run.calls > 3 && user.calls_1h < 3",
        "(has(args.urgent) && args.urgent ? 1 : 2) == 2",
    ],
)
def test_nothing_is_said_of_what_may_be(when: str) -> None:
    assert said(rule("deny", "pay", when)) == []


def test_what_only_some_tools_can_meet_is_no_mistake() -> None:
    assert said(rule("deny", ["pay", "mail"], "has(args.cents) && args.cents > 2000")) == []
    assert said(rule("deny", ["pay", "mail"], 'tool.name == "mail" && has(args.body)')) == []


def test_a_rule_that_each_of_its_tools_lacks_something_for_can_be_met_by_none() -> None:
    assert said(rule("deny", ["pay", "mail"], "has(args.to) && has(args.body)")) == [
        "no tool can meet this: has(args.body) can never be: pay has no args.body; "
        "has(args.to) can never be: mail has no args.to"
    ]


def test_a_rule_on_a_kind_of_tools_may_be_for_tools_to_come() -> None:
    assert said(rule("deny", "label:egress", 'tool.effect == "read"')) == []
    assert said(rule("deny", "label:egress", 'tool.effect == "read" && has(args.cents) && false'))
    assert said(rule("deny", "mail", 'tool.effect == "read"'))


def test_a_schema_that_takes_any_argument_says_of_none_that_it_is_not_there() -> None:
    one = Spoken("one", input_schema={"properties": {"a": {"type": "string"}}, "type": "object"})
    two = Spoken("two", input_schema={"properties": {"b": {"type": "string"}}, "type": "object"})
    text = text_of(rule("deny", ["one", "two"], "has(args.a) && has(args.b)"))
    assert find_problems({"a.yaml": text}, [one, two]) == ()


# What always is


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (
            "args.cents >= 0",
            "args.cents >= 0 is always true: args.cents is at least 0 and at most 1000",
        ),
        (
            'args.cents > 5 && args.reason in ["late", "lost"]',
            "args.reason in [\"late\", \"lost\"] is always true: args.reason is 'late' or 'lost'",
        ),
        (
            "has(args.note) && !(args.cents > 2000)",
            "args.cents > 2000 can never be: args.cents is at least 0 and at most 1000",
        ),
        (
            "args.cents > 2000 || has(args.note)",
            "args.cents > 2000 can never be: args.cents is at least 0 and at most 1000",
        ),
        ("args.cents != null", "args.cents != null is always true: args.cents is never null"),
        (
            "args.maybe != null && args.maybe != null",
            "args.maybe != null is always true: args.maybe is never null",
        ),
        ("true", "true is always true"),
    ],
)
def test_a_part_that_the_schema_settles_is_a_warning(when: str, message: str) -> None:
    assert said(rule("deny", "pay", when)) == [f"warning: {message}"]


def test_a_part_that_only_one_of_the_schemas_settles_is_none() -> None:
    assert said(rule("deny", ["pay", "mail"], "has(args.cents) && args.cents >= 0")) == []


def test_what_is_so_of_a_tool_is_not_told_as_a_part_that_is_always_true() -> None:
    assert said(rule("deny", "pay", 'tool.name == "pay" && has(args.cents)')) == []


# Rules that decide nothing


def test_a_rule_that_another_always_covers_is_told_with_both_places() -> None:
    wide, narrow = rule("deny", "pay", "args.cents > 100"), rule("deny", "pay", "args.cents > 200")
    (problem,) = found(wide, narrow)
    assert str(problem) == (
        "a.yaml:8:7: warning: this rule decides nothing: "
        "'rule-1' (a.yaml:2) denies every call that it speaks of"
    )
    assert said(narrow, wide) == [
        "warning: this rule decides nothing: "
        "'rule-2' (a.yaml:8) denies every call that it speaks of"
    ]


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (None, "args.cents > 5"),
        ("args.cents > 5", 'args.cents > 5 && args.to == "a"'),
        ("args.cents > 5", "args.cents == 6 || args.cents > 600"),
        ("args.cents >= 6", "!(args.cents <= 5)"),
        ('args.to in ["a", "b"]', 'args.to == "a"'),
        ('args.to != "a"', 'args.to in ["b", "c"]'),
        ('args.reason == "late"', 'args.reason != "lost"'),
        ("args.cents >= 0 && args.stars > 1", "args.stars == 5"),
        ("has(args.note)", 'has(args.note) && args.note.contains("x")'),
        ("has(args.note) || args.cents > 5", "args.cents > 7"),
        ("args.maybe != null", "args.maybe != null && args.maybe > 3"),
        ("size(args.to) > 2", "size(args.to) > 3"),
        ("run.read_untrusted", "run.read_untrusted && run.calls > 3"),
        ('args.to.matches("^x")', 'args.to.matches("^x") && args.cents > 3'),
        ('tool.name == "pay" || args.cents > 5', "args.stars == 1"),
    ],
)
def test_a_condition_covers_what_has_its_parts_as_narrow_or_narrower(
    wide: str | None, narrow: str
) -> None:
    covering = rule("deny", "pay", wide, id="wide")
    assert "'wide'" in " ".join(said(covering, rule("hold", "pay", narrow)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("args.cents > 200", "args.cents > 100"),
        ("args.cents > 5", "args.stars > 1"),
        ('args.to == "a"', 'args.to != "b"'),
        ("args.cents > 5 && has(args.note)", "args.cents > 7"),
        ('args.to.contains("ab")', 'args.to.contains("abc")'),
        ("args.cents > 5", "has(args.urgent) && args.urgent ? args.cents > 7 : args.cents > 6"),
    ],
)
def test_what_is_not_certain_is_not_told(one: str, other: str) -> None:
    assert said(rule("deny", "pay", one), rule("hold", "pay", other)) == []


@pytest.mark.parametrize("decide", ["deny", "hold", "allow"])
def test_a_copy_is_found_whatever_its_condition_is(decide: str) -> None:
    when = 'args.tags.exists(t, t == "a") && (args.cents / 2 > 7 || args.to in args.tags)'
    assert said(rule(decide, "pay", when), rule(decide, "pay", when)) == [
        "warning: this rule says the same as 'rule-1' (a.yaml:2): keep one of them"
    ]


def test_a_rule_that_says_the_same_as_another_is_told_once() -> None:
    one, again = rule("hold", "pay", "args.cents > 5"), rule("hold", "pay", "args.cents > 5")
    assert said(one, again | {"why": "Again."}) == [
        "warning: this rule says the same as 'rule-1' (a.yaml:2): keep one of them"
    ]
    assert said(one, again | {"when": "!(args.cents <= 5)"}) == [
        "warning: this rule decides nothing: "
        "'rule-1' (a.yaml:2) holds every call that it speaks of, and asks for as much"
    ]


def test_an_allow_rule_that_can_never_win_is_told() -> None:
    assert said(rule("hold", "*"), rule("allow", "pay", "args.cents < 100")) == [
        "warning: this rule never lets a call run: "
        "'rule-1' (a.yaml:2) holds every call that it speaks of"
    ]


def test_an_allow_rule_may_be_covered_by_another_rule_for_each_tool() -> None:
    assert said(
        rule("hold", "pay"),
        rule("deny", "mail", 'args.body == "x"'),
        rule("allow", ["pay", "mail"], '!has(args.body) || args.body == "x"'),
    ) == [
        "warning: this rule never lets a call run: "
        "'rule-1' (a.yaml:2) holds every call that it speaks of (pay), "
        "'rule-2' (a.yaml:7) denies every call that it speaks of (mail)"
    ]


def test_a_rule_matters_when_it_does_for_one_of_its_tools() -> None:
    assert said(rule("hold", "pay"), rule("allow", ["pay", "mail"])) == []
    assert said(rule("hold", ["pay", "mail"]), rule("allow", "pay")) != []


def test_a_stop_may_be_put_beside_rules_that_it_makes_idle() -> None:
    assert said(rule("deny", "pay"), rule("allow", "pay", "args.cents < 100")) == [
        "warning: this rule never lets a call run: 'rule-1' (a.yaml:2) denies every call that it "
        "speaks of"
    ]
    Policy.from_texts({"a.yaml": text_of(rule("deny", "*"), rule("hold", "pay"))}, TOOLS)


@pytest.mark.parametrize("decide", ["deny", "hold"])
def test_whatever_is_stopped_in_an_emergency_the_policy_still_loads(decide: str) -> None:
    others = [rule("hold", "pay"), rule("allow", "pay", "args.cents < 100"), rule("hold", "mail")]
    stopped = Policy.from_texts({"a.yaml": text_of(rule(decide, "*"), *others)}, TOOLS)
    assert len(stopped.rules) == 4


@pytest.mark.parametrize(
    ("asked", "idle"),
    [
        ({}, True),
        ({"roles": ["lead"]}, False),
        ({"expires": "1h"}, False),
        ({"quorum": 2}, False),
        ({"four_eyes": True}, False),
        ({"severity": "low"}, True),
        ({"severity": "critical", "quorum": 2}, False),
        ({"reason": "required"}, False),
    ],
)
def test_a_hold_covers_only_holds_that_ask_for_no_more(asked: dict[str, Any], idle: bool) -> None:
    wide, narrow = rule("hold", "pay"), rule("hold", "pay", "args.cents > 5", approve=asked)
    assert bool(said(wide, narrow)) is idle


def test_a_hold_that_may_be_approved_as_a_group_is_covered_by_one_that_may() -> None:
    narrow = rule("hold", "pay", "args.cents > 5", group="run")
    assert said(rule("hold", "pay"), narrow) == []
    assert said(rule("hold", "pay", group="run"), narrow) != []


@pytest.mark.parametrize(
    "more",
    [
        {"mode": "shadow"},
        {"limit": {"calls": 3}},
        {"set": {"cents": 5}, "decide": "hold"},
    ],
)
def test_a_rule_that_does_not_always_decide_covers_nothing(more: dict[str, Any]) -> None:
    assert said(rule("deny", "pay") | more, rule("allow", "pay", "args.cents > 5")) == []


def test_a_rule_in_shadow_is_not_told_that_it_decides_nothing() -> None:
    assert said(rule("deny", "pay"), rule("allow", "pay", mode="shadow")) == []


def test_a_rule_that_sets_arguments_is_idle_only_where_the_call_is_denied() -> None:
    setting = rule("allow", "pay", "args.cents > 5", set={"cents": 5})
    assert said(rule("hold", "pay", "args.cents > 1"), setting) == []
    assert said(rule("deny", "pay", "args.cents > 1"), setting) != []


def test_a_limit_is_idle_where_its_condition_is_covered() -> None:
    limited = rule("deny", "pay", "args.cents > 5", limit={"calls": 3})
    assert said(rule("deny", "pay", "args.cents > 1"), limited) != []
    assert said(limited, rule("deny", "pay", "args.cents > 5")) != []
    assert said(limited, rule("deny", "pay", "args.cents > 7")) == []


def test_a_rule_on_a_kind_of_tools_may_decide_for_tools_to_come() -> None:
    on_kind = rule("deny", "label:egress", 'has(args.note) && args.note == "x"')
    assert said(rule("deny", "mail", "has(args.note)"), on_kind) == []
    assert said(rule("deny", ["label:egress", "read"], "has(args.note)"), on_kind) != []
    assert said(rule("deny", "*", "has(args.note)"), on_kind) != []


# Where values come from


@pytest.mark.parametrize(
    ("decide", "when"),
    [
        ("allow", 'from_tool(args.to, "egress")'),
        ("allow", '(args.cents > 5 || from_tool(args.to, "egress") == true)'),
        ("deny", '!from_tool(args.to, "egress")'),
        ("hold", '!(args.cents > 5 && from_tool(args.to, "egress"))'),
        ("hold", 'args.tags.exists(t, !from_tool(t, "egress"))'),
        ("allow", 'has(args.note) ? from_tool(args.to, "egress") : args.cents > 5'),
    ],
)
def test_a_wide_comparison_must_not_be_what_lets_a_call_run(decide: str, when: str) -> None:
    (problem,) = found(rule(decide, "pay", when))
    assert problem.level == "error"
    assert problem.text[problem.column - 1 :].startswith("from_tool(")
    assert problem.message == (
        "from_tool finds a value however it is spelt, so it must not be what lets a call run: "
        "use from_trusted"
    )


@pytest.mark.parametrize(
    ("decide", "when"),
    [
        ("deny", "user_named(args.to)"),
        ("hold", "args.tags.all(t, from_trusted(t))"),
        ("allow", "!user_named(args.to)"),
        ("hold", "user_named(args.to) != false"),
    ],
)
def test_a_narrow_comparison_as_a_suspicion_is_a_warning(decide: str, when: str) -> None:
    (message,) = said(rule(decide, "pay", when))
    assert message.startswith("warning: ")
    assert "so whoever spells it differently is not" in message


@pytest.mark.parametrize(
    ("decide", "when"),
    [
        ("hold", 'from_tool(args.to, "egress") && !user_named(args.to)'),
        ("allow", "args.tags.all(t, user_named(t) || from_trusted(t))"),
        ("allow", '!from_tool(args.to, "egress")'),
        ("deny", 'from_tool(args.to, "egress") ? args.cents > 5 : args.cents > 500'),
        ("deny", "from_trusted(args.to) == false"),
    ],
)
def test_comparisons_that_work_for_their_rule_are_not_told(decide: str, when: str) -> None:
    assert said(rule(decide, "pay", when)) == []


# The day of the next review


def test_a_review_that_is_overdue_is_a_warning_and_stops_nothing() -> None:
    reviewed = rule("deny", "pay", review_by="2026-05-31")
    assert said(reviewed) == [
        "warning: 2026-05-31 is past: review the rule, and set the day of the next review"
    ]
    assert said(reviewed, today=date(2026, 5, 31)) == []
    Policy.from_texts({"a.yaml": text_of(reviewed)}, TOOLS)


# What is told is so, whatever the rules and the calls

COSTLY = "(costly)"
"""Stands for a text that takes more steps to look through than a condition may take."""


def spelt_out(value: Any) -> Any:
    """The value with the costly text in it."""
    match value:
        case dict():
            return {name: spelt_out(each) for name, each in value.items()}
        case list():
            return [spelt_out(each) for each in value]
    return "x" * 2_000_000 if value == COSTLY else value


ORDER = schema(
    "note",
    "urgent",
    cents={"type": "integer", "minimum": 0, "maximum": 1000},
    price={"type": "number", "exclusiveMinimum": 0},
    to={"type": "string"},
    reason={"enum": ["late", "lost"]},
    stars={"type": "integer", "enum": [1, 3, 5]},
    tags={"type": "array", "items": {"type": "string"}, "maxItems": 4},
    maybe={"anyOf": [{"type": "integer", "maximum": 9}, {"type": "null"}]},
    item=schema(count={"type": "integer", "minimum": 1}),
    note={"type": "string"},
    urgent={"type": "boolean"},
)
ORDERING = [
    as_seen(Spoken("buy", input_schema=ORDER), ()),
    as_seen(Spoken("reserve", "write", ("egress",), input_schema=ORDER), ()),
]
LEVEL = stated_fact("run.level", INT, about="Told to the run from outside.")
VOCABULARY = Vocabulary.of((LEVEL,), ORDERING)

NUMBERS = st.integers(-1, 12)
OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
WORDS = st.sampled_from(["a", "b", "ab", "xx"])


def made(template: str, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return st.fixed_dictionaries(parts).map(lambda found: template.format(**found))


ATOMS = st.one_of(
    made("args.cents {op} {n}", op=OPERATORS, n=NUMBERS),
    made("{n} {op} args.cents", op=OPERATORS, n=NUMBERS),
    made("args.cents in [{n}, {other}]", n=NUMBERS, other=NUMBERS),
    made("12 / args.cents {op} {n}", op=OPERATORS, n=NUMBERS),
    made("args.price {op} {n}.0", op=OPERATORS, n=st.integers(0, 9)),
    made("args.price in [{n}.0, 2.0]", n=st.integers(0, 9)),
    made("args.stars {op} {n}", op=OPERATORS, n=NUMBERS),
    made('args.reason {op} "late"', op=OPERATORS),
    made('args.to {op} "{word}"', op=OPERATORS, word=WORDS),
    made('args.to in ["{word}", "{other}"]', word=WORDS, other=WORDS),
    made('args.to.contains("{word}")', word=WORDS),
    made("size(args.to) {op} {n}", op=OPERATORS, n=NUMBERS),
    made("size(args.tags) {op} {n}", op=OPERATORS, n=NUMBERS),
    made('args.tags.exists(t, t.contains("{word}"))', word=WORDS),
    made('(has(args.note) && args.note {op} "{word}")', op=OPERATORS, word=WORDS),
    made('(!has(args.note) || args.note {op} "{word}")', op=OPERATORS, word=WORDS),
    made("(args.maybe != null && args.maybe {op} {n})", op=OPERATORS, n=NUMBERS),
    made("(args.maybe == null || args.maybe {op} {n})", op=OPERATORS, n=NUMBERS),
    made("args.item.count {op} {n}", op=OPERATORS, n=NUMBERS),
    made("run.calls {op} {n}", op=OPERATORS, n=NUMBERS),
    made("run.level {op} {n}", op=OPERATORS, n=NUMBERS),
    made("(args.cents {op} {n} ? args.stars > 1 : args.price > 2.0)", op=OPERATORS, n=NUMBERS),
    st.sampled_from(
        [
            "true",
            "has(args.note)",
            "(has(args.urgent) && args.urgent)",
            "args.maybe == null",
            "args.item.count == null",
            "user_named(args.to)",
            'from_tool(args.to, "egress")',
            "args.to in args.tags",
            "args.to in run.tools_used",
            "run.read_untrusted",
            'environment == "production"',
            'tool.name == "buy"',
            'tool.effect == "write"',
        ]
    ),
)


OF_THIS_CALL = ("run.", "environment", "user_named", "from_tool")
"""What a condition cannot speak of beside a limit."""


def grown(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(parts, min_size=2, max_size=3)
    return st.one_of(
        several.map(lambda each: f"({' && '.join(each)})"),
        several.map(lambda each: f"({' || '.join(each)})"),
        parts.map(lambda part: f"!({part})"),
    )


@st.composite
def bundles(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rules of the same few parts, so that often one covers another."""
    parts = st.sampled_from(draw(st.lists(ATOMS, min_size=1, max_size=4)))
    conditions = st.none() | st.recursive(parts, grown, max_leaves=5)
    return [draw(a_rule(conditions)) for _ in range(draw(st.integers(2, 4)))]


@st.composite
def a_rule(draw: st.DrawFn, conditions: st.SearchStrategy[str | None]) -> dict[str, Any]:
    decide, when = draw(st.sampled_from(["deny", "hold", "allow"])), draw(conditions)
    speaks_of_past_calls = not any(name in (when or "") for name in OF_THIS_CALL)
    made = rule(decide, draw(st.sampled_from([["buy"], ["buy", "reserve"]])), when)
    made["mode"] = draw(st.sampled_from(["enforce", "enforce", "enforce", "shadow"]))
    if decide == "hold":
        made["approve"] = {"quorum": draw(st.integers(1, 2))}
        made |= draw(st.sampled_from([{}, {}, {"group": "run"}]))
    if decide != "allow":
        made |= draw(st.sampled_from([{}, {}, {"defer": "10s"}]))
    more: list[dict[str, Any]] = [{}, {}, {}]
    if decide != "deny":
        more.append({"set": {"cents": 3}})
    if decide != "allow" and speaks_of_past_calls:
        more.append({"limit": {"calls": 1, "per": ["run"]}})
    return made | draw(st.sampled_from(more))


TEXTS = st.sampled_from(["a", "b", "ab", "xx"])
ARGUMENTS = st.fixed_dictionaries(
    {
        "cents": st.integers(0, 12) | st.just(1000),
        "price": st.floats(0.5, 9.5) | st.integers(1, 9),
        "to": TEXTS | st.just(COSTLY),
        "reason": st.sampled_from(["late", "lost"]),
        "stars": st.sampled_from([1, 3, 5]),
        "tags": st.lists(TEXTS, max_size=4) | st.just([COSTLY]),
        "maybe": st.none() | st.integers(-2, 9),
        "item": st.fixed_dictionaries({"count": st.integers(1, 12)}),
    },
    optional={"note": TEXTS | st.just(COSTLY), "urgent": st.booleans()},
)
MISFITS = {
    "cents": ["much", True, 2**70, 1.5],
    "price": ["much", None],
    "to": [5],
    "reason": ["never"],
    "stars": [None, "many"],
    "tags": [[5], "a"],
    "maybe": ["much"],
    "item": [None, {}, {"count": "many"}],
    "note": [None],
    "urgent": ["yes"],
}
"""Arguments that are not of the type that conditions were checked for."""


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    arguments = draw(ARGUMENTS)
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(sorted(MISFITS)))
        arguments = arguments | {name: draw(st.sampled_from(MISFITS[name]))}
    return arguments


def unknown(name: str) -> Any:
    raise Unknown(name)


def failed(name: str) -> Any:
    raise Failed(f"{name} is broken")


def a_fact(name: str, value: Any) -> Fact:
    def now(_state: None, _now: int) -> Any:
        return value(name) if callable(value) else spelt_out(value)

    return Fact(name, INT, "", (), None, lambda state, _record: state, now)


@st.composite
def worlds(draw: st.DrawFn) -> Known:
    numbers = NUMBERS | st.just(failed)
    facts = {
        "run.level": draw(numbers | st.just(unknown)),
        "run.calls": draw(numbers),
        "run.read_untrusted": draw(st.booleans() | st.just(failed)),
        "run.tools_used": draw(st.lists(TEXTS, max_size=2) | st.just([COSTLY])),
    }
    facts[SAID] = Texts().plus(draw(TEXTS), Place("user message 1"))
    facts[RESULTS] = {"egress": Texts().plus(draw(TEXTS), Place("result of reserve"))}
    facts |= {limit_name(f"rule-{n}"): {"": draw(st.integers(0, 2))} for n in range(1, 5)}
    history = History.of(Facts([a_fact(name, value) for name, value in facts.items()]))
    return Known(run=history, environment=draw(st.sampled_from(["production", "staging"])))


@dataclass(frozen=True)
class Studied:
    """Rules that were studied."""

    bindings: Bindings
    problems: Sequence[PolicyProblem]
    starts: Mapping[int, str]
    """The ids of the rules by the lines on which they begin."""

    def told(self, *messages: str) -> dict[str, str]:
        """What is told with one of these words, by the ids of the rules that it is told of."""
        return {
            self.starts[
                max(start for start in self.starts if start <= problem.line)
            ]: problem.message
            for problem in self.problems
            if any(message in problem.message for message in messages)
        }


def studied(rules: Sequence[dict[str, Any]]) -> Studied:
    source = read_source("a.yaml", text_of(*rules))
    file = read_rules_file(source, name="a.yaml", tools=ORDERING)
    bindings = Bindings(file.rules, VOCABULARY, ORDERING)
    assert [*file.problems, *mistakes_in([file], bindings, ORDERING)] == []
    problems = list(study([file], bindings, ORDERING, today=TODAY))
    return Studied(bindings, problems, {each.line: each.id for each in file.rules})


def outcome(
    bound: Bound, tool: RaisedTool, arguments: Mapping[str, Any], known: Known
) -> bool | None:
    try:
        return bound.met(known.values(spelt_out(arguments), about_tool(tool)), known)
    except Undetermined:
        return None


TOOLS_ORDERING = st.sampled_from(ORDERING)
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(PATIENT, max_examples=examples(150))
@given(bundles(), TOOLS_ORDERING, st.lists(st.tuples(calls(), worlds()), min_size=3, max_size=6))
def test_what_is_called_impossible_is_never_met(
    rules: list[dict[str, Any]], tool: RaisedTool, asked: list[tuple[dict[str, Any], Known]]
) -> None:
    found = studied(rules)
    errors = [problem for problem in found.problems if problem.level == "error"]
    told = Studied(found.bindings, errors, found.starts).told("can never be")
    for bound in found.bindings.of(tool):
        if bound.rule.id in told:
            event("impossible")
            assert True not in [outcome(bound, tool, *call) for call in asked]


@settings(PATIENT, max_examples=examples(150))
@given(ATOMS, st.booleans(), TOOLS_ORDERING, st.lists(calls(), min_size=3, max_size=6), worlds())
def test_what_is_called_settled_is_settled(
    atom: str, positive: bool, tool: RaisedTool, asked: list[dict[str, Any]], known: Known
) -> None:
    found = studied([rule("deny", ["buy", "reserve"], atom if positive else f"!({atom})")])
    (bound,) = found.bindings.of(tool)
    for problem in found.problems:
        if problem.message.startswith(f"{atom} is always true"):
            event("always")
            assert (not positive) not in [outcome(bound, tool, each, known) for each in asked]
        if problem.message.startswith(f"{atom} can never be"):
            event("never")
            assert positive not in [outcome(bound, tool, each, known) for each in asked]


def effect_of_deciding(decision: Decision) -> tuple[Any, ...]:
    """What a decision lets happen; the reason, which names the rules, is not part of it."""
    if decision.verdict == "deny":
        return ("deny",)
    held = decision.approve, decision.awaiting, decision.wait_s, decision.grouped
    return decision.verdict, held, decision.arguments


def decided(bounds: Sequence[Bound], tool: RaisedTool, call: tuple[dict[str, Any], Known]) -> Any:
    arguments, known = call
    question = Question(tool, spelt_out(arguments), known)
    decision = decide(question, bounds=bounds, default_read="hold", bundle="b" * 64)
    return effect_of_deciding(decision)


@settings(PATIENT, max_examples=examples(250))
@given(bundles(), TOOLS_ORDERING, st.lists(st.tuples(calls(), worlds()), min_size=3, max_size=6))
def test_a_rule_that_is_told_to_be_idle_can_be_taken_out(
    rules: list[dict[str, Any]], tool: RaisedTool, asked: list[tuple[dict[str, Any], Known]]
) -> None:
    found = studied(rules)
    idle = set(found.told("decides nothing", "never lets a call run", "says the same"))
    bounds = found.bindings.of(tool)
    for without in [*({one} for one in idle), idle]:
        event(f"{len(without)} idle")
        kept = [bound for bound in bounds if bound.rule.id not in without]
        for call in asked:
            assert decided(kept, tool, call) == decided(bounds, tool, call)


# What could make the same part of two conditions come to something else


def idle_in(*rules: dict[str, Any]) -> set[str]:
    return set(studied(rules).told("decides nothing", "never lets a call run", "says the same"))


def test_a_part_that_takes_steps_may_fail_where_others_took_them_all() -> None:
    alone = rule("deny", "buy", 'args.to.contains("ab")')
    after = rule("deny", "buy", 'args.note.contains("x") && args.to.contains("ab")')
    after["when"] = f"has(args.note) && {after['when']}"
    found = studied([alone, after])
    assert found.told("decides nothing") == {}
    bounds = found.bindings.of(ORDERING[0])
    call = ({"to": "a", "note": COSTLY}, Known())
    assert [decided(kept, ORDERING[0], call)[0] for kept in (bounds, bounds[:1])] == [
        "deny",
        "hold",
    ]


@pytest.mark.parametrize(
    "first",
    [
        'args.to.contains("x")',
        'args.tags.exists(t, t == "a")',
        "args.to in args.tags",
        'user_named(args.tags.filter(t, t == "a"))',
        "args.tags != []",
    ],
)
def test_all_that_looks_through_a_value_takes_steps(first: str) -> None:
    alone = rule("deny", "buy", 'args.to.contains("ab")')
    assert idle_in(alone, rule("deny", "buy", f'{first} && args.to.contains("ab")')) == set()


def test_a_way_that_is_closed_still_fails_where_its_term_does() -> None:
    alone = rule("deny", "buy", "args.stars == 1")
    failing = rule("hold", "buy", "run.calls > 5 && run.calls < 3 || args.stars == 1")
    assert idle_in(alone, failing) == set()
    assert idle_in(alone, failing | {"decide": "allow"}) == {"rule-2"}


def test_where_only_one_part_takes_steps_it_can_be_relied_on() -> None:
    alone = rule("deny", "buy", 'args.to.contains("ab")')
    assert idle_in(alone, rule("deny", "buy", 'args.cents > 5 && args.to.contains("ab")'))
    tired = 'args.tags.exists(t, t == "a") && args.to.contains("ab") && args.cents > 5'
    assert idle_in(rule("deny", "buy", "args.cents > 3"), rule("deny", "buy", tired))
    assert not idle_in(
        rule("allow", "buy", f"{tired} || args.to in args.tags"), rule("allow", "buy", tired)
    )


def test_a_rule_that_makes_calls_wait_for_a_fact_is_not_idle_beside_one_that_does_not() -> None:
    waiting = rule("hold", "buy", "args.cents > 7 && run.level > 1")
    assert idle_in(rule("hold", "buy", "args.cents > 5"), waiting) == set()
    assert idle_in(rule("deny", "buy", "args.cents > 5"), waiting) == {"rule-2"}
    assert idle_in(rule("hold", "buy", "run.level > 0"), waiting) == set()
    assert idle_in(rule("hold", "buy", "run.level > 0"), waiting | {"decide": "allow"}) == {
        "rule-2"
    }


def test_of_two_rules_that_wait_for_the_same_the_one_that_asks_no_sooner_is_idle() -> None:
    soon = rule("hold", "buy", "run.level > 1", defer="10s")
    late = rule("hold", "buy", "run.level > 1", defer="10m")
    assert idle_in(soon, late) == {"rule-2"}
    assert idle_in(late, soon) == {"rule-1"}


def test_a_deny_rule_that_waits_asks_people_for_no_more_than_the_least() -> None:
    denying = rule("deny", "buy", "run.level > 1")
    assert idle_in(denying, rule("hold", "buy", "run.level > 1")) == {"rule-2"}
    assert idle_in(denying, rule("hold", "buy", "run.level > 1", approve={"quorum": 2})) == set()


# Values


EDGES = st.none() | st.builds(Edge, st.integers(-3, 3), st.booleans())
SOME = st.frozensets(st.integers(-3, 3), max_size=4)
VALUES: st.SearchStrategy[Values] = st.builds(Few, SOME) | st.builds(Span, EDGES, EDGES, SOME)
TRIED = [number / 2 for number in range(-10, 11)]


def has(values: Values, value: float) -> bool:
    if isinstance(values, Few):
        return value in values.values
    low, high = values.low, values.high
    return (
        value not in values.without
        and (low is None or value > low.value or (low.included and value == low.value))
        and (high is None or value < high.value or (high.included and value == high.value))
    )


@given(VALUES, VALUES)
def test_what_is_in_both_is_in_each(one: Values, other: Values) -> None:
    for value in TRIED:
        assert has(both(one, other), value) == (has(one, value) and has(other, value))


@given(VALUES, VALUES)
def test_what_is_within_other_values_is_all_in_them(inner: Values, outer: Values) -> None:
    if within(inner, outer):
        assert all(has(outer, value) for value in TRIED if has(inner, value))


@given(VALUES)
def test_nothing_is_in_nothing(values: Values) -> None:
    if nothing(values):
        assert not any(has(values, value) for value in TRIED)
