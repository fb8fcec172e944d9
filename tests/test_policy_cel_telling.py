import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.cel import Duration, Failed, Timestamp, plain
from agentrt.policy.cel.telling import told

MOMENT = Timestamp.parsed("2026-01-31T09:30:00.5Z")


def test_what_a_condition_came_to_is_json() -> None:
    value = {"a": [MOMENT, Duration(10**9), None], True: 1.5, 2: "x"}
    assert plain(value) == {
        "a": ["2026-01-31T09:30:00.500Z", "1s", None],
        "true": 1.5,
        "2": "x",
    }


def test_what_is_handed_out_is_a_copy() -> None:
    value = [["a"]]
    plain(value)[0].append("b")
    assert value == [["a"]]


def test_what_nests_too_deeply_is_not_handed_out() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(Failed, match="nests deeper than 100 levels"):
        plain(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (MOMENT, "2026-01-31T09:30:00.500Z"),
        ("x" * 201, "x" * 197 + "..."),
        ("x" * 200, "x" * 200),
        (2**70, "[a number beyond 64 bits]"),
        (float("nan"), "nan"),
        (list(range(25)), [*range(20), "[5 more]"]),
        ({n: n for n in range(21)}, {**{str(n): n for n in range(20)}, "[more]": 1}),
        ([[[[[1, 2]]]]], [[[["[2 items]"]]]]),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        (object(), "[object]"),
    ],
)
def test_a_person_is_told_the_beginning(value: Any, words: Any) -> None:
    assert told(value) == words


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(JSON)
def test_whatever_is_told_can_be_written_to_a_file(value: Any) -> None:
    assert json.dumps(told(value), ensure_ascii=False, allow_nan=False).encode()
