"""Replies before they are sent."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from agentrt import Call, ToolError, tool

from ._shop import CustomerId, writing


@dataclass(frozen=True)
class Draft:
    """A reply in our house style, ready to be sent."""

    draft_id: int
    subject: str
    body: str


@tool(effect="write", idempotent_for="7d")
def draft_reply(
    customer_id: CustomerId,
    subject: Annotated[str, Field(max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")],
    text: Annotated[str, Field(min_length=1, max_length=5_000)],
    call: Call,
) -> Draft:
    """Draft a reply to a customer: greeting and signature are added. Nothing is sent.

    Args:
        subject: The subject line.
        text: What to tell the customer, without greeting and signature.
    """
    with writing() as shop:
        name = shop.execute("SELECT name FROM customer WHERE id = ?", (customer_id,)).fetchone()
        if name is None:
            raise ToolError(f"There is no customer {customer_id}.")
        body = f"Dear {name['name']},\n\n{text}\n\nYour support desk\n"
        shop.execute(
            "INSERT INTO draft (key, customer_id, subject, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key) DO NOTHING",
            (call.key, customer_id, subject, body),
        )
        draft = shop.execute(
            "SELECT id AS draft_id, subject, body FROM draft WHERE key = ?", (call.key,)
        ).fetchone()
    return Draft(**draft)
