"""Laws of every policy: more rules never let more run, no order matters, errors never help."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from chance import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_policy_facts import a_decision

from agentrt.errors import PolicyError
from agentrt.policy import Decision, Fact, Known, Policy, Question, Rule
from agentrt.policy.bindings import Bindings
from agentrt.policy.bound import Bound
from agentrt.policy.cel import BOOL, INT, STRING, Failed, ListOf, Type, Unknown
from agentrt.policy.decide import decide
from agentrt.policy.facts import Facts, History
from agentrt.policy.known import limit_name
from agentrt.policy.origins import _is_untrusted
from agentrt.policy.rules import EFFECTS, SEVERITIES, effect_of
from agentrt.policy.tools_file import Raise, RaisedTool, as_seen
from agentrt.policy.vocabulary import Vocabulary
from agentrt.tools import Tool, tool

STRICTNESS = {"allow": 0, "hold": 1, "deny": 2}
LAWS = settings(max_examples=examples(150), deadline=None)

# --- tools, with arguments of many kinds -------------------------------------------------


NOBODY: list[str] = []


@tool(effect="irreversible", labels=["moves_money"])
def refund(to: str, cents: int, share: float = 0.5) -> str:
    """Refund."""
    return f"{to} {cents} {share}"


@tool(effect="irreversible", labels=["egress"])
def send_mail(
    to: str, copies: list[str] = NOBODY, urgent: bool | None = None, form: Literal["a", "b"] = "a"
) -> str:
    """Send."""
    return f"{to} {copies} {urgent} {form}"


@tool(effect="write", idempotent_for="1h")
def write_note(name: str, cents: int = 0, to: str = "") -> str:
    """Write."""
    return f"{name} {cents} {to}"


@tool(effect="read", untrusted=["body", "from"])
def read_mail(cents: int) -> dict[str, int]:
    """Read."""
    return {"number": cents}


TOOLS: tuple[Tool[..., Any], ...] = (refund, send_mail, write_note, read_mail)

texts = st.sampled_from(["bob", "eve", "7", "", "*"])
cents = st.sampled_from([0, 1, 49, 50, 51, 100, -5, 2**53 - 1])
ARGUMENTS: Mapping[str, st.SearchStrategy[dict[str, Any]]] = {
    "refund": st.fixed_dictionaries(
        {"to": texts, "cents": cents}, optional={"share": st.floats(0, 1)}
    ),
    "send_mail": st.fixed_dictionaries(
        {"to": texts},
        optional={
            "copies": st.lists(texts, max_size=3),
            "urgent": st.none() | st.booleans(),
            "form": st.sampled_from(["a", "b"]),
        },
    ),
    "write_note": st.fixed_dictionaries({"name": texts}, optional={"cents": cents, "to": texts}),
    "read_mail": st.fixed_dictionaries({"cents": cents}),
}

# --- facts that are known, unknown, or cannot be had -------------------------------------

How = Literal["known", "unknown", "failing", "absent"]


@dataclass(frozen=True)
class Asked:
    """A call, and what is known when it is decided."""

    tool: Tool[..., Any]
    arguments: Mapping[str, Any]
    facts: Mapping[str, tuple[How, Any]]
    spent: tuple[How, int]
    user: bool

    def known(self) -> Known:
        history = History.of(Facts([*_facts(self), *_limits(self)]))
        about = {"name": "mona", "roles": ["clerk"], "verified": "oidc"} if self.user else {}
        return Known(
            run=history,
            user=history if self.user else None,
            everyone=history,
            about_run={"agent": "desk", "model": "m", "simulated": False},
            about_user=about,
            now=1_780_000_000_000,
        )


OWN: Mapping[str, Type] = {
    "run.score": INT,
    "run.cleared": BOOL,
    "run.names": ListOf(STRING),
    "user.score": INT,
    "user.calls_1h": INT,
}
VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "run.score": st.integers(-5, 105),
    "run.cleared": st.booleans(),
    "run.names": st.lists(texts, max_size=3),
    "user.score": st.integers(-5, 105),
    "user.calls_1h": st.integers(0, 20),
}


def _fact(name: str, how: How, value: Any) -> Fact:
    def get(_state: Any, _now: int) -> Any:
        if how == "unknown":
            raise Unknown(name)
        if how == "failing":
            raise Failed(f"{name} broke")
        return value

    return Fact(name, OWN.get(name, INT), "x", (), None, lambda state, _: state, get)


def _facts(asked: Asked) -> list[Fact]:
    return [_fact(name, *how) for name, how in asked.facts.items() if how[0] != "absent"]


def _limits(asked: Asked) -> list[Fact]:
    how, spent = asked.spent
    sums = {"": spent, **{tool.name: spent for tool in TOOLS}}
    return [_fact(limit_name(rule), how, sums) for rule in IDS] if how != "absent" else []


hows: st.SearchStrategy[How] = st.sampled_from(
    ["known", "known", "known", "unknown", "failing", "absent"]
)


@st.composite
def some_call(draw: st.DrawFn) -> Asked:
    one = draw(st.sampled_from(TOOLS))
    arguments = one.complete(draw(ARGUMENTS[one.name]))
    facts = {name: (draw(hows), draw(value)) for name, value in VALUES.items()}
    spent = (draw(hows), draw(st.integers(0, 120)))
    return Asked(one, arguments, facts, spent, draw(st.booleans()))


# --- rules -------------------------------------------------------------------------------

CONDITIONS = [
    "true",
    "false",
    "args.cents > 50",
    "args.cents <= 50 && args.to == 'bob'",
    "has(args.to) && args.to == 'eve'",
    "args.to.startsWith('b')",
    "100 / args.cents > 3",
    "int(args.to) > 5",
    "args.cents * 9223372036854775807 > 0",
    "args.share > 0.5",
    "args.copies.exists(each, each == 'eve')",
    "args.urgent != null && args.urgent",
    "args.form == 'b'",
    "run.score > 50",
    "run.cleared",
    "!run.cleared || args.cents < 10",
    "args.to in run.names",
    "user.score > 50 || user.calls_1h > 10",
    "user.name == 'mona'",
    "'clerk' in user.roles && run.score < 0",
    "tool.name == 'refund'",
    "'egress' in tool.labels",
    "now > timestamp('2026-01-01T00:00:00Z')",
]
SETTINGS = [
    {"cents": "50"},
    {"cents": "args.cents > 50 ? 50 : args.cents"},
    {"cents": "run.score"},
    {"cents": "100 / args.cents"},
    {"to": "'bob'"},
    {"to": "'eve'", "cents": "1"},
    {"cents": "-1 * args.cents"},
    {"form": "'c'"},
    {"urgent": None},
]
IDS = tuple("abcdefgh")
SELECTORS = ["refund", "send_mail", "write_note", "read_mail", "*", "*_mail", "effect:irreversible"]

approves = st.fixed_dictionaries(
    {},
    optional={
        "roles": st.lists(st.sampled_from(["lead", "legal"]), max_size=2).map(tuple),
        "quorum": st.integers(1, 3),
        "expires": st.sampled_from(["1h", "4h", "7d"]),
        "four_eyes": st.booleans(),
        "reason": st.sampled_from(["optional", "required"]),
    },
)
limits = st.sampled_from(
    [
        {"calls": 3},
        {"calls": 0, "per": ("run",)},
        {"sum": "args.cents", "most": 100, "per": ("user",), "within": "1h"},
        {"sum": "args.cents", "most": 60, "per": ()},
        {"sum": "args.share", "most": "0.5", "per": ("tool",)},
    ]
)


@st.composite
def some_rule(
    draw: st.DrawFn, verdicts: Sequence[str] = ("deny", "hold", "allow"), setting: bool = True
) -> Rule:
    decides = draw(st.sampled_from(verdicts))
    fields: dict[str, Any] = {
        "id": draw(st.sampled_from(IDS)),
        "decide": decides,
        "tools": tuple(draw(st.lists(st.sampled_from(SELECTORS), min_size=1, max_size=2))),
        "when": draw(st.none() | st.sampled_from(CONDITIONS)),
        "mode": draw(st.sampled_from(["enforce"] * 5 + ["shadow"])),
        "defer": draw(st.sampled_from(["1m", "5m", "1h"])),
        "why": "Because.",
    }
    if decides == "hold":
        fields["approve"] = draw(approves)
        fields["group"] = draw(st.sampled_from([None, None, "run"]))
    if decides != "allow" and draw(st.integers(0, 3)) == 0:
        fields["limit"] = draw(limits)
    if decides != "deny" and setting and draw(st.integers(0, 2)) == 0:
        fields["set"] = draw(st.sampled_from(SETTINGS))
    return Rule.model_validate(fields)


def bundles(**more: Any) -> st.SearchStrategy[list[Rule]]:
    return st.lists(some_rule(**more), max_size=6, unique_by=lambda rule: rule.id)


VOCABULARY = Vocabulary.of(
    [_fact(name, "known", None) for name in OWN if name != "user.calls_1h"], TOOLS
)


@cache
def _seen(one: Tool[..., Any]) -> RaisedTool:
    return as_seen(one, ())


def bindings(rules: Sequence[Rule]) -> Bindings:
    return Bindings(rules, VOCABULARY, [_seen(one) for one in TOOLS])


def ask(asked: Asked, rules: Sequence[Rule]) -> Decision:
    """What these rules say, without a look at whether they make sense together."""
    seen = _seen(asked.tool)
    question = Question(seen, asked.arguments, asked.known(), asked.tool.complete)
    return decide(question, bounds=bindings(rules).of(seen), default_read="allow", bundle="b" * 64)


def other_id(rules: Sequence[Rule], rule: Rule) -> Rule:
    """The rule under an id that none of the others has."""
    taken = {each.id for each in rules}
    return rule.model_copy(update={"id": next(one for one in IDS if one not in taken)})


# --- more rules --------------------------------------------------------------------------


@LAWS
@given(bundles(), some_rule(("deny", "hold"), setting=False), some_call())
def test_adding_a_deny_or_hold_rule_never_lets_more_run(
    rules: list[Rule], more: Rule, asked: Asked
) -> None:
    before = ask(asked, rules)
    after = ask(asked, [*rules, other_id(rules, more)])
    assert STRICTNESS[after.verdict] >= STRICTNESS[before.verdict]


@LAWS
@given(bundles(), some_rule(("hold",)), some_call())
def test_adding_a_hold_rule_that_sets_arguments_never_lets_run_what_did_not(
    rules: list[Rule], more: Rule, asked: Asked
) -> None:
    before = ask(asked, rules)
    after = ask(asked, [*rules, other_id(rules, more)])
    assert after.verdict != "allow" or before.verdict == "allow"


@LAWS
@given(bundles(), some_rule(("hold",), setting=False), some_call())
def test_adding_a_hold_rule_never_makes_an_approval_easier(
    rules: list[Rule], more: Rule, asked: Asked
) -> None:
    before = ask(asked, rules)
    after = ask(asked, [*rules, other_id(rules, more)])
    if before.basis != "rules" or before.approve is None or after.approve is None:
        return
    assert set(before.approve.roles) <= set(after.approve.roles)
    assert before.approve.quorum <= after.approve.quorum
    assert before.approve.expires_s >= after.approve.expires_s
    assert before.approve.four_eyes <= after.approve.four_eyes
    assert _rank(before) <= _rank(after)


def _rank(decision: Decision) -> int:
    assert decision.approve is not None
    assert decision.approve.severity is not None
    return SEVERITIES.index(decision.approve.severity)


@LAWS
@given(bundles(), some_rule(("allow",), setting=False), some_call())
def test_adding_an_allow_rule_never_lets_run_what_a_rule_denied_or_held(
    rules: list[Rule], more: Rule, asked: Asked
) -> None:
    before = ask(asked, rules)
    after = ask(asked, [*rules, other_id(rules, more)])
    if before.basis == "rules" and before.verdict != "allow":
        assert after.verdict == before.verdict
        assert after.rules_digest == before.rules_digest
        assert after.approve == before.approve


@LAWS
@given(bundles(setting=False), some_rule(("allow",)), some_call())
def test_setting_arguments_never_lets_run_what_a_rule_denied_or_held(
    rules: list[Rule], more: Rule, asked: Asked
) -> None:
    before = ask(asked, rules)
    after = ask(asked, [*rules, other_id(rules, more)])
    if before.basis == "rules" and before.verdict != "allow":
        assert STRICTNESS[after.verdict] >= STRICTNESS[before.verdict]


@LAWS
@given(bundles(), some_rule(), some_call())
def test_a_rule_in_shadow_mode_never_changes_a_decision(
    rules: list[Rule], more: Rule, asked: Asked
) -> None:
    shadow = other_id(rules, more).model_copy(update={"mode": "shadow"})
    before, after = ask(asked, rules), ask(asked, [*rules, shadow])
    noted: dict[str, Any] = {"shadow": (), "failed": {}, "considered": ()}
    if before.basis == "default":
        noted["reason"] = ""  # it says whether any rule speaks of the tool at all
    assert replace(before, **noted) == replace(after, **noted)
    assert {**after.failed, shadow.id: ""} == {**before.failed, shadow.id: ""}
    assert [ref for ref in after.shadow if ref.id != shadow.id] == list(before.shadow)


@LAWS
@given(bundles(), some_rule(), some_call())
def test_a_rule_for_another_tool_never_changes_a_decision(
    rules: list[Rule], more: Rule, asked: Asked
) -> None:
    others = tuple(one.name for one in TOOLS if one is not asked.tool)
    apart = other_id(rules, more).model_copy(update={"tools": others})
    assert ask(asked, rules) == ask(asked, [*rules, apart])


# --- order -------------------------------------------------------------------------------


@LAWS
@given(
    bundles().flatmap(lambda rules: st.tuples(st.just(rules), st.permutations(rules))), some_call()
)
def test_the_order_of_rules_never_matters(
    orders: tuple[list[Rule], list[Rule]], asked: Asked
) -> None:
    one, other = (ask(asked, rules) for rules in orders)
    assert one == other


@LAWS
@given(bundles(), st.data(), some_call())
def test_the_order_and_names_of_files_never_matter(
    rules: list[Rule], data: st.DataObject, asked: Asked
) -> None:
    plain = {"rules.yaml": written(rules)}
    halves = [[], []]  # type: list[list[Rule]]
    for rule in data.draw(st.permutations(rules)):
        halves[data.draw(st.integers(0, 1))].append(rule)
    spread = {"z.yaml": written(halves[0]), "a.yaml": written(halves[1])}
    decisions = []
    for texts in (plain, spread):
        policy = Policy.parse(texts)
        bounds = [
            *Bindings(policy.rules, VOCABULARY, [_seen(one) for one in TOOLS]).of(_seen(asked.tool))
        ]
        decisions.append(_placeless(_decided(asked, bounds)))
    assert decisions[0] == decisions[1]


def _decided(asked: Asked, bounds: Sequence[Bound]) -> Decision:
    question = Question(_seen(asked.tool), asked.arguments, asked.known(), asked.tool.complete)
    return decide(question, bounds=bounds, default_read="allow", bundle="b" * 64)


def _placeless(decision: Decision) -> dict[str, Any]:
    """The decision without where its rules stand."""
    names = ("rules", "deciding", "considered", "shadow")
    told = {name: [ref.id for ref in getattr(decision, name)] for name in names}
    same = ["verdict", "reason", "rules_digest", "awaiting", "wait_s", "approve", "grouped"]
    same += ["settings", "arguments", "failed"]
    return told | {name: getattr(decision, name) for name in same}


def written(rules: Sequence[Rule]) -> str:
    """A rules file; JSON is YAML too."""
    entries = [_entry(rule) for rule in rules]
    return "rules: " + json.dumps(entries) + "\n"


def _entry(rule: Rule) -> dict[str, Any]:
    data = rule.model_dump(mode="json", exclude={"file", "line"}, exclude_none=True)
    data["defer"] = f"{data.pop('defer_s')}s"
    if rule.approve is not None:
        data["approve"]["expires"] = f"{data['approve'].pop('expires_s')}s"
    if rule.limit is not None:
        limit = data["limit"]
        if "within_s" in limit:
            limit["within"] = f"{limit.pop('within_s')}s"
    if rule.set:
        data["set"] = dict(rule.set)
    else:
        data.pop("set", None)
    return data


# --- errors ------------------------------------------------------------------------------

CANNOT_BE_EVALUATED = [
    "100 / (args.cents - args.cents) > 3",
    "run.broken > 1",
    "args.missing == 1",
    "args.cents",
]


@LAWS
@given(
    bundles(),
    some_rule(("deny", "hold"), setting=False),
    st.sampled_from(CANNOT_BE_EVALUATED),
    some_call(),
)
def test_a_deny_or_hold_rule_that_cannot_be_evaluated_never_lets_a_call_run(
    rules: list[Rule], more: Rule, condition: str, asked: Asked
) -> None:
    changed = {"when": condition, "tools": (asked.tool.name,), "mode": "enforce", "limit": None}
    broken = other_id(rules, more).model_copy(update=changed)
    after = ask(asked, [*rules, broken])
    assert STRICTNESS[after.verdict] >= STRICTNESS[broken.decide]
    assert broken.id in after.failed


@LAWS
@given(bundles(), some_rule(("allow",)), st.sampled_from(CANNOT_BE_EVALUATED), some_call())
def test_an_allow_rule_that_cannot_be_evaluated_lets_nothing_run(
    rules: list[Rule], more: Rule, condition: str, asked: Asked
) -> None:
    changed = {"when": condition, "tools": (asked.tool.name,), "mode": "enforce"}
    broken = other_id(rules, more).model_copy(update=changed)
    before, after = ask(asked, rules), ask(asked, [*rules, broken])
    assert STRICTNESS[after.verdict] >= STRICTNESS[before.verdict]


@LAWS
@given(bundles(), some_rule(("hold", "allow")), st.sampled_from(CANNOT_BE_EVALUATED), some_call())
def test_a_rule_that_sets_arguments_and_cannot_be_evaluated_holds_the_call(
    rules: list[Rule], more: Rule, condition: str, asked: Asked
) -> None:
    changed = {
        "set": {"cents": condition if condition != "args.cents" else "run.broken"},
        "tools": (asked.tool.name,),
        "mode": "enforce",
        "when": None,
        "limit": None,
    }
    broken = other_id(rules, more).model_copy(update=changed)
    after = ask(asked, [*rules, broken])
    assert STRICTNESS[after.verdict] >= STRICTNESS["hold"]


@LAWS
@given(bundles(), some_rule(("deny", "hold"), setting=False), some_call())
def test_while_a_deny_or_hold_rule_waits_for_a_fact_nothing_runs(
    rules: list[Rule], more: Rule, asked: Asked
) -> None:
    changed = {
        "when": "run.score > 50",
        "tools": (asked.tool.name,),
        "mode": "enforce",
        "limit": None,
    }
    waiting = other_id(rules, more).model_copy(update=changed)
    unknown = replace(asked, facts={**asked.facts, "run.score": ("unknown", 0)})
    after = ask(unknown, [*rules, waiting])
    assert after.verdict != "allow"
    if after.verdict == "hold":
        assert "run.score" in after.awaiting
        assert 0 < after.wait_s <= waiting.defer_s


@LAWS
@given(bundles(), some_call(), st.sampled_from(sorted(OWN)))
def test_that_a_fact_is_unknown_or_cannot_be_had_never_lets_more_run_than_every_value_of_it(
    rules: list[Rule], asked: Asked, name: str
) -> None:
    """An absent fact must not be worth more than the best value that it could have."""
    assume(all(rule.decide != "allow" and not rule.set for rule in rules))
    unknown = ask(replace(asked, facts={**asked.facts, name: ("failing", None)}), rules)
    best = min(
        STRICTNESS[
            ask(replace(asked, facts={**asked.facts, name: ("known", value)}), rules).verdict
        ]
        for value in _values(name)
    )
    assert STRICTNESS[unknown.verdict] >= best


def _values(name: str) -> list[Any]:
    if name == "run.cleared":
        return [False, True]
    return [[], ["bob"], ["eve"]] if name == "run.names" else [-1, 0, 30, 100]


# --- what a decision always says ---------------------------------------------------------


@LAWS
@given(bundles(), some_call())
def test_a_decision_says_what_it_takes_and_about_which_arguments(
    rules: list[Rule], asked: Asked
) -> None:
    decision = ask(asked, rules)
    assert (decision.approve is not None) == (decision.verdict == "hold")
    assert bool(decision.awaiting) == (decision.wait_s > 0) or decision.verdict == "deny"
    assert not decision.awaiting or decision.verdict == "hold"
    assert asked.tool.complete(dict(decision.arguments)) == decision.arguments
    changed = {name for name, value in decision.arguments.items() if asked.arguments[name] != value}
    assert changed <= set(decision.settings)
    assert decision.reason
    told = {ref.id for name in ("rules", "considered", "shadow") for ref in getattr(decision, name)}
    covering = {rule.id for rule in rules if rule.covers(_seen(asked.tool))}
    assert told == covering
    assert ask(asked, rules) == decision


@LAWS
@given(bundles(), some_call())
def test_what_was_set_is_not_set_to_something_else_when_it_is_decided_again(
    rules: list[Rule], asked: Asked
) -> None:
    decision = ask(asked, rules)
    if decision.verdict == "allow" and decision.settings:
        again = ask(replace(asked, arguments=decision.arguments), rules)
        assert again.arguments == decision.arguments


# --- tools.yaml --------------------------------------------------------------------------

FIELDS = ["*", "body", "from", "messages[].text"]
raises = st.lists(
    st.builds(
        Raise,
        tools=st.lists(
            st.sampled_from([*SELECTORS, "label:egress", "effect:read"]), min_size=1
        ).map(tuple),
        effect=st.none() | st.sampled_from(EFFECTS),
        labels=st.lists(st.sampled_from(["egress", "reads_untrusted", "mine"])).map(tuple),
        untrusted=st.lists(st.sampled_from(FIELDS)).map(tuple),
    ),
    max_size=4,
)


@tool(effect="read", facts=["number"])
def read_facts() -> dict[str, int]:
    """Read."""
    return {"number": 1}


@LAWS
@given(raises, st.sampled_from([*TOOLS, read_facts]), st.data())
def test_what_tools_yaml_says_never_lowers_what_a_tool_says_of_itself(
    entries: list[Raise], one: Tool[..., Any], data: st.DataObject
) -> None:
    plain, seen = as_seen(one, ()), as_seen(one, entries)
    assert EFFECTS.index(effect_of(seen)) >= EFFECTS.index(effect_of(plain))
    assert seen.labels >= plain.labels
    for path in ("body", "from", "number", "messages[0].text", "", "else"):
        assert _outsiders_write(seen, path) or not _outsiders_write(plain, path)
    shuffled = data.draw(st.permutations(entries))
    assert as_seen(one, shuffled) == seen
    more = data.draw(raises)
    assert EFFECTS.index(as_seen(one, [*entries, *more]).effect) >= EFFECTS.index(seen.effect)


def _outsiders_write(seen: RaisedTool, path: str) -> bool:
    return _is_untrusted(a_decision("c", untrusted=tuple(seen.untrusted)), path)


@LAWS
@given(
    st.sampled_from(TOOLS),
    st.sampled_from([*EFFECTS, None]),
    st.sampled_from(["read", "write", "irreversible", "nonsense", None]),
)
def test_the_effect_a_tool_had_when_its_run_began_is_never_lowered_either(
    one: Tool[..., Any], raised: Any, then: str | None
) -> None:
    texts = {"rules.yaml": "rules: []\n"}
    if raised is not None:
        texts["tools.yaml"] = f"tools:\n  - {{tools: ['*'], effect: {raised}}}\n"
    try:
        policy = Policy.from_texts(texts, TOOLS)
    except PolicyError:
        return
    seen = policy.seen(one, effect_then=then)
    at_least = [
        one.effect,
        raised or "read",
        then if then in EFFECTS or then is None else "irreversible",
    ]
    assert EFFECTS.index(effect_of(seen)) == max(
        EFFECTS.index(effect) for effect in at_least if effect is not None
    )
