from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.cel import Expr, Malformed, parse, walk, written
from agentrt.policy.cel.syntax import Literal

NAMES = st.sampled_from(["a", "b", "args", "x"])
LITERALS = st.one_of(
    st.integers(0, 2**63 - 1).map(str),
    st.floats(0, allow_infinity=False, allow_nan=False).map(repr),
    st.sampled_from(["true", "false", "null", "''", "'\\n\"'", "r'\\'", "'\u00e9'"]),
)


def operators(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    forms = [
        "({} + {})", "({} - {} * {})", "{} && {}", "({} || {})", "!{}", "-{}", "({} ? {} : {})",
        "({})", "{} == {}", "{} in {}", "{}.f", "{}.`f-g`", "{}[{}]", "[{}, {}]", "{{{}: {}}}",
        "f({}, {})", "{}.g({})", "{}.all(v, {})", "{}.filter(v, {})", "{}.map(v, {}, {})",
    ]  # fmt: skip
    form = st.sampled_from(forms)
    return st.builds(lambda text, parts: text.format(*parts), form, st.tuples(*[inner] * 3))


TEXTS = st.recursive(NAMES | LITERALS, operators, max_leaves=12)


def shape(expr: Expr) -> list[tuple[type, Any]]:
    """The tree without its places."""
    return [
        (type(part), repr(part.value) if isinstance(part, Literal) else None) for part in walk(expr)
    ]


@given(TEXTS)
def test_what_is_written_parses_to_the_same_tree(text: str) -> None:
    try:
        expr = parse(text)
    except Malformed:
        return
    assert shape(parse(written(expr))) == shape(expr)
    assert written(parse(written(expr))) == written(expr)


@pytest.mark.parametrize(
    ("text", "one_form"),
    [
        ("a  ==1", "a == 1"),
        ("'it\\'s'", '"it\'s"'),
        ("((a))", "a"),
        ("(a && b) || c", "a && b || c"),
        ("a && (b || c)", "a && (b || c)"),
        ("(a ? b : c) ? d : (e ? f : g)", "(a ? b : c) ? d : e ? f : g"),
        ("!(!a)", "!!a"),
        ("-(-a)", "--a"),
        ("(-1).f()", "(-1).f()"),
        ("a.`in`", "a.`in`"),
        ("0x10", "16"),
        ("1e3", "1000.0"),
    ],
)
def test_one_meaning_has_one_form(text: str, one_form: str) -> None:
    assert written(parse(text)) == one_form
