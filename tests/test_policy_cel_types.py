import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.cel import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    Enum,
    Field,
    ListOf,
    MapOf,
    Nullable,
    Record,
    Type,
)
from agentrt.policy.cel.types import NOTHING, accepts, comparable, joined, widened

AB, BC = Enum(("a", "b")), Enum(("b", "c"))
PLAIN = st.sampled_from([BOOL, INT, DOUBLE, STRING, TIMESTAMP, NULL, ANY, NOTHING, AB, BC])
TYPES: st.SearchStrategy[Type] = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.builds(ListOf, inner),
        st.builds(MapOf, st.just(STRING), inner),
        inner.filter(lambda of: not isinstance(of, Nullable) and of not in (NULL, ANY, NOTHING))
        .map(Nullable),
        st.builds(lambda of: Record({"f": Field(of)}), inner),
    ),
    max_leaves=4,
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ListOf(STRING), "list(string)"),
        (MapOf(STRING, ListOf(INT)), "map(string, list(int))"),
        (Nullable(DOUBLE), "double or null"),
        (Record({"a": Field(INT)}), "record"),
        (AB, "string"),
    ],
)
def test_a_type_reads_as_words(kind: Type, words: str) -> None:
    assert str(kind) == words


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (INT, INT, INT),
        (INT, DOUBLE, None),
        (NULL, INT, Nullable(INT)),
        (NULL, Nullable(INT), Nullable(INT)),
        (Nullable(INT), INT, Nullable(INT)),
        (Nullable(INT), STRING, None),
        (AB, BC, Enum(("a", "b", "c"))),
        (AB, STRING, STRING),
        (ListOf(NOTHING), ListOf(INT), ListOf(INT)),
        (ListOf(INT), ListOf(NULL), ListOf(Nullable(INT))),
        (MapOf(STRING, INT), MapOf(STRING, STRING), None),
        (ANY, INT, None),
    ],
)
def test_types_join_to_what_both_are(one: Type, other: Type, both: Type | None) -> None:
    assert joined(one, other) == both


@given(TYPES, TYPES)
def test_joining_does_not_depend_on_the_order(one: Type, other: Type) -> None:
    both, reverse = joined(one, other), joined(other, one)
    assert (both and widened(both)) == (reverse and widened(reverse))


@given(TYPES, TYPES)
def test_what_both_are_accepts_each(one: Type, other: Type) -> None:
    both = joined(one, other)
    assert joined(one, one) == one
    assert both is None or (accepts(both, one) and accepts(both, other))


@given(TYPES, TYPES)
def test_null_goes_only_where_it_is_welcome(wanted: Type, given_type: Type) -> None:
    assert accepts(Nullable(INT), NULL)
    assert not accepts(INT, Nullable(INT))
    assert accepts(ANY, given_type)
    assert accepts(wanted, NOTHING)


def test_what_may_hold_anything_is_not_compared() -> None:
    assert comparable(MapOf(STRING, ListOf(Nullable(INT))))
    assert not comparable(ListOf(ANY))
    assert not comparable(ListOf(Record({})))
