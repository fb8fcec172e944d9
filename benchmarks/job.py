"""The job that every contender does: its prompt, its tools, and what the scripted Claude says.

Nothing here imports agentrt, so that the hand-written loop is measured without it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["FUNCTIONS", "INSTRUCTIONS", "MODEL", "TOKENS_MAX", "Job", "get_order", "get_shipment"]

MODEL = "claude-sonnet-5-5"
TOKENS_MAX = 4096
INSTRUCTIONS = (
    "You look after the orders of a shop. Look every order up before you say anything about it, "
    "compare what was ordered with what was shipped, and name each order that is late, short or "
    "damaged together with its customer. Do not guess: what the tools do not say, you do not know. "
    "When you have seen all orders of the list, answer in one short sentence."
)


@dataclass(frozen=True)
class Job:
    """A run of so many turns; every turn but the last makes so many calls at once."""

    turns: int
    calls: int

    @property
    def prompt(self) -> str:
        """What the user says; the script reads the two numbers out of it."""
        return (
            f"Go through {self.turns - 1} lists of {self.calls} orders and tell me which are late."
        )

    @property
    def answer(self) -> str:
        """What Claude says at the end, by which a measurement knows that the job was done."""
        return f"Of {(self.turns - 1) * self.calls} orders none is late."

    def reply(self, turn: int) -> str | list[dict[str, Any]]:
        """What the scripted Claude says after so many turns."""
        if turn == self.turns - 1:
            return self.answer
        numbers = range(turn * self.calls, (turn + 1) * self.calls)
        said = {"text": f"These are the orders of list {turn + 1}; I look them up one by one."}
        return [said, *(_call(number) for number in numbers)]

    @classmethod
    def read(cls, prompt: str) -> Job:
        """The job of this prompt."""
        lists, calls = re.findall(r"\d+", prompt)
        return cls(int(lists) + 1, int(calls))


def _call(number: int) -> dict[str, Any]:
    name = ("get_order", "get_shipment")[number % 2]
    return {"tool_use": {"name": name, "input": {"order_id": f"ord_{number:06d}"}}}


async def get_order(order_id: str) -> dict[str, Any]:
    """Look up one order: its customer, its lines and what was paid.

    Args:
        order_id: The id of the order, as in ord_000123.
    """
    return _order(order_id)


async def get_shipment(order_id: str) -> dict[str, Any]:
    """Look up how one order was shipped: the carrier, the parcels and where they are.

    Args:
        order_id: The id of the order, as in ord_000123.
    """
    return _shipment(order_id)


FUNCTIONS: Sequence[Any] = (get_order, get_shipment)


def _order(order_id: str) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "customer": {"id": "cus_5521", "name": "Ann Example", "email": "ann@example.com"},
        "placed_at": "2026-11-02T09:14:31Z",
        "currency": "EUR",
        "total_cents": 12_450,
        "lines": [
            {"sku": "LAMP-22-BLK", "title": "Desk lamp, black", "count": 1, "cents": 7_900},
            {"sku": "BULB-E27-4W", "title": "Bulb E27, 4 W", "count": 5, "cents": 4_550},
        ],
        "paid": True,
        "note": "Leave it with the neighbours.",
    }


def _shipment(order_id: str) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "carrier": "Example Post",
        "promised_for": "2026-11-06",
        "parcels": [
            {"id": "par_01", "grams": 2_140, "state": "delivered", "at": "2026-11-05T10:02:11Z"},
            {"id": "par_02", "grams": 380, "state": "delivered", "at": "2026-11-05T10:02:11Z"},
        ],
        "address": {"street": "Example Street 12", "postcode": "10115", "city": "Berlin"},
        "signed_by": "Ann Example",
        "complaints": [],
    }


def check_sizes() -> tuple[int, ...]:
    """Bytes of one result of each tool, as JSON."""
    return tuple(len(json.dumps(make("ord_000123"))) for make in (_order, _shipment))
