from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentrt.policy import Approve, Decision, Policy, Question, Rule
from agentrt.policy.bindings import Bindings
from agentrt.policy.decide import decide, decide_unknown
from agentrt.policy.rules import SEVERITIES
from agentrt.policy.vocabulary import Vocabulary


@dataclass(frozen=True)
class Spoken:
    """A tool, as far as a policy knows it."""

    name: str
    effect: str = "irreversible"
    labels: tuple[str, ...] = ()
    input_schema: Mapping[str, Any] = field(default_factory=dict, hash=False)


REFUND = Spoken("refund_payment")
READ = Spoken("read_file", "read")
WRITE = Spoken("write_file", "write")
MAIL = Spoken("send_mail", "irreversible", ("egress",))
TOOLS = [REFUND, READ, WRITE, MAIL]


def rule(decide: str, *tools: str, **more: Any) -> Rule:
    fields = {"id": f"{decide}-it", "decide": decide, "tools": tools, "why": f"We {decide}."}
    return Rule.model_validate(fields | more)


def ask(tool: Spoken, *rules: Rule, default_read: Any = "allow") -> Decision:
    bounds = Bindings(rules, Vocabulary()).of(tool)
    return decide(Question(tool), bounds=bounds, default_read=default_read, bundle="b" * 64)


# What a rule speaks of


@pytest.mark.parametrize(
    ("selector", "spoken_of"),
    [
        ("refund_payment", [REFUND]),
        ("*_file", [READ, WRITE]),
        ("READ_FILE", []),
        ("?end_mail", [MAIL]),
        ("effect:read", [READ]),
        ("effect:irreversible", [REFUND, MAIL]),
        ("label:egress", [MAIL]),
        ("label:*", []),
        ("other:read_file", []),
    ],
)
def test_a_rule_speaks_of_names_globs_effects_and_labels(
    selector: str, spoken_of: list[Spoken]
) -> None:
    assert [tool for tool in TOOLS if rule("deny", selector).covers(tool)] == spoken_of


def test_an_effect_nobody_knows_counts_as_irreversible() -> None:
    odd = Spoken("odd", "harmless, honestly")
    assert ask(odd).verdict == "hold"
    assert rule("deny", "effect:irreversible").covers(odd)
    assert not rule("allow", "o*").covers(odd)


@pytest.mark.parametrize("selector", ["*", "refund_*", "effect:irreversible", "label:egress"])
def test_only_its_exact_name_allows_an_irreversible_tool(selector: str) -> None:
    for tool in (REFUND, MAIL):
        assert ask(tool, rule("allow", selector)).verdict == "hold"
        assert ask(tool, rule("allow", selector, tool.name)).verdict == "allow"


# How rules come together


def test_deny_is_over_hold_is_over_allow() -> None:
    deny, hold, allow = (rule(verdict, READ.name) for verdict in ("deny", "hold", "allow"))
    assert ask(READ, allow, hold, deny).verdict == "deny"
    assert ask(READ, allow, hold).verdict == "hold"
    assert ask(READ, allow).verdict == "allow"


def test_a_decision_says_which_rules_matched_and_which_decided() -> None:
    decision = ask(READ, rule("allow", "*", id="a"), rule("hold", "*", id="c"), rule("hold", "*"))
    assert [ref.id for ref in decision.rules] == ["c", "hold-it", "a"]
    assert [ref.id for ref in decision.deciding] == ["c", "hold-it"]
    assert decision.basis == "rules"


def test_the_reason_is_the_why_of_the_deciding_rules() -> None:
    decision = ask(
        READ,
        rule("deny", "*", id="a", why="One."),
        rule("deny", "*", id="b", why="Two."),
        rule("hold", "*", why="Not this."),
    )
    assert decision.reason == "One. Two."


def test_the_reason_says_which_rule_would_have_allowed_it_had_it_been_evaluated() -> None:
    failing = rule("allow", WRITE.name, id="small", when="1 / (size(tool.labels) - 0) == 1")
    held = ask(WRITE, failing)
    assert (held.verdict, held.basis) == ("hold", "default")
    assert "(small, which would allow it, could not be evaluated: " in held.reason
    by_rule = ask(WRITE, failing, rule("hold", WRITE.name))
    assert by_rule.reason.startswith("We hold. (small, which would allow it, ")


def test_what_no_rule_speaks_of_is_held_unless_it_reads_and_reads_may_run() -> None:
    verdicts = [ask(tool).verdict for tool in (READ, WRITE, REFUND)]
    assert verdicts == ["allow", "hold", "hold"]
    assert ask(READ, default_read="hold").verdict == "hold"
    assert ask(WRITE).basis == "default"
    assert ask(WRITE).approve == Approve(roles=(), quorum=1, expires_s=86400, severity="medium")


def test_an_unknown_tool_is_denied() -> None:
    decision = decide_unknown("refnd", bundle="b" * 64)
    assert (decision.verdict, decision.basis, decision.approve) == ("deny", "unknown_tool", None)
    assert "refnd" in decision.reason


def test_holds_come_to_the_strictest() -> None:
    one = {
        "roles": ("lead",),
        "quorum": 3,
        "expires": "7d",
        "severity": "low",
        "reason": "required",
    }
    other = {"roles": ("legal",), "expires": "30m", "severity": "medium", "four_eyes": True}
    decision = ask(
        REFUND, rule("hold", "*", id="a", approve=one), rule("hold", "*", id="b", approve=other)
    )
    assert decision.approve == Approve(
        roles=("lead", "legal"),
        quorum=3,
        expires_s=1800,
        severity="medium",
        four_eyes=True,
        reason="required",
    )


@pytest.mark.parametrize(("tool", "severity"), [(READ, "low"), (WRITE, "medium"), (REFUND, "high")])
def test_severity_comes_from_the_effect_unless_it_is_said(tool: Spoken, severity: str) -> None:
    held = ask(tool, rule("hold", "*")).approve
    said = ask(tool, rule("hold", "*", approve={"severity": "critical"})).approve
    assert held is not None
    assert said is not None
    assert held.severity == severity
    assert (said.severity, said.quorum) == ("critical", 2)


def test_critical_never_has_a_quorum_below_two() -> None:
    with pytest.raises(ValidationError, match="at least 2"):
        Approve(severity="critical", quorum=1)


# The digest of what decided


def digest(*rules: Rule, tool: Spoken = REFUND) -> str:
    return ask(tool, *rules).rules_digest


def test_place_owner_and_review_date_change_no_digest() -> None:
    base = rule("hold", "refund_*", "send_*")
    moved = base.model_copy(
        update={"file": "z.yaml", "line": 9, "owner": "x", "review_by": date(2027, 1, 1)}
    )
    assert digest(base) == digest(moved)
    assert digest(base) == digest(rule("hold", "send_*", "refund_*"))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "other"},
        {"tools": ("refund_payment", "x")},
        {"why": "Otherwise."},
        {"approve": {"roles": ["lead"]}},
        {"approve": {"quorum": 2}},
        {"approve": {"expires": "1h"}},
        {"approve": {"severity": "low"}},
        {"approve": {"four_eyes": True}},
        {"approve": {"reason": "required"}},
    ],
)
def test_every_change_of_meaning_changes_the_digest(change: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"tools": ("refund_payment",)} | change
    if "approve" in fields:
        fields["approve"] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in fields["approve"].items()
        }
    base = rule("hold", "refund_payment")
    changed = rule("hold", *fields.pop("tools"), **fields)
    assert digest(base) != digest(changed)


def test_a_rule_that_did_not_decide_is_not_in_the_digest() -> None:
    deny = rule("deny", "refund_payment")
    assert digest(deny) == digest(deny, rule("hold", "*"), rule("allow", "refund_payment"))


def test_default_unknown_and_rules_have_different_digests() -> None:
    digests = {
        ask(READ).rules_digest,
        ask(READ, default_read="hold").rules_digest,
        ask(WRITE).rules_digest,
        ask(REFUND).rules_digest,
        ask(REFUND, rule("hold", "*")).rules_digest,
        decide_unknown("x", bundle="").rules_digest,
    }
    assert len(digests) == 6


# Laws

selectors = st.sampled_from(
    [
        *("refund_payment", "read_file", "write_file", "send_mail", "*", "*_file", "nothing"),
        *("effect:read", "effect:irreversible", "label:egress"),
    ]
)
approves = st.builds(
    Approve,
    roles=st.lists(st.sampled_from(["lead", "legal"]), max_size=2).map(tuple),
    severity=st.none() | st.sampled_from(SEVERITIES),
    quorum=st.integers(2, 5),
    expires_s=st.integers(1, 10**6),
    four_eyes=st.booleans(),
    reason=st.sampled_from(["optional", "required"]),
)


@st.composite
def some_rules(draw: st.DrawFn, verdicts: tuple[str, ...] = ("deny", "hold", "allow")) -> Rule:
    verdict = draw(st.sampled_from(verdicts))
    approve = {"approve": draw(approves)} if verdict == "hold" else {}
    tools = draw(st.lists(selectors, min_size=1, max_size=3))
    return rule(verdict, *tools, id=draw(st.from_regex(r"[a-z]{4}", fullmatch=True)), **approve)


bundles = st.lists(some_rules(), max_size=6, unique_by=lambda rule: rule.id)
tools = st.sampled_from(TOOLS)
STRICTNESS = {"allow": 0, "hold": 1, "deny": 2}


@given(bundles, some_rules(("deny", "hold")), tools)
def test_adding_a_deny_or_hold_rule_never_lets_more_run(
    rules: list[Rule], more: Rule, tool: Spoken
) -> None:
    before, after = ask(tool, *rules), ask(tool, *rules, more)
    assert STRICTNESS[after.verdict] >= STRICTNESS[before.verdict]


@given(bundles, some_rules(("hold",)), tools)
def test_adding_a_hold_rule_never_makes_an_asked_for_approval_easier(
    rules: list[Rule], more: Rule, tool: Spoken
) -> None:
    before, after = ask(tool, *rules), ask(tool, *rules, more)
    if before.basis != "rules" or before.approve is None or after.approve is None:
        return
    assert set(before.approve.roles) <= set(after.approve.roles)
    assert before.approve.quorum <= after.approve.quorum
    assert before.approve.expires_s >= after.approve.expires_s
    assert before.approve.four_eyes <= after.approve.four_eyes
    assert rank(before.approve) <= rank(after.approve)


def rank(approve: Approve) -> int:
    assert approve.severity is not None
    return SEVERITIES.index(approve.severity)


@given(bundles, some_rules(("allow",)), tools)
def test_adding_an_allow_rule_never_lets_run_what_was_denied_or_held_by_a_rule(
    rules: list[Rule], more: Rule, tool: Spoken
) -> None:
    before, after = ask(tool, *rules), ask(tool, *rules, more)
    if before.basis == "rules":
        assert after.verdict == before.verdict
        assert after.rules_digest == before.rules_digest or before.verdict == "allow"


@given(bundles.flatmap(lambda rules: st.tuples(st.just(rules), st.permutations(rules))), tools)
def test_the_order_of_rules_never_matters(
    orders: tuple[list[Rule], list[Rule]], tool: Spoken
) -> None:
    assert ask(tool, *orders[0]) == ask(tool, *orders[1])


@given(bundles, tools)
def test_nothing_irreversible_runs_unasked_without_its_exact_name_in_an_allow_rule(
    rules: list[Rule], tool: Spoken
) -> None:
    if ask(tool, *rules).verdict == "allow" and tool.effect == "irreversible":
        assert any(rule.decide == "allow" and tool.name in rule.tools for rule in rules)


@given(bundles, tools)
def test_a_held_call_always_says_what_an_approval_takes(rules: list[Rule], tool: Spoken) -> None:
    decision = ask(tool, *rules)
    assert (decision.approve is not None) == (decision.verdict == "hold")
    assert decision.approve is None or decision.approve.severity is not None
    assert decision.reason


@given(
    bundles,
    st.lists(st.sampled_from(["# a comment\n", "\n", "   # indented\n"]), min_size=12, max_size=12),
    st.booleans(),
    tools,
)
def test_comments_blank_lines_and_files_never_change_what_is_decided(
    rules: list[Rule], between: list[str], apart: bool, tool: Spoken
) -> None:
    plain = Policy.parse({"a.yaml": written(rules, [""] * 12)})
    noted = written(rules[::2], between), written(rules[1::2], between)
    spread = (
        {"b.yaml": noted[0], "c.yaml": noted[1]}
        if apart
        else {"b.yaml": written(rules[::-1], between)}
    )
    one, other = plain.decide(Question(tool)), Policy.parse(spread).decide(Question(tool))
    assert one.rules_digest == other.rules_digest
    assert plain.bundle != Policy.parse(spread).bundle
    assert placeless(one) == placeless(other)


def placeless(decision: Decision) -> Decision:
    ids = tuple(ref.model_copy(update={"file": "", "line": 0}) for ref in decision.rules)
    return replace(decision, rules=ids, deciding=ids[: len(decision.deciding)], bundle="")


def written(rules: list[Rule], between: list[str]) -> str:
    entries = [space + entry(rule) for rule, space in zip(rules, between, strict=False)]
    return "rules:\n" + "".join(entries) + between[-1] if rules else "rules: []\n"


def entry(rule: Rule) -> str:
    lines = [f"- id: '{rule.id}'", f"  decide: {rule.decide}", f"  why: {rule.why}"]
    lines.append(f"  tools: [{', '.join(repr(tool) for tool in rule.tools)}]")
    if rule.approve:
        lines.append(f"  approve: {{{terms(rule.approve)}}}")
    return "\n".join(lines) + "\n"


def terms(approve: Approve) -> str:
    said = f"roles: [{', '.join(approve.roles)}], quorum: {approve.quorum}"
    said += f", expires: {approve.expires_s}, four_eyes: {str(approve.four_eyes).lower()}"
    said += f", reason: {approve.reason}"
    return said + (f", severity: {approve.severity}" if approve.severity else "")
