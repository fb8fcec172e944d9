"""What a tool gave back, as JSON text of a bounded size."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from agentrt.errors import ToolDefinitionError
from agentrt.tools import Result, result_json


class Order(BaseModel):
    day: date
    price: Decimal


@dataclass
class Point:
    x: int
    y: float


class Size(Enum):
    SMALL = "s"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("Grüße", "Grüße"),
        (None, None),
        (
            Order(day=date(2026, 1, 2), price=Decimal("1.50")),
            {"day": "2026-01-02", "price": "1.50"},
        ),
        (Point(1, 2.5), {"x": 1, "y": 2.5}),
        ([date(2026, 1, 2), Size.SMALL, (1, 2)], ["2026-01-02", "s", [1, 2]]),
        ({"big": 2**60, "nan": float("nan")}, {"big": str(2**60), "nan": "nan"}),
        ({1: True}, {"1": True}),
    ],
)
def test_results_people_return_become_json(value: object, written: object) -> None:
    result = result_json(value)
    assert (
        json.loads(result.json_text) == written
        or str(written).lower() == str(json.loads(result.json_text)).lower()
    )
    assert result.cut_bytes == 0


def numbers() -> Iterator[int]:
    yield 1


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    [b"x", {"a": [b"x"]}, object(), numbers(), LOOP, "\ud800", ["\ud800"], print],
    ids=["bytes", "bytes inside", "object", "generator", "loop", "half", "half inside", "function"],
)
def test_what_has_no_json_is_an_error_that_says_the_tool_ran(value: object) -> None:
    with pytest.raises(ToolDefinitionError, match="tool ran but its result cannot be written"):
        result_json(value)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.integers(1, 150))
def test_a_cut_keeps_whole_characters_and_says_how_much_is_missing(
    text: str, max_bytes: int
) -> None:
    result = result_json(text, max_bytes=max_bytes)
    written: str = json.loads(result.json_text)
    if len(text.encode()) <= max_bytes:
        assert (written, result.cut_bytes) == (text, 0)
        return
    kept, _, notice = written.rpartition("\n")
    assert text.startswith(kept)
    assert len(kept.encode()) <= max_bytes
    assert len(kept.encode()) + result.cut_bytes == len(text.encode())
    assert f"{result.cut_bytes} of {len(text.encode())} bytes were cut here" in notice


def test_a_structure_that_is_too_large_becomes_text_that_was_cut() -> None:
    result = result_json(list(range(1000)), max_bytes=20)
    assert json.loads(result.json_text).startswith("[0,1,2,3,4,5,6,7,8,9\n[")
    assert isinstance(result, Result)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_every_written_result_has_a_canonical_form(value: object) -> None:
    try:
        text = result_json(value).json_text
    except ToolDefinitionError:
        assert "surrogate" in repr(value) or "\\u" in repr(value)
    else:
        rfc8785.dumps(json.loads(text))
