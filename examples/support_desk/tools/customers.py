"""Who the customers are."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from agentrt import ToolError, tool

from ._shop import reading


@dataclass(frozen=True)
class Customer:
    """A person who has bought from us."""

    customer_id: str
    name: str
    email: str
    since: str


@tool(effect="read", labels=["reads_private"], facts=["customer_id", "since"])
def get_customer(
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254)],
) -> Customer:
    """Look up the customer who writes from an address.

    Args:
        email: The sender's address, as in mona@example.com.
    """
    with reading() as shop:
        found = shop.execute(
            "SELECT id AS customer_id, name, email, since FROM customer WHERE email = ?", (email,)
        ).fetchone()
    if found is None:
        raise ToolError(f"No customer has the address {email}. Ask for the one they ordered with.")
    return Customer(**found)
