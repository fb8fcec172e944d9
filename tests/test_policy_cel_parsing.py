import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.cel import Malformed, parse, walk, written
from agentrt.policy.cel.syntax import (
    And,
    Arithmetic,
    Collected,
    Comparison,
    FunctionCall,
    Has,
    Literal,
    Name,
    Negative,
    Or,
    Quantified,
    Select,
)


def literal(text: str) -> object:
    expr = parse(text)
    assert isinstance(expr, Literal)
    return expr.value


def refusal(text: str) -> Malformed:
    with pytest.raises(Malformed) as refused:
        parse(text)
    return refused.value


# Literals


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("null", None),
        ("0x1F", 31),
        ("-0x8000000000000000", -(2**63)),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("- 5", -5),
        (".5", 0.5),
        ("1.5E3", 1500.0),
        ("-1e-2", -0.01),
        ("'single'", "single"),
        ('"a\\tb"', "a\tb"),
        (r"'\a\b\f\v\\\?\"\'\`'", "\a\b\f\v\\?\"'`"),
        (r"'\x41\X42\u0043\U00000044\105'", "ABCDE"),
        (r"'\377'", "\u00ff"),
        (r"'\U0010ffff'", "\U0010ffff"),
        (r"r'\n'", r"\n"),
        (r'R"\d+"', r"\d+"),
        ('"""a"b\nc"""', 'a"b\nc'),
        ("'''a'b'''", "a'b"),
        ('r"""a\\n"b"""', 'a\\n"b'),
        ('"""a\r\nb\rc"""', "a\nb\nc"),
        (r'"a\r\n"', "a\r\n"),
        ("''", ""),
        ('""""""', ""),
        ("'\u00e9\U0001f600'", "\u00e9\U0001f600"),
    ],
)
def test_a_literal_is_what_cel_says_it_is(text: str, value: object) -> None:
    assert literal(text) == value
    assert type(literal(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r"'\q'", r"\q is no escape: write \\ for a backslash"),
        (r"'\8'", r"\8 is no escape"),
        (r"'\400'", r"\4 is no escape"),
        (r"'\x4'", r"\x is no escape"),
        (r"'\ud800'", r"\ud800 is no character"),
        (r"'\U00110000'", r"\U00110000 is no character"),
        ("9223372036854775808", "an int is from -9223372036854775808 to 9223372036854775807"),
        ("9" * 3000, "an int has at most 64 bits"),
        ("1e400", "1e400 is too large for a double"),
        ("'a\nb'", "the text that begins with ' does not end"),
        ("'a", "the text that begins with ' does not end"),
        ("a.`b", "the name that begins with ` does not end"),
        ("a.`\u00e9`", "a name in backticks has letters, digits, spaces and _ . - / only"),
        ("a.in", "in is a word of CEL: write .`in`"),
        ("a.true", "true is a word of CEL"),
        ("in == 1", "in is a reserved word of CEL"),
        ("a inb", "'inb' does not belong here"),
        ("1u", "unsigned numbers are not accepted: write 1"),
        ("b'x'", "bytes are not accepted"),
        ("\ud800", "half of a surrogate pair"),
    ],
)
def test_a_literal_that_is_none_is_refused(text: str, message: str) -> None:
    assert message in str(refusal(text))


# The shape of the tree


def test_products_bind_before_sums_and_sums_before_comparisons() -> None:
    assert written(parse("(1+(2*3))<(4-5)")) == "1 + 2 * 3 < 4 - 5"
    assert written(parse("(1+2)*3")) == "(1 + 2) * 3"
    assert written(parse("2-(3-4)")) == "2 - (3 - 4)"


def test_and_binds_before_or_and_each_takes_any_number_of_parts() -> None:
    expr = parse("a || b && c && d || e")
    assert isinstance(expr, Or)
    assert isinstance(expr.parts[1], And)
    assert [len(expr.parts), len(expr.parts[1].parts)] == [3, 3]


def test_a_thousand_alternatives_are_not_nested() -> None:
    expr = parse("||".join(["a"] * 1000))
    assert isinstance(expr, Or)
    assert len(expr.parts) == 1000


def test_not_binds_to_the_name_and_in_to_the_whole() -> None:
    assert written(parse("!a in b")) == "!a in b"
    assert written(parse("!(a in b)")) == "!(a in b)"


def test_a_minus_before_a_group_is_an_operator() -> None:
    assert isinstance(parse("-(-9223372036854775808)"), Negative)


def test_a_minus_before_a_bool_makes_no_number_of_it() -> None:
    assert isinstance(parse("-false"), Negative)
    assert isinstance(parse("-true"), Negative)


def test_macros_are_nodes_of_their_own() -> None:
    assert isinstance(parse("a.all(x, x > 0)"), Quantified)
    assert isinstance(parse("a.map(x, x > 0, x)"), Collected)
    assert isinstance(parse("has(a.b)"), Has)
    assert isinstance(parse("a.size()"), FunctionCall)


def test_a_field_may_be_a_word_that_is_reserved_or_no_name_at_all() -> None:
    expr = parse("args.package == args.`user-id`")
    assert isinstance(expr, Comparison)
    assert isinstance(expr.left, Select)
    assert isinstance(expr.right, Select)
    assert [expr.left.field, expr.right.field] == ["package", "user-id"]


def test_comments_and_lines_are_space() -> None:
    assert written(parse("a // why\n  && b")) == "a && b"


def test_lists_and_maps_may_end_with_a_comma() -> None:
    assert written(parse('[1, {"a": 2,},]')) == '[1, {"a": 2}]'


def test_every_part_knows_its_place_with_its_parentheses() -> None:
    text = "(a.b + f(1)) * 2 == x"
    places = {written(part): text[part.start : part.end] for part in walk(parse(text))}
    assert places["a.b + f(1)"] == "(a.b + f(1))"
    assert places["(a.b + f(1)) * 2"] == "(a.b + f(1)) * 2"
    assert places["f(1)"] == "f(1)"
    assert places["a"] == "a"


def test_a_walk_meets_every_part_in_the_order_of_the_text() -> None:
    names = [part.name for part in walk(parse("a + b[c] == {d: e}.f || g.all(x, x) ? h : [i]"))
             if isinstance(part, Name)]  # fmt: skip
    assert names == ["a", "b", "c", "d", "e", "g", "x", "h", "i"]


# What is refused, and what is advised


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a and b", "write && in place of and", "and"),
        ("a or b", "write || in place of or", "or"),
        ("not a", "write ! in place of not", "a"),
        ("a = b", "write == in place of =", "="),
        ("a === b", "write == in place of ===", "="),
        ("a => b", "write >= in place of =>", "="),
        ("a <> b", "write != in place of <>", ">"),
        ("a & b", "write && in place of &", "&"),
        ("a == \u201cb\u201d", 'write " in place of \u201c', "\u201c"),
        ("a == $b", "'$' means nothing here", "$"),
        ("a > ", "a value is missing at the end", ""),
        ("", "a value is missing at the end", ""),
        ("a.", "a name is missing at the end", ""),
        ("a..b", "a name is missing before '.'", "."),
        ("(a", "')' is missing at the end", ""),
        ("[a", "']' is missing at the end", ""),
        ("a ? b", "':' is missing at the end", ""),
        ("a)", "')' does not belong here", ")"),
        ("(a b)", "'b' does not belong here: an operator or ')' is missing", "b"),
        ("* a", "a value is missing before '*'", "*"),
        ("a in (1, 2)", 'a list is written ["a", "b"]', ","),
        (".a", "a name does not begin with a dot: write a", ".a"),
        (".size(a)", "a name does not begin with a dot: write size", ".size"),
        ("if", "if is a reserved word of CEL", "if"),
        ("A{b: 1}", "messages cannot be made here", "{"),
        ("dyn(a)", "dyn() is not accepted", "dyn"),
        ("type(a)", "type() is not accepted", "type"),
        ("has(a)", "has() asks for a field: write has(args.note)", "has(a)"),
        ('has(a["b"])', 'has() asks for a field: write "b" in a', 'has(a["b"])'),
        ("a.all(1, b)", "all() takes the name of a variable and an expression", "all"),
        ("a.map(x)", "map() takes the name of a variable and an expression", "map"),
        ("a.exists(x, y, z)", "exists() takes the name of a variable", "exists"),
    ],
)
def test_a_refusal_says_what_to_write_and_where(text: str, message: str, place: str) -> None:
    refused = refusal(text)
    assert message in refused.message
    assert text[refused.start : refused.end] == place


def test_a_condition_has_a_longest_length() -> None:
    assert "at most 4,000 characters, not 4,001" in str(refusal("a" * 4001))
    parse("a" * 4000)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60 + "]" * 60,
        "!" * 100 + "a",
        "-" * 3000 + "a",
        "a" + ".b" * 1500,
        "a" + "[0]" * 1000,
        "+".join(["1"] * 2000),
        "a ? b : " * 400 + "c",
        "f(" * 500 + ")" * 500,
        "[1].map(x," * 300 + "1" + ")" * 300,
    ],
)
def test_a_condition_has_a_deepest_nesting(text: str) -> None:
    assert "nested deeper than 50 levels" in str(refusal(text))


def test_parentheses_alone_do_not_nest() -> None:
    assert written(parse("(" * 1900 + "a" + ")" * 1900)) == "a"


SIGNS = """args run now . ? : , ( ) [ ] { } ! - + * / % == != < <= > >= && || in true false null
    has( size( .all(x, .map( .filter( 1 2.5 0x1f 1u 'a' "b" r' ''' \\ ` // \u00e9 = & |"""
PIECES = st.sampled_from([*SIGNS.split(), "\n"])
TEXTS = st.one_of(
    st.text(max_size=80), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES).map("".join)
)


def places(text: str) -> list[tuple[int, int]]:
    """Of all the parts, or of the one that is malformed."""
    try:
        return [(part.start, part.end) for part in walk(parse(text))]
    except Malformed as error:
        return [(error.start, error.end)]


@given(TEXTS)
def test_any_text_is_a_tree_or_malformed_at_a_place_in_it(text: str) -> None:
    assert places(text)
    assert all(0 <= start <= end <= len(text) for start, end in places(text))


def test_arithmetic_of_one_level_leans_to_the_left() -> None:
    expr = parse("1 - 2 - 3")
    assert isinstance(expr, Arithmetic)
    assert written(expr.left) == "1 - 2"
