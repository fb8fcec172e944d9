import pytest
from conditions import FUNCTIONS, ROOTS, evaluate, mistakes
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.cel import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    STRING,
    TIMESTAMP,
    Enum,
    Failed,
    Function,
    ListOf,
    Malformed,
    MapOf,
    Mistyped,
    Nullable,
    Type,
    check,
    parse,
    walk,
    written,
)

# What fits


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1 + 2 * 3", INT),
        ("1.0 / 2.0", DOUBLE),
        ('"a" + args.id', STRING),
        ("now + age", TIMESTAMP),
        ("string(now - args.day)", STRING),
        ("[1, 2] + []", ListOf(INT)),
        ("[[], [1]]", ListOf(ListOf(INT))),
        ("[1, null]", ListOf(Nullable(INT))),
        ('{"a": 1.0}', MapOf(STRING, DOUBLE)),
        ("args.flag ? 1 : 2", INT),
        ("args.flag ? args.reason : args.id", STRING),
        ("args.flag ? null : 1", Nullable(INT)),
        ("args.lines.map(x, x.price)", ListOf(DOUBLE)),
        ("args.tags.filter(x, x != args.id)", ListOf(STRING)),
        ("args.labels.map(x, x)", ListOf(STRING)),
        ("args.labels.x", INT),
        ("args.loose", ANY),
        ("named(args)", BOOL),
    ],
)
def test_every_expression_has_one_type(text: str, kind: Type) -> None:
    assert check(parse(text), ROOTS, FUNCTIONS, ANY).type == kind


def test_every_part_has_its_type() -> None:
    checked = check(parse("args.amount > size(args.tags)"), ROOTS, FUNCTIONS)
    kinds = {written(part): str(checked.type_of(part)) for part in walk(checked.expr)}
    assert kinds == {
        "args.amount > size(args.tags)": "bool",
        "args.amount": "int",
        "args": "record",
        "size(args.tags)": "int",
        "args.tags": "list(string)",
    }


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("args.amount > 1 && now > args.day", {"args.amount", "now", "args.day"}),
        ('args.labels["x"] > args.labels.y', {"args.labels"}),
        ("args.lines.exists(x, x.price > args.price)", {"args.lines", "args.price"}),
        ('args.tags[args.amount] == "a"', {"args.tags", "args.amount"}),
        ("has(args.customer) && has(args.customer.age)", {"args.customer", "args.customer.age"}),
        ("named(args)", {"args"}),
        ("args.lines[0].price > 1.0", {"args.lines"}),
        ("1 == 1", set()),
    ],
)
def test_what_is_read_is_known_as_dotted_paths(text: str, reads: set[str]) -> None:
    assert check(parse(text), ROOTS, FUNCTIONS).reads == reads


def test_the_calls_of_the_host_are_known_in_their_order() -> None:
    text = "args.tags.all(x, named( x )) && (named(args.id) || length_of('a') == size('b'))"
    calls = check(parse(text), ROOTS, FUNCTIONS).calls
    assert [call.text for call in calls] == ["named(x)", "named(args.id)", 'length_of("a")']
    assert [call.name for call in calls] == ["named", "named", "length_of"]


# What may be missing, and what may be null


@pytest.mark.parametrize(
    "text",
    [
        'has(args.note) && args.note == "x"',
        '!has(args.note) || args.note == "x"',
        'has(args.note) ? args.note == "x" : false',
        '!has(args.note) ? true : args.note == "x"',
        'args.flag && has(args.note) && args.amount > 1 && args.note == "x"',
        'has(args.note) && (args.note == "x" || args.note == "y")',
        "has(args.note) && args.tags.exists(t, t == args.note)",
        '(has(args.note) && args.flag) && args.note == "x"',
        '!(!has(args.note) || args.flag) && args.note == "x"',
        '((has(args.note) && args.flag) || (has(args.note) && !args.flag)) && args.note == "x"',
        'args.memo != null && args.memo == "x"',
        'null != args.memo && args.memo == "x"',
        'args.memo == null || args.memo == "x"',
        'args.memo == null ? false : args.memo == "x"',
        '!(args.memo == null) && args.memo.startsWith("x")',
        'has(args.both) && args.both != null && args.both == "x"',
        '!has(args.both) || args.both == null || args.both == "x"',
        "has(args.customer) && has(args.customer.age) && args.customer.age > 3",
        "args.lines.exists(x, has(x.gift) && x.gift)",
        "args.lines.filter(x, has(x.gift)).size() > 0",
        "args.lines.map(x, has(x.gift), x.gift) == [true]",
        "args.lines[0].price > 1.0 && has(args.lines[0].gift) && args.lines[0].gift",
        "[1, null].exists(x, x != null && x > 0)",
        "named(args.memo)",
        "has(args.id)",
        "args.id != null",
        "has(args.labels.x) && args.labels.x == 1",
    ],
)
def test_a_test_before_the_use_is_enough(text: str) -> None:
    assert mistakes(text) == []


MISSING = "args.note may be missing: write has(args.note) && ..."
IS_NULL = "args.memo may be null: write args.memo != null && ..."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('args.note == "x"', [MISSING]),
        ("args.note != null", [MISSING]),
        ('args.note == "x" && has(args.note)', [MISSING]),
        ('has(args.note) || args.note == "x"', [MISSING]),
        ('!has(args.note) && args.note == "x"', [MISSING]),
        ('has(args.note) ? false : args.note == "x"', [MISSING]),
        ('(has(args.note) || args.flag) && args.note == "x"', [MISSING]),
        ('!(has(args.note) && args.flag) || args.note == "x"', []),
        ('args.tags.exists(t, has(args.note)) && args.note == "x"', [MISSING]),
        ("named(args.note)", [MISSING]),
        ('args.memo == "x"', [IS_NULL]),
        ('args.memo != "x"', [IS_NULL]),
        ('args.memo.startsWith("x")', [IS_NULL]),
        ('args.memo in ["x"]', [IS_NULL]),
        ("length_of(args.memo) > 1", [IS_NULL]),
        ('args.memo != null || args.memo == "x"', [IS_NULL]),
        ('has(args.memo) && args.memo == "x"', [IS_NULL]),
        (
            'has(args.both) && args.both == "x"',
            ["args.both may be null: write args.both != null && ..."],
        ),
        (
            "args.customer.email == args.id",
            ["args.customer may be missing: write has(args.customer) && ..."],
        ),
        (
            "has(args.customer) && args.customer.age > 3",
            ["args.customer.age may be missing: write has(args.customer.age) && ..."],
        ),
        ("args.lines.all(x, x.gift)", ["x.gift may be missing: write has(x.gift) && ..."]),
    ],
)
def test_a_use_without_the_test_says_which_to_write(text: str, told: list[str]) -> None:
    assert mistakes(text) == told


# What does not fit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("args.amont > 1", "args has no 'amont'; did you mean 'amount'?"),
        ("has(args.nota)", "args has no 'nota'; did you mean 'note'?"),
        ("agrs.amount > 1", "there is no 'agrs' here; did you mean 'args'?"),
        ("args.price > 20", "args.price is a double: write 20.0, not 20"),
        ("-20 < args.price", "args.price is a double: write -20.0, not -20"),
        ("args.amount > 20.0", "args.amount is an int: write 20, not 20.0"),
        (
            "args.amount > 20.5",
            "20.5 is a double and args.amount an int: write double(args.amount)",
        ),
        ("args.amount * args.price > 1.0", "write double(args.amount)"),
        ("args.price in [1, 2]", "args.price is a double: write 1.0, not 1"),
        ("20 in args.prices", "each of args.prices is a double: write 20.0, not 20"),
        ("args.id == 20", 'args.id is a string: write "20", not 20'),
        (
            'args.id + args.amount == "x"',
            "args.id is a string: write string(args.amount), not args.amount",
        ),
        (
            'args.amount == "20"',
            "args.amount is an int, not a string: write a number without quotes",
        ),
        ('args.flag == "true"', 'args.flag is a bool: write true, not "true"'),
        (
            'args.reason == "frau"',
            "args.reason is one of 'duplicate', 'fraud': never 'frau'; did you mean 'fraud'?",
        ),
        ('"x" != args.reason', "args.reason is one of 'duplicate', 'fraud': never 'x'"),
        ('args.reason in ["fraud", "dupl"]', "never 'dupl'; did you mean 'duplicate'?"),
        ('"x" in args.reasons', "each of args.reasons is one of 'duplicate', 'fraud': never 'x'"),
        (
            'args.day > "2026-01-05"',
            'args.day is a timestamp, not a string: write timestamp("2026-01-05T00:00:00Z")',
        ),
        ('args.day > "soon"', 'write timestamp("2026-01-01T00:00:00Z")'),
        ("args.day > args.id", "args.day is a timestamp, not a string: write timestamp(args.id)"),
        (
            'now - args.day > "24h"',
            'now - args.day is a duration, not a string: write duration("24h")',
        ),
        (
            "now - args.day > 24",
            'now - args.day is a duration: write duration("24s"), or h or m instead of s',
        ),
        ("args.day > 2026-1-5", 'a number: write timestamp("2026-01-05T00:00:00Z")'),
        ("now.hour > 3", "now is a timestamp, without fields: write now.getHours()"),
        ('args.reasons == "fraud"', 'args.reasons is a list: write "fraud" in args.reasons'),
        ('args.reasons.contains("fraud")', 'is a list: write "fraud" in args.reasons'),
        ('args.id.lower() == "x"', "there is no function 'lower': write matches("),
        ("args.loose > 5", "args.loose can be of several types: compare it with a single value"),
        ("args.loose && true", "args.loose can be of several types"),
        ("args.loose == args.loose", "args.loose can be of several types"),
        ("args.loose == now", "args.loose can be of several types"),
        ("size(args.loose) > 1", "args.loose can be of several types"),
        ("args.loose.x == 1", "args.loose can be of several types"),
        ("args.loose[0] == 1", "args.loose can be of several types"),
        ("args == args", "args is a record: == does not look into it, so name what is meant"),
        ("args.lines == []", "args.lines is a list(record): == does not look into it"),
        ("args.lines[0] in args.lines", "write args.lines.exists(x, ...)"),
        ('"a" in args.id', 'args.id is a string: write args.id.contains("a")'),
        ("1 in args.labels", "the keys of args.labels are string, and 1 is an int"),
        ("1 in 2", "2 is an int: `in` looks into a list or a map"),
        ('[1, "a"] == []', 'the items of a list are of one type: "a" is a string, not an int'),
        ('{"a": 1, "a": 2} == {}', 'the key "a" is here twice'),
        ("{1.5: 1} == {}", "the keys of a map are string, int or bool, not double"),
        ("args.amount && true", "args.amount is an int: && needs a bool"),
        ("true || args.id", "args.id is a string: || needs a bool"),
        ("!args.amount", "args.amount is an int: ! needs a bool"),
        ("-args.id == args.id", "args.id is a string: - needs a number"),
        ("args.amount ? true : false", "args.amount is an int: ? needs a bool"),
        (
            '(args.flag ? 1 : "a") == 1',
            '1 is an int and "a" is a string: both have to be of one type',
        ),
        ("args.tags < args.tags", "args.tags is a list(string): there is no < for it"),
        ("args.flag + true", "args.flag is a bool: there is no + for it"),
        ("args.tags[true] == args.id", "true is a bool: an index of args.tags is an int"),
        ('args["amount"] == 1', "args has named fields: write args.amount"),
        ("args.id[0] == args.id", "args.id is a string, without an index"),
        ("[][0] == 1", "there is nothing in it"),
        (
            "args.tags.length == 1",
            "write args.tags[0], args.tags.exists(x, ...) or size(args.tags)",
        ),
        ("args.id.x == 1", "args.id is a string, without fields"),
        ("args.id.all(x, true)", "args.id is a string: a macro needs a list"),
        ("[].all(x, true)", "[] is empty: there is nothing to look at"),
        ("args.tags.all(x, x)", "x is a string: all() needs a bool"),
        ("args.tags.filter(x, x) == []", "x is a string: filter() needs a bool"),
        ("args.tags.all(args, true)", "'args' has a meaning already: choose another variable"),
        ("args.tags.all(x, args.tags.all(x, true))", "'x' has a meaning already"),
        ("args.tags.any(x, x == args.id)", "there is no function 'any': write exists(x, ...)"),
        (
            "args.id.startWith(args.id)",
            "there is no function 'startWith'; did you mean 'startsWith'?",
        ),
        ("length(args.id) > 1", "there is no function 'length': write size()"),
        ("name(args.id)", "there is no function 'name'; did you mean 'named'?"),
        ("all(args.tags, true)", "all is written list.all(x, ...)"),
        ("startsWith(args.id, args.id)", "startsWith is written x.startsWith(...)"),
        ("args.amount.string() == args.id", "string is written string(x)"),
        ("args.named(args.id)", "named is written named(...), with nothing before it"),
        ("named()", "named() takes 1 value, not 0"),
        ("length_of(1) > 1", "1 is an int: length_of() takes a string"),
        ("args.id.contains(1)", "there is no string.contains(int), but string.contains(string)"),
        ("size(1) > 1", "there is no size(int), but size(string), size(list), size(map)"),
        ('args.id.matches("(")', "'(' is no pattern of RE2: missing ): ("),
        ('timestamp("2026-13-01T00:00:00Z") < now', "'2026-13-01T00:00:00Z' is no timestamp"),
        ('duration("1d") < age', '\'1d\' is no duration: write it as in "1h30m" or "24h"'),
        ('now.getHours("Berlin") > 9', "'Berlin' is no time zone"),
        ("args.amount", "args.amount is an int: a condition has to be true or false"),
        ("null", "null is null: a condition has to be true or false"),
    ],
)
def test_what_does_not_fit_is_told_with_what_to_write(text: str, message: str) -> None:
    told = mistakes(text)
    assert len(told) == 1
    assert message in told[0]


def test_all_problems_are_told_in_the_order_of_the_text() -> None:
    text = 'args.amont > 1 && args.price > 2 && nmaed(args.id) && args.reason == "x"'
    with pytest.raises(Mistyped) as refused:
        check(parse(text), ROOTS, FUNCTIONS)
    places = [text[problem.start : problem.end] for problem in refused.value.problems]
    assert places == ["args.amont", "args.price > 2", "nmaed(args.id)", '"x"']


def test_a_mistake_is_told_once_not_wherever_it_leads() -> None:
    assert len(mistakes("size(args.nonesuch.tags[0] + 1) > args.price")) == 1


@pytest.mark.parametrize(
    ("text", "wanted", "told"),
    [
        ("args.amount + 1", INT, []),
        ("args.memo", Nullable(STRING), []),
        ("null", Nullable(STRING), []),
        ("args.amount", ANY, []),
        ("[]", ListOf(STRING), []),
        ("args.amount", DOUBLE, ["args.amount is an int: not a double"]),
        ("args.memo", STRING, [IS_NULL]),
        ('"c"', Enum(("a", "b")), ["the result is one of 'a', 'b': never 'c'"]),
    ],
)
def test_another_result_can_be_wanted(text: str, wanted: Type, told: list[str]) -> None:
    assert mistakes(text, wanted=wanted) == told


def test_a_long_expression_is_cut_in_messages() -> None:
    told = mistakes(" + ".join(["args.amount"] * 20))
    assert len(told[0]) < 150


def test_a_host_does_not_redefine_what_cel_has() -> None:
    with pytest.raises(ValueError, match="size is a function of CEL"):
        Function("size", (STRING,), INT, len)


SIGNS = """args.amount args.price args.id args.note args.memo args.loose args.tags args.lines
    args.labels args.reason args.nonesuch run now x 1 2.5 'a' null true [] {} [1] has(args.note)
    size(args.tags) named(args.id) timestamp('x') args.tags.all(x, args.lines.map(x, .size()
    .matches('(') [0] .x + - * / % == != < >= in && || ! ? : , ( ) ( ) )"""
PIECES = st.sampled_from(SIGNS.split())


@given(st.lists(PIECES, max_size=15).map(" ".join))
def test_any_tree_fits_or_is_mistyped_at_places_in_the_text(text: str) -> None:
    try:
        evaluate(text)
    except Mistyped as error:
        places = [(problem.start, problem.end) for problem in error.problems]
        assert places
        assert all(0 <= start < end <= len(text) for start, end in places)
    except (Malformed, Failed):
        pass
