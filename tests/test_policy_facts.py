"""Facts: what is counted, since when, what is taken back; and that it costs no more with time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from chance import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic_core import to_json
from worlds import AT, HOUR_MS, approved, asked, expired, rejected, replied, settled

from agentrt.approvals import histories as histories_file
from agentrt.approvals.histories import Histories
from agentrt.audit import AuditStore
from agentrt.errors import FactDefinitionError, ProjectError
from agentrt.events import (
    AnyEvent,
    CallDecided,
    CallExpired,
    CallFinished,
    CallRejected,
    CallStarted,
    FactStated,
    Record,
    RunCancelled,
    RunFailed,
)
from agentrt.policy import Fact, Policy, fact, stated_fact
from agentrt.policy.cel import BOOL, DOUBLE, INT, STRING, Failed, ListOf, Unknown
from agentrt.policy.facts import STANDARD_FACTS, DecidedCall, Facts, History
from agentrt.policy.facts.counted import Counted
from agentrt.policy.facts.discovery import discover_facts
from agentrt.policy.facts.fact import over_calls
from agentrt.policy.facts.tally import Tally
from agentrt.run import Run, ToolCall
from agentrt.tools import tool

RUN = "r_1"

# --- a stream of records, a line each ----------------------------------------------------


@dataclass
class Stream:
    """Records of some runs as they arrive, and a clock that a test moves."""

    now: int = AT
    records: list[Record] = field(default_factory=list)

    def tell(self, event: AnyEvent, run: str = RUN) -> None:
        self.records.append(Record(run, len(self.records) + 1, self.now, event, b"", b""))

    def decide(self, call: str, tool: str = "refund", **more: Any) -> None:
        run = more.pop("run", RUN)
        self.tell(a_decision(call, tool, **more), run)

    def start(self, call: str, run: str = RUN) -> None:
        self.tell(a_start(call), run)

    def finish(self, call: str, run: str = RUN) -> None:
        self.tell(a_finish(call), run)

    def run_through(self, call: str, tool: str = "refund", **more: Any) -> None:
        """A call that was allowed and ran."""
        self.decide(call, tool, **more)
        self.start(call)
        self.finish(call)

    def history(self, *facts: Fact) -> History:
        return History.of(Facts(facts)).fold(self.records)

    def value(self, of: Fact | str, *, at: int | None = None) -> Any:
        one = standard(of) if isinstance(of, str) else of
        return self.history(one).value(one.name, self.now if at is None else at)


def standard(name: str) -> Fact:
    return next(fact for fact in STANDARD_FACTS if fact.name == name)


def a_decision(call: str, tool: str = "refund", **more: Any) -> CallDecided:
    arguments = more.pop("arguments", {"cents": 5})
    fields: dict[str, Any] = {
        "call": call,
        "revision": 1,
        "tool": tool,
        "verdict": "allow",
        "basis": "rules",
        "rules_digest": "c" * 64,
        "bundle": "b" * 64,
        "effect": "write",
        "repeatable": False,
        "tool_digest": "e" * 64,
        "arguments_digest": "a" * 64,
        "arguments": to_json(arguments),
        "reason": "a rule says so",
    }
    return CallDecided.model_validate(fields | more)


def a_start(call: str) -> CallStarted:
    return CallStarted(
        call=call,
        revision=1,
        attempt=1,
        key="k",
        process="p",
        deadline_at=AT,
        arguments_digest="a" * 64,
        tool_digest="e" * 64,
        bundle="b" * 64,
    )


def a_finish(call: str, outcome: Any = "ok") -> CallFinished:
    return CallFinished(call=call, attempt=1, outcome=outcome, duration_ms=1, result="done")


def of_call(event: Callable[..., Any], call: str, **more: Any) -> Any:
    """An event of `worlds` for a call that nothing else is known of."""
    return event(ToolCall(call, "refund", "t", 1, 0, b"{}", 1, AT), **more)


CANCELLED = RunCancelled(by="ana", by_ref="ref", reason="enough")
FAILED = RunFailed(code="overloaded", message="busy")

CENTS = over_calls(
    "user.cents",
    lambda call: call.arguments.get("cents"),
    about="Cents.",
    collect="sum",
    within=timedelta(hours=1),
)
EVER = over_calls("run.cents", lambda call: call.arguments.get("cents"), about="x", collect="sum")
PAYMENTS = over_calls(
    "run.paid", lambda call: call.arguments.get("to"), about="x", collect="list", item=STRING
)

# --- when a call counts ------------------------------------------------------------------


def test_a_call_counts_once_it_is_allowed_or_held_and_not_when_it_is_denied() -> None:
    for verdict, counts in (("allow", 1), ("hold", 1), ("deny", 0)):
        stream = Stream()
        stream.decide("c", verdict=verdict)
        assert stream.value("run.calls") == counts


@pytest.mark.parametrize("refusal", [rejected, expired])
def test_a_refused_call_gives_back_what_it_counted_for(refusal: Callable[..., Any]) -> None:
    stream = Stream()
    stream.decide("c", verdict="hold")
    stream.decide("d", verdict="hold")
    stream.tell(of_call(refusal, "c"))
    assert stream.value("run.calls") == 1
    assert stream.value(EVER) == 5


@pytest.mark.parametrize("end", [CANCELLED, FAILED])
def test_what_had_not_started_when_its_run_was_over_gives_back_what_it_counted_for(
    end: AnyEvent,
) -> None:
    stream = Stream()
    stream.decide("held", verdict="hold")
    stream.decide("begun")
    stream.start("begun")
    stream.decide("other", run="r_2")
    stream.tell(end)
    assert stream.value("run.calls") == 2


def test_a_call_that_ran_counts_for_good_whatever_came_of_it() -> None:
    stream = Stream()
    stream.run_through("c")
    stream.decide("d")
    stream.start("d")
    stream.tell(a_finish("d", "error"))
    stream.tell(of_call(rejected, "c"))
    stream.tell(CANCELLED)
    assert stream.value("run.calls") == 2


def test_another_decision_on_a_call_takes_the_place_of_the_one_before() -> None:
    stream = Stream()
    stream.decide("c", arguments={"cents": 5})
    stream.decide("c", arguments={"cents": 7}, revision=2)
    assert (stream.value("run.calls"), stream.value(EVER)) == (1, 7)
    stream.decide("c", verdict="deny", revision=3)
    assert (stream.value("run.calls"), stream.value(EVER)) == (0, 0)


def test_a_second_attempt_counts_as_one_call() -> None:
    stream = Stream()
    stream.decide("c")
    stream.start("c")
    stream.tell(of_call(settled, "c", happened=False))
    assert stream.value(EVER) == 5
    stream.decide("c", revision=2, verdict="hold")
    stream.tell(of_call(approved, "c"))
    stream.start("c")
    stream.finish("c")
    assert (stream.value("run.calls"), stream.value(EVER)) == (1, 5)


def test_a_second_attempt_that_is_refused_does_not_count() -> None:
    stream = Stream()
    stream.decide("c")
    stream.start("c")
    stream.tell(of_call(settled, "c", happened=False))
    stream.decide("c", revision=2, verdict="deny")
    assert (stream.value("run.calls"), stream.value(EVER)) == (0, 0)


def test_what_was_said_not_to_have_happened_and_did_counts_after_all() -> None:
    stream = Stream()
    stream.decide("c")
    stream.start("c")
    stream.tell(of_call(settled, "c", happened=False))
    stream.decide("c", revision=2, verdict="hold")
    stream.finish("c")
    stream.tell(of_call(rejected, "c"))
    assert stream.value("run.calls") == 1


# --- when it counts as of ----------------------------------------------------------------


def test_within_a_time_a_call_counts_as_of_its_decision_until_it_starts() -> None:
    stream = Stream()
    stream.decide("c", verdict="hold")
    assert stream.value(CENTS, at=AT + HOUR_MS - 1) == 5
    assert stream.value(CENTS, at=AT + HOUR_MS) == 0


def test_within_a_time_a_call_that_waited_long_counts_as_of_its_start() -> None:
    """What was asked for two hours ago and approved just now is done now."""
    stream = Stream()
    stream.decide("c", verdict="hold")
    stream.now += 2 * HOUR_MS
    stream.tell(of_call(approved, "c"))
    stream.start("c")
    assert stream.value(CENTS) == 5
    assert stream.value(CENTS, at=AT + 3 * HOUR_MS) == 0


def test_an_hour_ends_with_its_millisecond() -> None:
    stream = Stream()
    stream.run_through("c")
    assert stream.value("user.calls_1h", at=AT + HOUR_MS - 1) == 1
    assert stream.value("user.calls_1h", at=AT + HOUR_MS) == 0


# --- sums --------------------------------------------------------------------------------


def test_a_huge_amount_that_is_taken_back_leaves_the_small_ones() -> None:
    """Rounded sums would forget what was spent: 90 + 1e300 - 1e300."""
    dollars = over_calls("user.usd", lambda c: c.arguments["usd"], about="x", collect="sum")
    stream = Stream()
    stream.run_through("small", arguments={"usd": 90.25})
    stream.decide("huge", arguments={"usd": 1e300})
    stream.start("huge")
    assert stream.value(dollars) == int(Decimal("1e300")) + 90
    stream.tell(of_call(settled, "huge", happened=False))
    stream.decide("huge", arguments={"usd": 1e300}, verdict="deny", revision=2)
    assert stream.history(dollars).states[0].since(None) == Decimal("90.25")


amounts = st.integers(-(2**63), 2**63) | st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=6
)
huge = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: Decimal(str(value)))


@given(st.lists(st.tuples(st.integers(0, 9), amounts | huge), max_size=20), st.data())
def test_a_tally_since_any_moment_is_the_exact_sum_of_what_came_after_it(
    entries: list[tuple[int, Any]], data: st.DataObject
) -> None:
    entries.sort(key=lambda entry: entry[0])
    tally = Tally()
    for at, amount in entries:
        tally = tally.plus(amount, at=at)
    indexes = st.sampled_from(range(len(entries))) if entries else st.nothing()
    gone = data.draw(st.sets(indexes)) if entries else set()
    for index in gone:
        tally = tally.minus(entries[index][1], added_at=entries[index][0], at=10)
    kept = [entry for index, entry in enumerate(entries) if index not in gone]
    for moment in (None, *range(-1, 11)):
        expected = [amount for at, amount in kept if moment is None or at > moment]
        assert as_fraction(tally.since(moment)) == sum(map(as_fraction, expected))


def as_fraction(amount: Any) -> Any:
    from fractions import Fraction

    return Fraction(amount)


def test_a_list_holds_each_item_once_and_loses_what_was_refused() -> None:
    stream = Stream()
    for call, to in (("a", "ana"), ("b", "bob"), ("c", "ana"), ("d", "dan")):
        stream.decide(call, arguments={"to": to}, verdict="hold")
    assert stream.value(PAYMENTS) == ["ana", "bob", "dan"]
    stream.tell(of_call(rejected, "a"))
    stream.tell(of_call(rejected, "d"))
    assert sorted(stream.value(PAYMENTS)) == ["ana", "bob"]


def test_a_call_that_gives_nothing_is_not_in_a_list() -> None:
    stream = Stream()
    stream.decide("c", arguments={})
    assert stream.value(PAYMENTS) == []


# --- the standard facts ------------------------------------------------------------------


def test_every_standard_fact_has_a_name_a_type_and_a_sentence_about_it() -> None:
    for each in STANDARD_FACTS:
        assert each.about.endswith(".")
        assert each.scope in ("run", "user")
    assert len({each.name for each in STANDARD_FACTS}) == len(STANDARD_FACTS)


def test_before_anything_happened_every_standard_fact_has_a_value() -> None:
    values = {each.name: Stream().value(each.name) for each in STANDARD_FACTS}
    assert values == {
        "run.calls": 0,
        "run.calls_of": {},
        "run.tools_used": [],
        "run.turn": 0,
        "run.spend_usd": 0.0,
        "run.read_untrusted": False,
        "run.read_private": False,
        "user.calls_1h": 0,
        "user.spend_24h_usd": 0.0,
        "user.holds_rejected_24h": 0,
    }


def test_calls_are_counted_for_each_tool_and_zero_for_one_without() -> None:
    stream = Stream()
    for call, name in (("a", "mail"), ("b", "refund"), ("c", "mail")):
        stream.decide(call, name)
    counts = stream.value("run.calls_of")
    assert (counts["mail"], counts["refund"], counts["nothing"]) == (2, 1, 0)
    assert "nothing" in counts
    assert stream.value("run.tools_used") == ["mail", "refund"]
    stream.tell(of_call(rejected, "b"))
    assert stream.value("run.tools_used") == ["mail"]


def test_the_turn_is_that_of_the_last_request() -> None:
    stream = Stream()
    for turn in (1, 1, 2):
        stream.tell(asked(turn))
    assert stream.value("run.turn") == 2


def test_the_spend_is_what_replies_cost_and_unknown_is_never_zero() -> None:
    stream = Stream()
    for cost in ("0.10", "0.20"):
        stream.tell(replied().model_copy(update={"cost_usd": cost}))
    assert stream.value("run.spend_usd") == 0.3
    stream.tell(replied().model_copy(update={"cost_usd": None}))
    with pytest.raises(Failed, match="price is not known"):
        stream.value("run.spend_usd")


def test_the_spend_of_a_day_forgets_what_is_older_and_so_an_unknown_price() -> None:
    stream = Stream()
    stream.tell(replied().model_copy(update={"cost_usd": None}))
    stream.now += HOUR_MS
    stream.tell(replied().model_copy(update={"cost_usd": "0.25"}))
    with pytest.raises(Failed):
        stream.value("user.spend_24h_usd", at=AT + 24 * HOUR_MS - 1)
    assert stream.value("user.spend_24h_usd", at=AT + 24 * HOUR_MS) == 0.25
    assert stream.value("user.spend_24h_usd", at=AT + 25 * HOUR_MS) == 0


@pytest.mark.parametrize(
    ("name", "labels", "untrusted"),
    [
        ("run.read_untrusted", ("reads_untrusted",), ()),
        ("run.read_untrusted", (), ("body",)),
        ("run.read_private", ("reads_private",), ()),
    ],
)
def test_something_was_read_once_a_tool_that_reads_it_has_started(
    name: str, labels: tuple[str, ...], untrusted: tuple[str, ...]
) -> None:
    stream = Stream()
    stream.decide("c", "read_mail", labels=labels, untrusted=untrusted)
    assert stream.value(name) is False
    stream.start("c")
    assert stream.value(name) is True
    stream.tell(CANCELLED)
    assert stream.value(name) is True


def test_a_tool_without_the_label_reads_nothing_untrusted_or_private() -> None:
    stream = Stream()
    stream.run_through("c", "read_mail", labels=("egress",))
    assert not stream.value("run.read_untrusted")
    assert not stream.value("run.read_private")


def test_rejections_of_a_day_are_counted_and_not_expiries() -> None:
    stream = Stream()
    for call, answer in (("a", rejected), ("b", rejected), ("c", expired)):
        stream.decide(call, verdict="hold")
        stream.tell(of_call(answer, call))
    assert stream.value("user.holds_rejected_24h", at=AT + 24 * HOUR_MS - 1) == 2
    assert stream.value("user.holds_rejected_24h", at=AT + 24 * HOUR_MS) == 0


# --- a project's own ---------------------------------------------------------------------


def test_a_function_of_a_call_is_a_list_of_what_it_gives() -> None:
    @fact("run.refunded")
    def refunded(call: DecidedCall) -> str | None:
        """Payments that were refunded."""
        return call.arguments["payment"] if call.tool == "refund" else None

    assert (refunded.name, str(refunded.type)) == ("run.refunded", "list(string)")
    assert refunded.about == "Payments that were refunded."
    assert 'call.arguments["payment"]' in refunded.source
    stream = Stream()
    stream.decide("a", "refund", arguments={"payment": "p1"})
    stream.decide("b", "mail", arguments={"to": "ana"})
    assert stream.value(refunded) == ["p1"]


def test_a_function_of_a_call_can_be_a_sum_a_count_or_a_question() -> None:
    @fact("run.cents", collect="sum")
    def cents(call: DecidedCall) -> int | None:
        """Cents."""
        return call.arguments.get("cents")

    @fact("run.usd", collect="sum")
    def usd(call: DecidedCall) -> float:
        """Dollars."""
        return float(call.arguments.get("usd", 0))

    @fact("user.large", collect="count", within=timedelta(hours=1))
    def large(call: DecidedCall) -> bool:
        """Large ones."""
        return int(call.arguments.get("cents", 0)) > 10

    @fact("run.any_large", collect="any")
    def any_large(call: DecidedCall) -> bool:
        """Whether one is large."""
        return int(call.arguments.get("cents", 0)) > 10

    assert [each.type for each in (cents, usd, large, any_large)] == [INT, DOUBLE, INT, BOOL]
    stream = Stream()
    stream.decide("a", arguments={"cents": 5, "usd": 0.1})
    stream.decide("b", arguments={"cents": 50, "usd": 0.2})
    assert [stream.value(each) for each in (cents, usd, large, any_large)] == [55, 0.3, 1, True]
    assert stream.value(large, at=AT + HOUR_MS) == 0


def no_docstring(call: DecidedCall) -> str | None:
    return None


def of_no_type(call: DecidedCall):  # type: ignore[no-untyped-def]
    """x"""


def of_many(call: DecidedCall) -> int | str:
    """x"""
    return 1


def of_text(call: DecidedCall) -> str:
    """x"""
    return ""


@pytest.mark.parametrize(
    ("function", "collect", "said"),
    [
        (no_docstring, "list", "has no docstring"),
        (of_no_type, "list", "annotate what it returns"),
        (of_many, "list", "annotate what it returns"),
        (of_text, "sum", "one of int, float"),
        (eval("lambda call: 1"), "count", "no docstring"),
    ],
)
def test_a_function_that_is_no_fact_is_refused(function: Any, collect: Any, said: str) -> None:
    with pytest.raises(FactDefinitionError, match=said):
        fact("run.x", collect=collect)(function)


def test_a_function_whose_code_cannot_be_read_is_refused() -> None:
    names: dict[str, Any] = {}
    exec("def f(call) -> int:\n    'x'\n    return 1\n", names)
    with pytest.raises(FactDefinitionError, match="define it in a file"):
        fact("run.x")(names["f"])


def test_a_function_that_breaks_makes_its_fact_unanswerable_and_no_other() -> None:
    def breaks(call: DecidedCall) -> int:
        """x"""
        raise KeyError(call.arguments["cents"])

    broken = over_calls("run.broken", breaks, about="x", collect="sum")
    stream = Stream()
    stream.decide("c", arguments={"cents": 13})
    history = stream.history(broken, EVER)
    with pytest.raises(Failed, match=r"run\.broken could not be folded: KeyError at record 1"):
        history.value("run.broken", AT)
    assert history.value("run.cents", AT) == 13
    assert history.without(RUN, "c", at=AT).value("run.cents", AT) == 0
    with pytest.raises(Failed):
        history.at_start(RUN, "c", at=AT).value("run.broken", AT)


OWN = '''
from agentrt.policy import DecidedCall, fact

@fact("run.refunded")
def refunded(call: DecidedCall) -> str | None:
    """Payments."""
    return call.arguments.get("to")
'''


def test_the_code_of_a_fact_is_part_of_the_policy(tmp_path: Path) -> None:
    def bundle(text: str, name: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "facts.py").write_text(text)
        return Policy.from_texts({"a.yaml": "rules: []"}, [], facts=discover_facts(folder)).bundle

    same = bundle(OWN, "a"), bundle(OWN, "b")
    assert same[0] == same[1]
    assert bundle(OWN.replace('get("to")', 'get("payee")'), "c") != same[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN.replace("    return", "    retrun"), "facts.py:7"),
        (OWN + "FACTS = [1]\n", "list of facts, but has 1"),
        (OWN.replace('"""Payments."""', "pass"), "has no docstring"),
    ],
)
def test_a_file_of_facts_that_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "facts.py").write_text(text)
    with pytest.raises((FactDefinitionError, ProjectError), match=said) as error:
        discover_facts(tmp_path)
    assert "facts.py" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        OWN.replace("run.refunded", "run.calls"),
        OWN + OWN.replace("def refunded", "def again"),
        OWN.replace("run.refunded", "user.name"),
    ],
)
def test_two_facts_of_one_name_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "facts.py").write_text(text)
    with pytest.raises(FactDefinitionError, match="already"):
        Policy.from_texts({"a.yaml": "rules: []"}, [], facts=discover_facts(tmp_path))


@pytest.mark.parametrize("name", ["run.Calls", "calls", "run.", "tenant.x", "run.a.b", "run.agent"])
def test_a_fact_needs_a_name_that_is_free_and_speaks_of_a_run_or_a_user(name: str) -> None:
    with pytest.raises(FactDefinitionError):
        Policy.from_texts({"a.yaml": "rules: []"}, [], facts=[stated_fact(name, BOOL, about="x")])


# --- stated ------------------------------------------------------------------------------


def stated(name: str, value: Any) -> FactStated:
    return FactStated(name=name, by="ana", by_ref="ref", value=to_json(value))


def test_a_stated_fact_is_unknown_until_somebody_states_it_and_then_what_was_said_last() -> None:
    score = stated_fact("run.score", INT, about="x")
    stream = Stream()
    with pytest.raises(Unknown, match=r"run\.score"):
        stream.value(score)
    stream.tell(stated("run.other", 1))
    with pytest.raises(Unknown):
        stream.value(score)
    stream.tell(stated("run.score", 7))
    stream.tell(stated("run.score", 8))
    assert stream.value(score) == 8


@pytest.mark.parametrize("value", ["7", True, None, [7], 7.5, 2**63, {}])
def test_a_statement_of_another_type_is_refused_and_fails_when_it_is_there_all_the_same(
    value: Any,
) -> None:
    score = stated_fact("run.score", INT, about="x")
    assert score.refuses is not None
    assert score.refuses(to_json(value)) is not None
    stream = Stream()
    stream.tell(stated("run.score", value))
    with pytest.raises(Failed):
        stream.value(score)


def test_a_stated_fact_can_be_of_any_type_that_a_condition_can_read() -> None:
    names = stated_fact("run.names", ListOf(STRING), about="x")
    assert names.refuses is not None
    assert names.refuses(b'["a"]') is None
    assert names.refuses(b"[1]") is not None
    stream = Stream()
    stream.tell(stated("run.names", ["a", "b"]))
    assert stream.value(names) == ["a", "b"]


# --- what a call is judged by ------------------------------------------------------------


def test_a_call_is_judged_by_what_others_did() -> None:
    stream = Stream()
    stream.decide("a")
    stream.decide("b", verdict="hold")
    history = stream.history(EVER, PAYMENTS)
    assert history.without(RUN, "a", at=AT).value("run.cents", AT) == 5
    assert history.without(RUN, "c", at=AT).value("run.cents", AT) == 10


def test_a_call_that_starts_is_judged_by_those_before_it_and_by_what_was_done_since() -> None:
    stream = Stream()
    stream.decide("before", arguments={"cents": 1})
    stream.decide("this", arguments={"cents": 10})
    stream.decide("waits", arguments={"cents": 100}, verdict="hold")
    stream.decide("done", arguments={"cents": 1000})
    stream.start("done")
    starting = stream.history(EVER).at_start(RUN, "this", at=AT)
    assert starting.value("run.cents", AT) == 1001
    assert stream.history(EVER).without(RUN, "this", at=AT).value("run.cents", AT) == 1101


def test_a_call_that_was_decided_anew_comes_after_those_that_were_decided_meanwhile() -> None:
    stream = Stream()
    stream.decide("this")
    stream.decide("other")
    stream.decide("this", revision=2)
    assert stream.history(EVER).at_start(RUN, "this", at=AT).value("run.cents", AT) == 5


def test_a_call_of_which_nothing_is_known_is_judged_by_everything_when_it_starts() -> None:
    stream = Stream()
    stream.decide("other")
    assert stream.history(EVER).at_start(RUN, "this", at=AT).value("run.cents", AT) == 5


# --- a state machine: the same as counting it all again ----------------------------------

TOOLS = ("mail", "refund")
RUNS = ("r_1", "r_2")


def naively(records: Sequence[Record], call: str) -> tuple[int, DecidedCall] | None:
    """As of when a call counts and for what, looked up in all records; None: it does not."""
    at: int | None = None
    begun, decided = False, None
    for record in records:
        event = record.event
        own = getattr(event, "call", None) == call
        match event:
            case CallDecided() if own:
                decided, begun = DecidedCall(record, event), False
                at = None if event.verdict == "deny" else record.at
            case CallStarted() if own and at is not None and not begun:
                at, begun = record.at, True
            case CallRejected() | CallExpired() if own:
                at = None
            case RunCancelled() | RunFailed() if decided and decided.record.run == record.run:
                at = at if begun else None
            case _:
                pass
    return None if at is None or decided is None else (at, decided)


class Counting(RuleBasedStateMachine):
    """Runs of one user, in which calls are decided, refused, started and settled at random."""

    @initialize()
    def begin(self) -> None:
        self.stream = Stream()
        self.status: dict[str, str] = {}
        self.run_of: dict[str, str] = {}
        self.over: set[str] = set()
        self.facts = (CENTS, EVER, PAYMENTS, *map(standard, ("run.calls_of", "user.calls_1h")))
        self.history = History.of(Facts(self.facts))

    def tell(self, event: AnyEvent, run: str) -> None:
        self.stream.tell(event, run)
        self.history = self.history.evolve(self.stream.records[-1])

    def some(self, data: st.DataObject, *status: str) -> str:
        fitting = [call for call, stands in self.status.items() if stands in status]
        return data.draw(st.sampled_from(fitting))

    def any_are(self, *status: str) -> bool:
        return any(stands in status for stands in self.status.values())

    @rule(ms=st.sampled_from([0, 1, HOUR_MS // 2, HOUR_MS - 1, HOUR_MS]))
    def time_passes(self, ms: int) -> None:
        self.stream.now += ms

    @precondition(lambda self: len(self.over) < len(RUNS))
    @rule(
        data=st.data(),
        verdict=st.sampled_from(["allow", "hold", "deny"]),
        tool=st.sampled_from(TOOLS),
        cents=st.none() | st.integers(-5, 10**6),
        to=st.none() | st.sampled_from("abc"),
    )
    def decide(self, data: st.DataObject, verdict: str, tool: str, cents: Any, to: Any) -> None:
        run = data.draw(st.sampled_from([run for run in RUNS if run not in self.over]))
        call = f"c_{len(self.status)}"
        self.run_of[call] = run
        self._decide(call, verdict, tool, {"cents": cents, "to": to})

    @precondition(lambda self: self.any_are("open", "undone"))
    @rule(data=st.data(), verdict=st.sampled_from(["allow", "hold", "deny"]))
    def decide_again(self, data: st.DataObject, verdict: str) -> None:
        call = self.some(data, "open", "undone")
        self._decide(call, verdict, "mail", {"cents": 3, "to": "z"})

    def _decide(self, call: str, verdict: str, tool: str, arguments: dict[str, Any]) -> None:
        given = {name: value for name, value in arguments.items() if value is not None}
        self.tell(a_decision(call, tool, verdict=verdict, arguments=given), self.run_of[call])
        self.status[call] = "refused" if verdict == "deny" else "open"

    @precondition(lambda self: self.any_are("open"))
    @rule(data=st.data(), refusal=st.sampled_from([rejected, expired]))
    def refuse(self, data: st.DataObject, refusal: Callable[..., Any]) -> None:
        call = self.some(data, "open")
        self.tell(of_call(refusal, call), self.run_of[call])
        self.status[call] = "refused"

    @precondition(lambda self: self.any_are("open"))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        call = self.some(data, "open")
        self.tell(a_start(call), self.run_of[call])
        self.status[call] = "started"

    @precondition(lambda self: self.any_are("started"))
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "error"]))
    def finish(self, data: st.DataObject, outcome: str) -> None:
        call = self.some(data, "started")
        self.tell(a_finish(call, outcome), self.run_of[call])
        self.status[call] = "finished"

    @precondition(lambda self: self.any_are("started"))
    @rule(data=st.data(), happened=st.booleans())
    def settle(self, data: st.DataObject, happened: bool) -> None:
        call = self.some(data, "started")
        self.tell(of_call(settled, call, happened=happened), self.run_of[call])
        self.status[call] = "finished" if happened else "undone"

    @precondition(lambda self: len(self.over) < len(RUNS))
    @rule(data=st.data(), end=st.sampled_from([CANCELLED, FAILED]))
    def end_run(self, data: st.DataObject, end: AnyEvent) -> None:
        run = data.draw(st.sampled_from([run for run in RUNS if run not in self.over]))
        self.over.add(run)
        self.tell(end, run)
        for call, stands in self.status.items():
            if self.run_of[call] == run and stands in ("open", "undone"):
                self.status[call] = "over"

    def counted(self, since: int | None, without: str = "") -> Iterator[DecidedCall]:
        for call in self.status:
            counts = naively(self.stream.records, call) if call != without else None
            if counts is not None and (since is None or counts[0] > since):
                yield counts[1]

    def check(self, history: History, without: str = "") -> None:
        now = self.stream.now
        ever, hour = (list(self.counted(since, without)) for since in (None, now - HOUR_MS))
        values = {each.name: history.value(each.name, now) for each in self.facts}
        assert values["run.cents"] == sum(call.arguments.get("cents", 0) for call in ever)
        assert values["user.cents"] == sum(call.arguments.get("cents", 0) for call in hour)
        assert values["user.calls_1h"] == len(hour)
        assert sorted(values["run.paid"]) == sorted(
            {call.arguments["to"] for call in ever if "to" in call.arguments}
        )
        for name in TOOLS:
            assert values["run.calls_of"][name] == sum(call.tool == name for call in ever)

    @invariant()
    def what_was_folded_is_what_counting_again_gives(self) -> None:
        if hasattr(self, "history"):
            self.check(self.history)

    @invariant()
    def without_a_call_it_is_what_the_others_give(self) -> None:
        for call in [
            call for call, stands in getattr(self, "status", {}).items() if stands == "open"
        ]:
            self.check(self.history.without(self.run_of[call], call, at=self.stream.now), call)

    @invariant()
    def what_is_over_is_no_burden(self) -> None:
        for state in getattr(self, "history", History.of(Facts(()))).states:
            open_ones = sum(stands == "open" for stands in self.status.values())
            assert len(state.reserved) <= open_ones


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=examples(60), stateful_step_count=25, deadline=None)


def in_order_of_a_call(steps: list[tuple[int, str, str]]) -> Iterator[tuple[int, str, str]]:
    """Those steps that a store can hold: nothing starts undecided or finishes unstarted."""
    follows = {
        "decide": {"", "decide", "start", "finish"},
        "start": {"decide"},
        "finish": {"start"},
    }
    last: dict[str, str] = {}
    for at, call, step in steps:
        if last.get(call, "") in follows[step]:
            last[call] = step
            yield at, call, step


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3 * HOUR_MS),
            st.sampled_from("abc"),
            st.sampled_from(["decide", "start", "finish"]),
        ),
        max_size=20,
    )
)
def test_a_clock_that_goes_back_never_makes_a_call_count_for_a_shorter_time(
    steps: list[tuple[int, str, str]],
) -> None:
    """Records of several processes arrive in an order that is not that of their clocks."""
    stream = Stream()
    for ahead_ms, call, step in in_order_of_a_call(steps):
        stream.now = AT + ahead_ms
        getattr(stream, step)(call)
    now = AT + 3 * HOUR_MS
    counted = [naively(stream.records, call) for call in "abc"]
    at_least = sum(counts is not None and counts[0] > now - HOUR_MS for counts in counted)
    assert stream.value("user.calls_1h", at=now) >= at_least


# --- what it costs -----------------------------------------------------------------------


def operations(work: Callable[[], Any]) -> int:
    """How many functions are called in `work`, ours and those of the interpreter."""
    counted = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


MANY = 20_000


@pytest.fixture(scope="module")
def grown() -> Callable[[int], tuple[History, Record]]:
    """A history of so many calls that ran, and one more decision."""
    every = (CENTS, EVER, *STANDARD_FACTS)

    def grow(count: int) -> tuple[History, Record]:
        stream = Stream()
        for index in range(count):
            stream.run_through(f"c_{index}")
            stream.now += 1
        stream.decide("next")
        return History.of(Facts(every)).fold(stream.records[:-1]), stream.records[-1]

    return grow


def test_a_decision_takes_no_more_steps_after_many_calls_than_after_few(
    grown: Callable[[int], tuple[History, Record]],
) -> None:
    def decide(history: History, record: Record) -> Callable[[], None]:
        def work() -> None:
            judged = history.without(RUN, "next", at=AT + MANY)
            for each in history.facts.all:
                judged.value(each.name, AT + MANY)
            history.evolve(record).at_start(RUN, "next", at=AT + MANY)

        return work

    few, many = grown(20), grown(MANY)
    for history, _ in (few, many):  # what is over leaves no entry that each step would copy
        counting = [state for state in history.states if isinstance(state, Counted)]
        assert len(counting) >= 6
        assert not any(state.reserved or state.begun for state in counting)
    once, often = operations(decide(*few)), operations(decide(*many))
    # A place in a list is found by halving it.
    assert often - once < 40 * len(few[0].facts.all)
    assert once > 50


@tool(effect="write")
def refund(to: str, cents: int) -> str:
    """Refund."""
    return to + str(cents)


LIMITED = """
rules:
  - id: cap
    decide: deny
    tools: [refund]
    limit: {calls: 1000000, per: [user], within: 24h}
    why: Enough.
"""


def limited() -> Policy:
    return Policy.from_texts({"rules.yaml": LIMITED}, (refund,))


class Reading:
    """A store that notes how many records were read of it."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self.read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def records_since(self, *arguments: Any, **options: Any) -> Any:
        place, records = self._store.records_since(*arguments, **options)
        self.read += len(records)
        return place, records


async def a_run(store: AuditStore, id: str, *calls: str, user: str = "mona") -> Run:
    """A run of a user in which calls were allowed, started and finished."""
    from worlds import started

    run = await store.append(Run(id), [started(user_ref=user)])
    events = [event(call) for call in calls for event in (a_decision, a_start, a_finish)]
    return await store.append(run, events) if events else run


async def test_a_process_reads_each_record_of_a_user_once(store: AuditStore) -> None:
    reading = Reading(store)
    histories = Histories(reading, limited())  # type: ignore[arg-type]
    run = await a_run(store, "r_1", "c_1", "c_2")
    call = ToolCall("c_9", "refund", "t", 1, 0, b"{}", 1, AT)
    now = store.clock()
    assert histories.known(run, call, at=now).spent("cap", ("user",), "refund") == 2
    assert reading.read == 6
    for _ in range(3):
        histories.known(run, call, at=now)
    assert reading.read == 6
    await a_run(store, "r_2", "c_3")
    await a_run(store, "r_3", "c_4", user="eve")
    assert histories.known(run, call, at=now).spent("cap", ("user",), "refund") == 3
    assert reading.read == 9


async def test_a_history_that_grew_long_is_read_anew_once_and_not_at_every_decision(
    store: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories_file, "KEPT_MAX", 5)
    reading = Reading(store)
    histories = Histories(reading, limited())  # type: ignore[arg-type]
    run = await a_run(store, "r_1", *(f"c_{index}" for index in range(10)))
    call = ToolCall("c_99", "refund", "t", 1, 0, b"{}", 1, AT)
    for _ in range(5):
        histories.known(run, call, at=store.clock())
    assert reading.read == 30
    await a_run(store, "r_2", "c_20", "c_21")
    for _ in range(3):
        known = histories.known(run, call, at=store.clock())
    assert known.spent("cap", ("user",), "refund") == 12
    assert reading.read == 30 + 6 + 36


@pytest.mark.parametrize("seen_before", [False, True])
async def test_a_new_process_counts_what_was_asked_for_long_ago_and_started_just_now(
    tmp_path: Path, seen_before: bool
) -> None:
    """It reads back no further than its limits look, and the decision lies before that."""
    now = AT
    with AuditStore(tmp_path / "a.db", clock=lambda: now) as store:
        run = await a_run(store, "r_1", "c_old")
        run = await store.append(run, [a_decision("c_1", verdict="hold")])
        now += 48 * HOUR_MS
        histories = Histories(store, limited())
        call = ToolCall("c_9", "refund", "t", 1, 0, b"{}", 1, AT)
        if seen_before:
            assert histories.known(run, call, at=now).spent("cap", ("user",), "refund") == 0
        await store.append(run, [a_start("c_1")])
        assert histories.known(run, call, at=now).spent("cap", ("user",), "refund") == 1
