"""Claude's models: ids, lifecycle, prices.

The ids and dates are those of the SDK and of Anthropic's model pages as of 2026-11. An id
that is not listed is passed on, so that a new model needs no new agentrt; its price is then
unknown until `genai-prices` knows it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from agentrt.errors import ModelRefused

__all__ = ["MODELS", "Model", "Price", "check_model", "price"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model id and what is known of its life."""

    id: str
    tier: str
    retires_on: date | None = None


def _family(tier: str, *ids: str) -> list[Model]:
    return [Model(name, tier) for name in ids]


MODELS: Mapping[str, Model] = {
    model.id: model
    for model in (
        *_family("fable", "claude-fable-5-2", "claude-fable-5-1", "claude-fable-5"),
        *_family("mythos", "claude-mythos-5-2", "claude-mythos-5-1", "claude-mythos-5"),
        *_family("opus", "claude-opus-5-5", "claude-opus-5", "claude-opus-4-8", "claude-opus-4-7"),
        *_family("opus", "claude-opus-4-6", "claude-opus-4-5", "claude-opus-4-5-20251101"),
        *_family("sonnet", "claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6"),
        *_family("haiku", "claude-haiku-5-5", "claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        Model("claude-sonnet-4-5", "sonnet", date(2026, 11, 30)),
        Model("claude-sonnet-4-5-20250929", "sonnet", date(2026, 11, 30)),
        Model("claude-mythos-preview", "mythos", date(2026, 6, 30)),
        Model("claude-opus-4-0", "opus", date(2026, 6, 15)),
        Model("claude-opus-4-20250514", "opus", date(2026, 6, 15)),
        Model("claude-sonnet-4-0", "sonnet", date(2026, 6, 15)),
        Model("claude-sonnet-4-20250514", "sonnet", date(2026, 6, 15)),
        Model("claude-3-7-sonnet-20250219", "sonnet", date(2026, 2, 19)),
        Model("claude-3-5-haiku-20241022", "haiku", date(2026, 2, 19)),
        Model("claude-3-opus-20240229", "opus", date(2026, 1, 5)),
    )
}


@dataclass(frozen=True, slots=True)
class Price:
    """What one request cost, and the rate card it was counted with."""

    cost_usd: Decimal
    rates: Mapping[str, str]
    """Dollars per million tokens (searches: per thousand), by kind."""


def check_model(id: str, *, today: date | None = None) -> None:
    """Refuse ids that move or are gone; warn of those that soon will be.

    Raises ModelRefused.
    """
    if id.endswith("-latest"):
        raise ModelRefused(
            f"{id!r} is an alias that moves to another model without notice. Pin an exact id, "
            "such as 'claude-sonnet-5-5'."
        )
    model = MODELS.get(id)
    if model is None or model.retires_on is None:
        return
    when = model.retires_on
    if when <= (today or date.today()):
        raise ModelRefused(f"{id!r} was retired on {when}. Choose a current model of its tier.")
    warnings.warn(f"{id!r} retires on {when}: plan the move.", DeprecationWarning, stacklevel=2)


def price(reply: Mapping[str, Any]) -> Price | None:
    """What a reply cost, from its `model` and `usage` as the API sent them; None if unknown.

    `genai-prices` carries its rates with it and nothing is fetched. `inference_geo` "us"
    costs 1.1 times as much and is not in its rates, so that such a price is unknown too.
    """
    from genai_prices import extract_usage

    usage = reply["usage"]
    if usage.get("inference_geo") == "us":
        return None
    try:
        found = extract_usage(reply, provider_id="anthropic").calc_price(
            price_context=_price_context(usage)
        )
    except (LookupError, ValueError):
        return None
    return Price(found.total_price, _rates(found.model_price))


def _price_context(usage: Mapping[str, Any]) -> Any:
    """`genai-prices` does not read these from the usage and would charge the full price."""
    context = {}
    if usage.get("service_tier") == "batch":
        context["processing"] = "batch"
    if usage.get("speed") == "fast":
        context["speed"] = "fast"
    return context or None


def _rates(model_price: Any) -> dict[str, str]:
    return {name: _rate(rate) for name, rate in vars(model_price).items() if rate is not None}


def _rate(rate: Any) -> str:
    """A plain rate, or `0.10; from 100000: 0.50` for one that depends on the prompt's size."""
    if isinstance(rate, Decimal):
        return str(rate)
    steps = [f"from {tier.start}: {tier.price}" for tier in rate.tiers]
    return "; ".join([str(rate.base), *steps])
