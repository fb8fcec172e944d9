"""Every class of mistake in a policy, and what is said of it; `docs/policy.md` shows them.

`python tests/policy_mistakes.py` writes the section anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from agentrt.policy import find_problems
from agentrt.policy.cel import DOUBLE
from agentrt.policy.facts import stated_fact
from agentrt.tools import tool

PAGE = Path(__file__).parent.parent / "docs" / "policy.md"
BEGIN, END = "<!-- mistakes: begin -->", "<!-- mistakes: end -->"
TODAY = date(2026, 11, 1)


class Options(TypedDict):
    urgent: NotRequired[bool]


@tool(effect="irreversible", labels=["moves_money"])
def refund_payment(
    payment_id: str,
    amount_cents: int,
    reason: Literal["duplicate_charge", "wrong_item"],
    fee: float = 0.0,
    note: str | None = None,
    due: datetime = datetime(2026, 1, 1),
    options: Options = {},  # noqa: B006
) -> str:
    """Refund a payment."""
    return payment_id


@tool(effect="irreversible", labels=["egress"])
def send_mail(to: list[str], body: str) -> str:
    """Send a mail."""
    return body


TOOLS = (refund_payment, send_mail)
FACTS = (stated_fact("run.fraud_score", DOUBLE, about="What the fraud check said."),)


def _rules(*rules: str) -> str:
    return "rules:\n" + "".join(rules)


def _rule(decide: str = "hold", tools: str = "[refund_payment]", id: str = "r", **keys: str) -> str:
    said = {"decide": decide, "tools": tools, **keys, "why": "Because."}
    return f"  - id: {id}\n" + "".join(f"    {key}: {value}\n" for key, value in said.items())


def _when(when: str, **keys: str) -> str:
    return _rules(_rule(when=when, **keys))


MISTAKES: dict[str, str] = {
    "A tool that is not there": _rules(_rule(tools="[refund_paymnet]")),
    "A label that no tool has": _rules(_rule(tools='["label:egres"]')),
    "A label that no tool has, in a condition": _when("'\"egres\" in tool.labels'"),
    "A condition that is none": _when("args.amount_cents > && true"),
    "An argument that is not there": _when("args.amount_cent > 2000"),
    "An argument that one of several tools lacks": _rules(
        _rule(tools="[refund_payment, send_mail]", when="args.amount_cents > 2000")
    ),
    "An argument that may be missing": _when("args.options.urgent"),
    "An argument that may be null": _when('args.note.contains("gift")'),
    "A fact that is not there": _when("run.refunds > 3"),
    "A tool that is not there, in a condition": _when("run.calls_of['send_mial'] > 3"),
    "A function that is not there": _when("user_name(args.payment_id)"),
    "Values of different types": _when("args.amount_cents > 20.5"),
    "A whole number beside a decimal one": _when("args.fee > 20"),
    "A value that an enum cannot have": _when('args.reason == "duplicate"'),
    "A date compared with a text": _when('args.due < "2026-12-31"'),
    "A condition that is no yes or no": _when("args.amount_cents + 1"),
    "A pattern that is none": _when("'args.payment_id.matches(\"(abc\")'"),
    "A limit that would need to know what was": _rules(
        _rule(limit="{calls: 3, per: [user]}", when="run.turn > 2")
    ),
    "An argument set that is not there": _rules(_rule(set='{amount_cent: "100"}')),
    "A text set without its own quotes": _rules(_rule(set="{payment_id: P9002}")),
    "An argument set to another type": _rules(_rule(set="{amount_cents: \"'100'\"}")),
    "Bounds that contradict each other": _when(
        "args.amount_cents > 2000 && args.amount_cents < 1000"
    ),
    "A rule that no tool can meet": _when('tool.name == "refund_payment" && tool.effect == "read"'),
    "A rule that another always covers": _rules(
        _rule(id="all-refunds"), _rule(id="large-refunds", when="args.amount_cents > 2000")
    ),
    "An allow that can never win": _rules(
        _rule("deny", id="no-refunds"),
        _rule("allow", id="small-refunds", when="args.amount_cents < 100"),
    ),
    "A wide comparison that would let a call run": _rules(
        _rule("allow", "[send_mail]", when='from_tool(args.to, "reads_private")')
    ),
    "A review date that is past (a warning)": _rules(_rule(review_by="2026-06-30")),
}


def told(text: str) -> str:
    """What `agentrt policy check` says of the mistakes in a file of this text."""
    problems = find_problems({"money.yaml": text}, TOOLS, facts=FACTS, today=TODAY)
    return "\n".join(problem.shown() for problem in problems)


def section() -> str:
    """The section of the page between its marks."""
    return "\n\n".join(_part(title, text) for title, text in MISTAKES.items())


def _part(title: str, text: str) -> str:
    return f"**{title}**\n\n```yaml\n{text}```\n```text\n{told(text)}\n```"


def on_the_page() -> str:
    """What the page has between its marks."""
    found = re.search(f"{BEGIN}\n(.*)\n{END}", PAGE.read_text(), re.DOTALL)
    return found[1].strip() if found else ""


def silent() -> Iterator[str]:
    """The classes of which nothing is said: there must be none."""
    yield from (title for title, text in MISTAKES.items() if not told(text))


if __name__ == "__main__":
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{section()}\n{END}{after}")
    print(*silent(), sep="\n")
