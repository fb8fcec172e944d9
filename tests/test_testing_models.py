"""The models are listed as the API lists them."""

import pytest

from agentrt.testing.models import MODELS, find_model, list_models


def test_an_alias_names_its_dated_model() -> None:
    model = find_model("claude-haiku-4-5")
    assert model is not None
    assert model.id == "claude-haiku-4-5-20251001"


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_pages_give_every_model_once(limit: int) -> None:
    seen: list[str] = []
    page = list_models(limit=limit)
    seen += [model["id"] for model in page["data"]]
    while page["has_more"]:
        page = list_models(limit=limit, after_id=page["last_id"])
        seen += [model["id"] for model in page["data"]]
    assert seen == list(MODELS)


def test_a_page_before_an_id_ends_there() -> None:
    ids = list(MODELS)
    page = list_models(limit=2, before_id=ids[5])
    assert [model["id"] for model in page["data"]] == ids[3:5]


def test_only_the_wanted_lifecycles_are_listed() -> None:
    listed = list_models(limit=1000, lifecycle=["deprecated"])["data"]
    assert [model["id"] for model in listed] == ["claude-sonnet-4-5-20250929"]


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda m: m.id)
def test_capabilities_say_which_thinking_is_taken(model: object) -> None:
    wire = model.to_wire()  # type: ignore[attr-defined]
    types = wire["capabilities"]["thinking"]["types"]
    taken = {name for name, leaf in types.items() if leaf["supported"]}
    assert taken == set(model.thinking)  # type: ignore[attr-defined]
