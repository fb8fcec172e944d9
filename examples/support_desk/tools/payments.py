"""Money that goes back to customers."""

import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agentrt import Call, ToolError, tool

from ._shop import reading, writing

PaymentId = Annotated[
    str, Field(pattern=r"^P\d{4,9}$", description="As list_orders gives it: P and digits.")
]
AmountCents = Annotated[int, Field(gt=0, le=1_000_000, description="How much, in euro cents.")]

SELECT_PAYMENT = """
SELECT payment.id, payment.amount_cents, payment.purchase_id, customer.name, customer.email,
       payment.amount_cents - coalesce(sum(refund.amount_cents), 0) AS left_cents
FROM payment
JOIN purchase ON purchase.id = payment.purchase_id
JOIN customer ON customer.id = purchase.customer_id
LEFT JOIN refund ON refund.payment_id = payment.id
WHERE payment.id = ?
GROUP BY payment.id
"""
SELECT_REFUND = "SELECT id AS refund_id, payment_id, amount_cents, reason FROM refund WHERE key = ?"
INSERT_REFUND = "INSERT INTO refund (key, payment_id, amount_cents, reason) VALUES (?, ?, ?, ?)"


class RefundReason(StrEnum):
    """Why money goes back; the accounts are kept by these."""

    DUPLICATE_CHARGE = "duplicate_charge"
    NOT_DELIVERED = "not_delivered"
    RETURNED = "returned"
    GOODWILL = "goodwill"


@dataclass(frozen=True)
class Refund:
    """Money that went back."""

    refund_id: int
    payment_id: str
    amount_cents: int
    reason: str


def find_refund(call: Call) -> Refund | None:
    """The refund that this call has made, if it has."""
    with reading() as shop:
        return _refund(shop, call.key)


def show_refund(payment_id: str, amount_cents: int) -> str:
    """What a reviewer is shown."""
    with reading() as shop:
        try:
            payment = _refundable(shop, payment_id, amount_cents)
        except ToolError as refusal:
            return f"Nothing would be refunded: {refusal}"
    return (
        f"Refund {_euros(amount_cents)} of payment {payment_id} ({_euros(payment['amount_cents'])},"
        f" order {payment['purchase_id']}) to {payment['name']} <{payment['email']}>;"
        f" {_euros(payment['left_cents'] - amount_cents)} of it would be left."
    )


@tool(
    effect="irreversible",
    labels=["moves_money"],
    check=find_refund,
    preview=show_refund,
    searchable=["payment_id", "amount_cents"],
)
def refund_payment(
    payment_id: PaymentId, amount_cents: AmountCents, reason: RefundReason, call: Call
) -> Refund:
    """Give a customer a payment back, in full or in part. The money leaves at once.

    Args:
        reason: What the customer gets it back for.
    """
    with writing() as shop:
        if done := _refund(shop, call.key):
            return done
        _refundable(shop, payment_id, amount_cents)
        made = shop.execute(INSERT_REFUND, (call.key, payment_id, amount_cents, reason))
    return Refund(made.lastrowid or 0, payment_id, amount_cents, reason)


def _refund(shop: sqlite3.Connection, key: str) -> Refund | None:
    row = shop.execute(SELECT_REFUND, (key,)).fetchone()
    return None if row is None else Refund(**row)


def _refundable(shop: sqlite3.Connection, payment_id: str, amount_cents: int) -> sqlite3.Row:
    """The payment, when so much of it can go back. Raises ToolError."""
    payment: sqlite3.Row | None = shop.execute(SELECT_PAYMENT, (payment_id,)).fetchone()
    if payment is None:
        raise ToolError(f"There is no payment {payment_id}.")
    if payment["left_cents"] == 0:
        raise ToolError(f"Payment {payment_id} was refunded in full already.")
    if amount_cents > payment["left_cents"]:
        left = _euros(payment["left_cents"])
        raise ToolError(f"Only {left} of payment {payment_id} can still be refunded.")
    return payment


def _euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02} EUR"
