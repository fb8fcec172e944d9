from worlds import TOOLS, pay

from agentrt.policy import Decision, Known, Policy, Question, stated_fact
from agentrt.policy.cel import BOOL
from agentrt.policy.facts import History
from agentrt.tools import Tools

FACTS = (stated_fact("run.cleared", BOOL, about="Whether somebody looked at it."),)
WAITING = """\
rules:
  - id: a
    decide: hold
    tools: [pay]
    when: "!run.cleared"
    why: Not cleared.
    approve: {roles: [lead]}
    defer: 10m
  - id: b
    decide: hold
    tools: [pay]
    when: "!run.cleared"
    why: Nor here.
    approve: {quorum: 2}
    defer: 1m
"""
DENYING = """\
  - id: c
    decide: deny
    tools: [pay]
    when: args.cents > 5
    why: Too much.
"""


def ask(rules: str, cents: int) -> Decision:
    policy = Policy.from_texts({"rules.yaml": rules}, Tools(TOOLS).values(), facts=FACTS)
    known = Known(run=History.of(policy.needs.run))
    return policy.decide(Question(policy.seen(pay), {"payee": "bob", "cents": cents}, known))


def test_all_rules_that_wait_for_one_fact_hold_the_call_on_their_terms() -> None:
    decision = ask(WAITING, 1)
    assert (decision.verdict, decision.awaiting) == ("hold", ("run.cleared",))
    assert [rule.id for rule in decision.deciding] == ["a", "b"]
    assert decision.approve is not None
    assert (decision.approve.roles, decision.approve.quorum) == (("lead",), 2)
    assert decision.wait_s == 60


def test_a_rule_that_waits_is_recorded_where_another_denies() -> None:
    decision = ask(WAITING + DENYING, 6)
    assert (decision.verdict, decision.awaiting) == ("deny", ())
    assert [rule.id for rule in decision.rules] == ["c"]
    assert [rule.id for rule in decision.considered] == ["a", "b"]
