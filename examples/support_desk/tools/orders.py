"""What the customers have ordered and paid."""

import sqlite3
from dataclasses import dataclass

from agentrt import tool

from ._shop import CustomerId, reading


@dataclass(frozen=True)
class Payment:
    """Money that came in for an order, and what of it went back."""

    payment_id: str
    amount_cents: int
    refunded_cents: int
    paid_on: str


@dataclass(frozen=True)
class Order:
    """One thing that a customer bought, with all payments for it."""

    order_id: str
    item: str
    price_cents: int
    ordered_on: str
    payments: list[Payment]


@tool(effect="read", labels=["reads_private"], facts=["*"])
def list_orders(customer_id: CustomerId) -> list[Order]:
    """List a customer's orders, newest first, each with its payments in the order they came.

    Amounts are cents of a euro.
    """
    with reading() as shop:
        orders = shop.execute(
            "SELECT id AS order_id, item, price_cents, ordered_on FROM purchase"
            " WHERE customer_id = ? ORDER BY ordered_on DESC",
            (customer_id,),
        ).fetchall()
        return [Order(**order, payments=_payments(shop, order["order_id"])) for order in orders]


def _payments(shop: sqlite3.Connection, order_id: str) -> list[Payment]:
    rows = shop.execute(
        "SELECT payment.id AS payment_id, payment.amount_cents, payment.paid_on,"
        " coalesce(sum(refund.amount_cents), 0) AS refunded_cents"
        " FROM payment LEFT JOIN refund ON refund.payment_id = payment.id"
        " WHERE payment.purchase_id = ? GROUP BY payment.id ORDER BY payment.paid_on, payment.id",
        (order_id,),
    )
    return [Payment(**row) for row in rows]
