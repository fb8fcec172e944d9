from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from agentrt.errors import ModelRefused
from agentrt.models import MODELS, check_model, price

DAY = date(2026, 11, 1)
CURRENT = [name for name, model in MODELS.items() if not model.retires_on]


def cost(model: str = "claude-haiku-4-5", **usage: Any) -> Decimal | None:
    found = price({"model": model, "usage": {"input_tokens": 0, "output_tokens": 0, **usage}})
    return found.cost_usd if found else None


@pytest.mark.parametrize("id", ["claude-sonnet-latest", "claude-3-5-haiku-latest"])
def test_an_id_that_moves_is_refused_with_what_to_write_instead(id: str) -> None:
    with pytest.raises(ModelRefused, match="Pin an exact id"):
        check_model(id, today=DAY)


def test_a_model_that_is_gone_is_refused_on_the_day_it_retires() -> None:
    with pytest.raises(ModelRefused, match="retired on 2026-11-30"):
        check_model("claude-sonnet-4-5", today=date(2026, 11, 30))


def test_a_model_that_soon_goes_is_warned_of() -> None:
    with pytest.warns(DeprecationWarning, match="retires on 2026-11-30"):
        check_model("claude-sonnet-4-5", today=date(2026, 11, 29))


@pytest.mark.parametrize("id", CURRENT)
def test_a_current_model_passes_in_silence(id: str) -> None:
    check_model(id, today=DAY)


def test_a_model_nobody_knows_yet_is_passed_on() -> None:
    check_model("claude-sonnet-9", today=DAY)


def test_models_are_listed_under_their_own_ids() -> None:
    assert all(name == model.id for name, model in MODELS.items())


def test_a_price_is_counted_by_kind_of_token() -> None:
    assert cost(input_tokens=1_000_000) == Decimal(1)
    assert cost(output_tokens=1_000_000) == Decimal(5)
    assert cost(cache_read_input_tokens=1_000_000) == Decimal("0.1")
    assert cost(cache_creation_input_tokens=1_000_000) == Decimal("1.25")


def test_a_cache_of_an_hour_costs_more_to_write_than_one_of_five_minutes() -> None:
    hour = {"ephemeral_1h_input_tokens": 1_000_000, "ephemeral_5m_input_tokens": 0}
    written = cost(cache_creation_input_tokens=1_000_000, cache_creation=hour)
    assert written == Decimal(2)


def test_a_batch_costs_half() -> None:
    assert cost(input_tokens=1_000_000, service_tier="batch") == Decimal("0.5")


def test_the_rates_are_kept_with_the_price() -> None:
    found = price({"model": "claude-haiku-4-5", "usage": {"input_tokens": 1, "output_tokens": 1}})
    assert found is not None
    assert (found.rates["input_mtok"], found.rates["output_mtok"]) == ("1", "5")


@pytest.mark.parametrize("model", ["claude-sonnet-9", "gpt-4", ""])
def test_an_unknown_price_is_unknown_and_never_zero(model: str) -> None:
    assert cost(model, input_tokens=5) is None


def test_a_price_that_depends_on_the_place_is_unknown() -> None:
    assert cost(input_tokens=5, inference_geo="us") is None


def test_every_current_model_of_the_common_tiers_has_a_price() -> None:
    common = [name for name in CURRENT if MODELS[name].tier in ("haiku", "sonnet", "opus")]
    unknown = [name for name in common if not cost(name, input_tokens=9, output_tokens=9)]
    assert unknown == []
