"""What all machines have in common: the agent, its tools, the policy, and a bank."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from agentrt import Agent, Call, Policy, tool
from agentrt.carriers.procrastinate import Procrastinate
from agentrt.tools import Tool

__all__ = ["SCRIPT", "Desk", "make_bank", "payments"]

SCRIPT = Path(__file__).parent / "script.yaml"

RULES = """\
default: {read: allow}
rules:
  - id: payments
    decide: hold
    tools: [send_payment]
    why: Money that has left does not come back.
    approve: {roles: [owner]}
"""

BANK_TAKES_S = 0.3
"""How long the bank takes, so that there is a middle of a payment to be killed in."""


@dataclass(frozen=True)
class Desk:
    """Where everything is; a machine knows nothing else of the others."""

    store: str
    bank: str
    claude: str
    reviewer_key: str
    """The reviewer's public key."""
    machine: str = "front desk"

    @property
    def tools(self) -> tuple[Tool[..., Any], ...]:
        """The tools, as this machine has them."""
        return _tools(self.bank, self.machine)

    @property
    def agent(self) -> Agent:
        """The agent whose runs are carried."""
        return Agent(
            name="billing",
            model="claude-sonnet-5-5",
            instructions="Pay what is due.",
            tools=self.tools,
        )

    @property
    def policy(self) -> Policy:
        """The same rules everywhere."""
        people = f"reviewers:\n  - {{name: rita, roles: [owner], keys: ['{self.reviewer_key}']}}\n"
        return Policy.from_texts({"rules.yaml": RULES, "reviewers.yaml": people}, self.tools)

    def carrier(self) -> Procrastinate:
        """What announces on the same database that a run can go on."""
        return Procrastinate(self.store)


def make_bank(url: str) -> None:
    """The bank's book. It would take a payment twice: nothing but us prevents it."""
    with psycopg.connect(url) as bank:
        bank.execute("CREATE TABLE payment (key text, cents int, machine text)")


def payments(url: str) -> list[tuple[str, int, str]]:
    """What the bank has paid: key, cents, and the machine that asked for it."""
    with psycopg.connect(url) as bank:
        return bank.execute("SELECT key, cents, machine FROM payment").fetchall()


def _tools(bank: str, machine: str) -> tuple[Tool[..., Any], ...]:
    @tool(effect="read")
    def read_invoice(number: int) -> dict[str, Any]:
        """Read an invoice.

        Args:
            number: Which one.
        """
        return {"number": number, "due_cents": 950}

    def find_payment(call: Call) -> str | None:
        """Whether the bank has the payment."""
        return "paid" if call.key in {key for key, _, _ in payments(bank)} else None

    @tool(effect="irreversible", labels=["moves_money"], check=find_payment)
    def send_payment(cents: int, call: Call) -> str:
        """Pay an invoice.

        Args:
            cents: How much.
        """
        time.sleep(BANK_TAKES_S / 2)
        with psycopg.connect(bank) as book:
            book.execute("INSERT INTO payment VALUES (%s, %s, %s)", (call.key, cents, machine))
        time.sleep(BANK_TAKES_S / 2)
        return "paid"

    return read_invoice, send_payment
