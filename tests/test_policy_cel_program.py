import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from conditions import FUNCTIONS, ROOTS, VALUES, evaluate, with_args
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.cel import (
    ANY,
    BOOL,
    INT,
    STEPS_MAX,
    STRING,
    Duration,
    Failed,
    Field,
    Function,
    ListOf,
    MapOf,
    Nullable,
    Program,
    Record,
    Timestamp,
    Undetermined,
    Unknown,
    check,
    parse,
)


def failure(text: str, values: Mapping[str, Any] = VALUES, **more: Any) -> str:
    with pytest.raises(Failed) as failed:
        evaluate(text, values, **more)
    return failed.value.message


# What expressions come to. Compared with Google's CEL for C++ (cel-expr-python 0.1.3).


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("7 / -2", -3),
        ("- -1", 1),
        ("9223372036854775807 * -1", -(2**63) + 1),
        ("1.0 / 0.0", float("inf")),
        ("-1.0 / 0.0", float("-inf")),
        ("1.0 / -0.0", float("-inf")),
        ("0.0 / 0.0 == 0.0 / 0.0", False),
        ("0.0 / 0.0 in [0.0 / 0.0]", False),
        ("[1.0].map(y, y - y).map(y, y / y).exists(y, [y] == [y])", False),
        ("[0.0] == [-0.0]", True),
        ("0.1 + 0.2 == 0.3", False),
        ("1 == 1 == true", True),
        ("false < true", True),
        ('"\\uffff" < "\\U00010000"', True),
        ('"\\u00e9" < "z"', False),
        ('size("\\U0001F600\\u00e9")', 2),
        ('"a" + "b"', "ab"),
        ('"abc".contains("")', True),
        ('"abc".endsWith("bc")', True),
        ('"abc".matches("b")', True),
        ('"abc".matches("^b")', False),
        ('matches("a\\nb", "a.b")', False),
        ('"\\u00e9".matches("^.$")', True),
        ('"abc".matches("(?i)B")', True),
        ("[1] + [2]", [1, 2]),
        ("[1, 2] == [1, 2]", True),
        ("[[1], [2]] != [[1], [3]]", True),
        ("1 in []", False),
        ('"a" in {"a": null}', True),
        ('{"a": 1, "b": 2} == {"b": 2, "a": 1}', True),
        ("{true: 1}[true]", 1),
        ("{1: 2}[1]", 2),
        ('{"a": 1}.a', 1),
        ("[1, 2].map(y, [3].map(z, y + z))", [[4], [5]]),
        ("[1, 2].map(y, y > 1, y * 2)", [4]),
        ('{"a": 1, "b": 2}.filter(k, k == "b")', ["b"]),
        ("[1, 2].exists_one(y, y > 1)", True),
        ("[1, 2].exists_one(y, y > 0)", False),
        ("has({'a': 1}.b)", False),
        ('int("-12") + int(2.9) + int(timestamp("1970-01-01T00:00:01.9Z"))', -9),
        ('double("1.5") + double(2)', 3.5),
        ('bool("t") && !bool("False")', True),
        ('string(1.0) + string(true) + string(-1) + string("a")', "1true-1a"),
        ('string(duration("1.5s"))', "1.500s"),
        ('string(timestamp(0) + duration("1h"))', "1970-01-01T01:00:00Z"),
        ('timestamp("2020-01-02T00:00:00Z") - timestamp(1577836800)', Duration(86400 * 10**9)),
        ('duration("1s") - duration("2500ms") < duration("0")', True),
        ("true ? 1 : 1 / 0", 1),
    ],
)
def test_an_expression_comes_to_what_cel_says(text: str, value: object) -> None:
    found = evaluate(text)
    assert found == value
    assert type(found) is type(value)


MOMENT = 'timestamp("2020-02-29T23:59:58.678Z")'


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("getFullYear()", 2020),
        ("getMonth()", 1),
        ("getDate()", 29),
        ("getDayOfMonth()", 28),
        ("getDayOfWeek()", 6),
        ("getDayOfYear()", 59),
        ("getHours()", 23),
        ("getMinutes()", 59),
        ("getSeconds()", 58),
        ("getMilliseconds()", 678),
        ('getDate("+01:00")', 1),
        ('getHours("-01:30")', 22),
        ('getMinutes("-01:30")', 29),
        ('getHours("America/New_York")', 18),
        ('getDayOfWeek("Asia/Tokyo")', 0),
    ],
)
def test_the_parts_of_a_moment_count_as_cel_counts(call: str, value: int) -> None:
    assert evaluate(f"{MOMENT}.{call}") == value


def test_the_parts_of_a_duration_are_whole_ones_but_milliseconds_are_the_rest() -> None:
    parts = ["getHours", "getMinutes", "getSeconds", "getMilliseconds"]
    found = [evaluate(f'duration("3h25m45s678ms").{part}()') for part in parts]
    assert found == [3, 205, 12345, 678]
    found = [evaluate(f'duration("-3h25m45s678ms").{part}()') for part in parts]
    assert found == [-3, -205, -12345, -678]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9223372036854775807 + 1", "beyond the range of an int"),
        ("-9223372036854775808 - 1", "beyond the range of an int"),
        ("-(-9223372036854775808)", "beyond the range of an int"),
        ("-9223372036854775808 / -1", "beyond the range of an int"),
        ("-9223372036854775808 % -1", "beyond the range of an int"),
        ("4611686018427387904 * 2", "beyond the range of an int"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("[1, 2][2]", "there is no [2]"),
        ("[1, 2][-1]", "there is no [-1]"),
        ('{"a": 1}["b"]', "has no key 'b'"),
        ('args.labels["y"]', "args.labels has no key 'y'"),
        ("args.tags[5]", "args.tags has 2 items: there is no [5]"),
        ('{args.id: 1, "pay_1": 2}', "the key 'pay_1' is in the map twice"),
        ('int("x" + args.id)', "int() cannot read 'xpay_1'"),
        ("bool(args.id)", "bool() cannot read 'pay_1'"),
        ("args.id.matches(args.id + '(')", "is no pattern of RE2"),
        ("timestamp(253402300800)", "outside the years 1 to 9999"),
        ('timestamp("9999-12-31T23:59:59Z") + duration("1s")', "outside the years 1 to 9999"),
        ('timestamp("9999-01-01T00:00:00Z") - timestamp("0001-01-01T00:00:00Z")', "292 years"),
    ],
)
def test_what_has_no_value_fails_and_says_why(text: str, message: str) -> None:
    assert message in failure(text)


# What decides wins over what fails


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("false && BAD", False),
        ("BAD && false", False),
        ("true || BAD", True),
        ("BAD || true", True),
        ("BAD && true && false", False),
        ("BAD || false || true", True),
        ("!(BAD && false)", True),
        ("[1, 0].exists(x, 1 / x > 0)", True),
        ("[0, 1].exists(x, 1 / x > 0)", True),
        ("[0, 2].all(x, 1 / x > 0)", False),
    ],
)
def test_the_deciding_side_wins_wherever_it_stands(text: str, value: bool) -> None:
    assert evaluate(text.replace("BAD", "(1 / 0 > 0)")) is value


@pytest.mark.parametrize(
    "text",
    [
        "BAD && true",
        "true && BAD",
        "BAD || false",
        "false || BAD || false",
        "BAD ? true : true",
        "!BAD",
        "[0, 1].all(x, 1 / x > 0)",
        "[0, 2].exists(x, 1 / x > 0)",
        "[0, 1].exists_one(x, 1 / x > 0)",
        "[0, 1].filter(x, 1 / x > 0) == []",
    ],
)
def test_without_a_deciding_side_the_failure_stands(text: str) -> None:
    assert "division by zero" in failure(text.replace("BAD", "(1 / 0 > 0)"))


@pytest.mark.parametrize(
    "text",
    [
        "true || timestamp(string(1)) < now",
        'true || duration(string(1.5)) == duration("1s")',
        "true || now.getHours(string(true)) == 1",
        'true || args.id.matches(string(duration("1s")) + "(")',
    ],
)
def test_what_is_known_beforehand_and_cannot_be_read_fails_only_when_it_is_asked_for(
    text: str,
) -> None:
    assert evaluate(text) is True
    assert failure(text.replace("true ||", "false ||", 1))


class Facts(Mapping[str, Any]):
    """Facts as a host has them: some are not known yet, some cannot be had."""

    def __getitem__(self, name: str) -> Any:
        match name:
            case "later":
                raise Unknown("run.later")
            case "gone":
                raise Failed("the ledger is gone")
            case "odd":
                raise OSError("disk on fire")
        return True

    def __contains__(self, name: object) -> bool:
        if name == "later":
            raise Unknown("run.later")
        return name == "there"

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("not a map to go through")

    def __len__(self) -> int:
        return 4


FACTS = {name: Field(BOOL, optional=False) for name in ("later", "gone", "odd", "there", "absent")}
FACT_ROOTS = {"run": Record(FACTS), "counts": MapOf(STRING, BOOL)}
FACT_VALUES = {"run": Facts(), "counts": Facts()}


def of_facts(text: str) -> Any:
    return evaluate(text, FACT_VALUES, roots=FACT_ROOTS)


@pytest.mark.parametrize(
    "text",
    [
        "run.later",
        "run.later && run.gone",
        "run.gone && run.later",
        "run.gone || run.later || run.odd",
        "[1, 2].all(x, x == 1 ? run.gone : run.later)",
        "has(run.later)",
        "counts.later",
        '"later" in counts',
    ],
)
def test_what_is_not_known_yet_is_told_before_what_failed(text: str) -> None:
    with pytest.raises(Unknown, match=r"run\.later is not known yet") as unknown:
        of_facts(text)
    assert unknown.value.name == "run.later"


@pytest.mark.parametrize("text", ["run.later && false", "true || run.later", "run.gone && false"])
def test_what_is_not_needed_need_not_be_known(text: str) -> None:
    assert of_facts(text) is text.startswith("true")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run.gone", "the ledger is gone"),
        ("run.odd", "run.odd cannot be read: OSError: disk on fire"),
        ("counts.odd", "an entry of counts cannot be read: OSError: disk on fire"),
        ("counts.exists(x, true)", "counts cannot be read: RuntimeError"),
        ("counts == {}", "the condition broke: RuntimeError"),
    ],
)
def test_what_a_host_raises_is_a_failure(text: str, message: str) -> None:
    with pytest.raises(Failed) as failed:
        of_facts(text)
    assert message in failed.value.message


def test_has_asks_a_fact_without_having_it() -> None:
    assert of_facts("has(run.there) && !has(run.absent) && !has(run.gone)") is True


# Values are what they were said to be, or nothing comes of them


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("args.amount > 0", {"amount": "5"}, "args.amount is '5', not an int"),
        ("args.amount > 0", {"amount": True}, "args.amount is true, not an int"),
        ("args.amount > 0", {"amount": None}, "args.amount is null, not an int"),
        ("args.amount > 0", {"amount": 1.5}, "args.amount is 1.5, not an int"),
        ("args.amount > 0", {"amount": float("nan")}, "args.amount is nan, not an int"),
        ("args.amount > 0", {"amount": 2**70}, "a number beyond 64 bits, not an int"),
        ("args.price > 0.0", {"price": float("nan")}, "args.price is nan, not a double"),
        ("args.price > 0.0", {"price": 10**400}, "a number beyond 64 bits, not a double"),
        ("args.price > 0.0", {"price": "1"}, "args.price is '1', not a double"),
        ("args.flag", {"flag": 1}, "args.flag is 1, not a bool"),
        ("args.id == 'x'", {"id": ["x"]}, "args.id is a list, not a string"),
        ("args.id == 'x'", {"id": b"x"}, "args.id is a value of type bytes, not a string"),
        ("args.day < now", {"day": "soon"}, "args.day: 'soon' is no timestamp"),
        ("args.day < now", {"day": 5}, "args.day is 5, not a timestamp"),
        ("args.reason == 'fraud'", {"reason": "x"}, "args.reason is 'x', not one of"),
        ("args.memo != null", {"memo": 5}, "args.memo is 5, not a string"),
        ("'a' in args.tags", {"tags": ["a", 5]}, "args.tags[1] is 5, not a string"),
        ("'a' in args.tags", {"tags": "abc"}, "args.tags is 'abc', not a list"),
        ("args.tags[0] == 'a'", {"tags": [5]}, "args.tags[0] is 5, not a string"),
        ("args.lines.exists(x, x.price > 1.0)", {"lines": [5]}, "x.price is missing"),
        ("args.lines.exists(x, has(x.gift))", {"lines": ["gift"]}, "x is 'gift', not an object"),
        ("args.labels.x > 0", {"labels": {"x": "1"}}, "args.labels.x is '1', not an int"),
        ("args.labels.x > 0", {"labels": [1]}, "args.labels is a list, not a map"),
        ("'x' in args.labels", {"labels": "x"}, "args.labels is 'x', not a map"),
        ("args.labels == {}", {"labels": {1: 1}}, "a key of args.labels is 1, not a string"),
        (
            "has(args.customer) && args.customer.email == 'x'",
            {"customer": "email"},
            "args.customer.email is missing: what should hold it has no fields",
        ),
        (
            "has(args.customer) && has(args.customer.age)",
            {"customer": "age"},
            "args.customer is 'age', not an object",
        ),
        ("args.id.matches('x')", {"id": "\ud800"}, "half of a surrogate pair"),
        ("args.id.matches(args.id)", {"id": "\ud800"}, "half of a surrogate pair"),
        ("int(args.loose) > 0", {"loose": [1]}, "int() cannot read a value of type list"),
        ("int(args.loose) > 0", {"loose": True}, "int() cannot read a value of type bool"),
        ("double(args.loose) > 0.0", {"loose": float("inf")}, "the number is not finite"),
        ("string(args.loose) == ''", {"loose": 2**70}, "beyond the range of an int"),
    ],
)
def test_a_value_of_another_type_fails(text: str, arguments: dict[str, Any], message: str) -> None:
    assert message in failure(text, with_args(**arguments))


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("args.amount == 5", {"amount": 5.0}),
        ("args.price == 5.0", {"price": 5}),
        ("args.prices == [1.0, 2.5]", {"prices": (1, 2.5)}),
        ("args.day == timestamp('2026-01-01T00:00:00Z')", {"day": "2026-01-01"}),
        ("args.memo == null", {"memo": None}),
        ("args.loose == 5.0", {"loose": 5}),
        ("args.loose == 5", {"loose": 5.0}),
        ("args.loose != 1", {"loose": True}),
        ("args.loose != true", {"loose": 1}),
        ("args.loose == null", {"loose": None}),
        ("args.loose != null && args.loose != ''", {"loose": {"a": []}}),
        ("args.loose in [1, 2]", {"loose": 2}),
        ("!(args.loose in [1, 2])", {"loose": [1]}),
        ("!(args.loose in [1, 2])", {"loose": True}),
        ("string(args.loose) == '2.5'", {"loose": 2.5}),
        ("string(args.loose) == 'true'", {"loose": True}),
        ("int(args.loose) == 2 && double(args.loose) == 2.0", {"loose": "2"}),
        ("bool(args.loose)", {"loose": "true"}),
    ],
)
def test_json_is_read_as_what_it_means(text: str, arguments: dict[str, Any]) -> None:
    assert evaluate(text, with_args(**arguments)) is True


def test_what_is_missing_fails() -> None:
    assert failure("args.amount > 1", {"args": {}}) == "args.amount is missing"
    assert failure("now > now", {}) == "now is missing"
    assert "has no fields" in failure("args.amount > 1", {"args": None})


def test_only_what_is_asked_for_is_read() -> None:
    values = with_args(price="broken", lines=[{"price": 1.5}, "broken"])
    assert evaluate("args.amount > 1 && args.lines.exists(x, x.price > 1.0)", values) is True


# The host


def test_a_host_gets_what_it_asks_for_with_itself_in_front() -> None:
    seen: list[Any] = []
    see = Function("see", (ANY, STRING), BOOL, lambda *values: seen.append(values) or True)
    evaluate("see(args.day, args.id) && see([1], 'a')", functions={"see": see}, host="the host")
    assert seen == [("the host", "2026-01-31", "pay_1"), ("the host", [1], "a")]


def test_where_anything_is_welcome_it_goes_as_it_came() -> None:
    host = ("2026-01-31", 20, "bc")
    text = "named(args.day) && named(args.price) && args.tags.exists(x, named(x))"
    assert evaluate(text, host=host) is True


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (ValueError("no"), "odd() failed: ValueError: no"),
        (RecursionError("deep"), "odd() failed: RecursionError: deep"),
        ("yes", "odd(1) is 'yes', not a bool"),
        (None, "odd(1) is null, not a bool"),
    ],
)
def test_a_host_that_errs_is_a_failure(result: Any, message: str) -> None:
    def answer(_host: Any, _value: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    odd = {"odd": Function("odd", (INT,), BOOL, answer)}
    assert failure("odd(1) || false", functions=odd) == message
    assert evaluate("odd(1) || true", functions=odd) is True


def test_a_host_may_not_know_yet() -> None:
    def answer(_host: Any) -> bool:
        raise Unknown("the weather")

    with pytest.raises(Unknown, match="the weather is not known yet"):
        evaluate("sunny()", functions={"sunny": Function("sunny", (), BOOL, answer)})


# The budget

LONG = {"l": list(range(1000)), "s": "ab" * 100_000, "t": ["x" * 10_000] * 500}
LONG_ROOTS = {"l": ListOf(INT), "s": STRING, "t": ListOf(STRING)}


@pytest.mark.parametrize(
    "text",
    [
        "l.all(x, l.all(y, x + y >= 0))",
        "l.map(x, l.map(y, y)) == []",
        "l.all(x, x in l)",
        "l.all(x, x in l.map(y, y))",
        "l.all(x, l == l)",
        "l.all(x, s.contains('c') == false)",
        "l.all(x, size(s + s) > 0)",
        "l.all(x, s.matches('^(ab)*$'))",
        "l.all(x, !'a'.matches(string(x)))",
        "t.all(x, t == t)",
        "l.map(x, l + l) == []",
    ],
)
def test_work_that_grows_with_the_values_ends(text: str) -> None:
    told = failure(text, LONG, roots=LONG_ROOTS)
    assert told == f"the condition takes more than {STEPS_MAX:,} steps"


def test_ordinary_work_stays_far_below_the_budget() -> None:
    assert evaluate("l.all(x, x in [1, 2, 3] || x >= 0)", LONG, roots=LONG_ROOTS) is True
    assert evaluate("s.matches('^(ab)*$') && size(s) > 9 && 999 in l", LONG, roots=LONG_ROOTS)


def test_a_hundred_thousand_arguments_are_too_many_to_look_at() -> None:
    assert "more than" in failure("'x' in args.tags", with_args(tags=["a"] * 100_001))


# Explanations


def explained(text: str, values: Mapping[str, Any] = VALUES, host: Any = ("a",)) -> dict[str, Any]:
    return Program(check(parse(text), ROOTS, FUNCTIONS)).explain(values, host)


def test_an_explanation_tells_what_was_read_and_what_the_host_said() -> None:
    text = "args.amount > 2000 && (named(args.id) || args.day < now) && args.labels['x'] == 1"
    assert explained(text) == {
        "args.amount": 2500,
        "args.id": "pay_1",
        "named(args.id)": False,
        "args.day": "2026-01-31T00:00:00Z",
        "now": "2026-02-01T09:30:00Z",
        'args.labels["x"]': 1,
    }


def test_an_explanation_tells_only_what_was_needed() -> None:
    assert explained("args.amount < 0 && args.flag") == {"args.amount": 2500}


def test_an_explanation_tells_whether_an_optional_field_was_there() -> None:
    text = 'has(args.note) && args.note == "x"'
    assert explained(text) == {"has(args.note)": False}
    assert explained(text, with_args(note="y")) == {"has(args.note)": True, "args.note": "y"}


def test_inside_a_macro_each_call_is_told_with_its_item() -> None:
    assert explained("args.tags.all(t, named(t))") == {
        "args.tags": ["a", "bc"],
        'named(t) where t = "a"': True,
        'named(t) where t = "bc"': False,
    }


def test_an_explanation_tells_what_failed_and_what_is_not_known() -> None:
    assert explained("args.amount > 0 || args.flag", with_args(amount="x")) == {
        "args.amount": "[error: args.amount is 'x', not an int]",
        "args.flag": True,
    }
    program = Program(check(parse("run.later || run.there"), FACT_ROOTS, {}))
    assert program.explain(FACT_VALUES) == {"run.later": "[unknown]", "run.there": True}


def test_an_explanation_is_short_however_long_the_values_are() -> None:
    values = with_args(
        id="\ud800" * 1000, tags=[f"{n}{'y' * 1000}" for n in range(1000)], loose=[[[[[[5]]]]]]
    )
    text = "named(args.id) || args.tags.exists(t, named(t)) || named(args.loose) || args.flag"
    told = explained(text, values)
    assert len(json.dumps(told, ensure_ascii=False).encode()) < 30_000
    assert len(told["args.id"]) == 200
    assert told["args.tags"][-1] == "[980 more]"
    assert len(told) == 50


def test_a_program_says_what_it_was_made_of() -> None:
    program = Program(check(parse("args.flag"), ROOTS, FUNCTIONS))
    assert isinstance(program, Program)
    assert program.checked.reads == {"args.flag"}


# Whatever comes

NESTED: Any = []
for _ in range(50_000):
    NESTED = [NESTED]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["\ud800", "2026-01-31", "2026-01-31T09:30:00Z", "fraud", "a", b"bytes", 1j]),
    st.builds(lambda: NESTED),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["price", "gift", "email", "age", "x", "y"]), inner)
    ),
    max_leaves=8,
)
FIELDS = ROOTS["args"].fields if isinstance(ROOTS["args"], Record) else {}
HOSTILE = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(FIELDS, JSON) | {"customer": JSON, "lines": JSON}
).map(lambda arguments: {**VALUES, "args": arguments, "run": arguments})

CONDITIONS = [
    "args.amount * 2 > 10 / args.amount",
    "args.price / args.price > 1.0 || args.price in args.prices",
    "args.id + args.id > args.id && args.id.matches(args.id)",
    "args.flag ? args.amount > 1 : args.price < 0.0",
    "args.day - now < duration('1h') && args.day.getHours(args.id) > 1",
    "args.reason in ['fraud'] || args.reasons == ['fraud'] || args.reason in args.reasons",
    "has(args.note) && args.note.size() > 1",
    "args.memo != null && args.memo.contains(args.id)",
    "has(args.both) && args.both != null && args.both == 'a'",
    "args.loose == 1 || args.loose == 'a' || args.loose == null || args.loose in [1.5]",
    "int(args.loose) > 1 || double(args.loose) > 1.0 || bool(args.loose)",
    "string(args.loose) == 'a' || named(args.loose)",
    "args.tags.all(x, x > 'a') && size(args.tags) > 0",
    "args.tags + args.tags == args.tags.filter(x, x in args.tags)",
    "args.lines.exists(x, x.price > 1.0 && has(x.gift) && x.gift)",
    "args.lines[0].price == args.lines[args.amount].price",
    "args.labels.x > 0 || 'x' in args.labels || args.labels == {} || has(args.labels.x)",
    "args.labels.map(k, args.labels[k]).exists_one(v, v > 0)",
    "has(args.customer) && has(args.customer.age) && args.customer.age > 3",
    "has(args.customer) && args.customer.email == args.id",
    "timestamp(args.amount) > now || timestamp(args.id) > now || int(args.id) > 0",
    "run.calls > 1 && args.id in run.refunded",
    "named(args) || named(args.lines) || named(args.day)",
]
PROGRAMS = [Program(check(parse(text), ROOTS, FUNCTIONS)) for text in CONDITIONS]


def told_by(program: Program, values: Any) -> str:
    """The answer; what was not foreseen shows by its message."""
    try:
        return repr(program(values, ()))
    except Undetermined as error:
        return str(error) if "the condition broke" in str(error) else type(error).__name__


@given(HOSTILE, st.sampled_from(PROGRAMS))
def test_whatever_the_values_are_it_is_an_answer_or_undetermined(
    values: dict[str, Any], program: Program
) -> None:
    assert told_by(program, values) in ("True", "False", "Failed")
    json.dumps(program.explain(values, ()))


@pytest.mark.parametrize("text", CONDITIONS)
def test_no_value_nests_too_deeply_to_be_met(text: str) -> None:
    values = {**VALUES, "args": dict.fromkeys(FIELDS, NESTED), "run": {"calls": NESTED}}
    program = Program(check(parse(text), ROOTS, FUNCTIONS))
    assert told_by(program, values) in ("True", "False", "Failed")
    json.dumps(program.explain(values, ()))


@given(JSON, st.sampled_from(PROGRAMS))
def test_whatever_stands_for_the_roots_it_is_an_answer_or_undetermined(
    values: Any, program: Program
) -> None:
    for world in (values, {"args": values, "run": values, "now": values}):
        assert told_by(program, world) in ("True", "False", "Failed")


TRUTHS = st.sampled_from(["true", "false", "1 / 0 > 0", "run.later"])


def outcome(text: str) -> bool | str:
    values = {"run": Facts()}
    try:
        return bool(evaluate(text, values, roots=FACT_ROOTS))
    except Undetermined as error:
        return type(error).__name__


@given(st.lists(TRUTHS, min_size=2, max_size=5), st.randoms())
def test_the_order_of_the_parts_changes_nothing(parts: list[str], random: Any) -> None:
    shuffled = random.sample(parts, len(parts))
    for sign in (" && ", " || "):
        assert outcome(sign.join(parts)) == outcome(sign.join(shuffled))


@given(st.lists(TRUTHS, min_size=2, max_size=5))
def test_not_all_is_some_not(parts: list[str]) -> None:
    negated = [f"!({part})" for part in parts]
    both = f"!({' && '.join(parts)})"
    assert outcome(both) == outcome(" || ".join(negated))


@given(st.lists(TRUTHS, min_size=2, max_size=5), TRUTHS)
def test_grouping_changes_nothing(parts: list[str], last: str) -> None:
    for sign in (" && ", " || "):
        nested = f"({sign.join(parts)}){sign}{last}"
        assert outcome(nested) == outcome(sign.join([*parts, last]))


@given(st.lists(TRUTHS, min_size=1, max_size=4))
def test_all_and_exists_are_and_and_or_over_the_items(parts: list[str]) -> None:
    chosen = " : ".join(f"i == {index} ? {part}" for index, part in enumerate(parts))
    items = list(range(len(parts)))
    assert outcome(f"{items}.all(i, {chosen} : true)") == outcome(" && ".join([*parts, "true"]))
    assert outcome(f"{items}.exists(i, {chosen} : false)") == outcome(
        " || ".join([*parts, "false"])
    )


def test_a_null_that_was_tested_is_never_met() -> None:
    roots = {"l": ListOf(Nullable(INT))}
    assert evaluate("l.filter(x, x != null && x > 1)", {"l": [None, 1, 2]}, roots=roots) == [2]


def test_a_moment_can_be_given_by_the_host_or_read_from_json() -> None:
    now = Timestamp.of_milliseconds(1_790_000_000_000)
    assert evaluate("now", {"now": now}) == evaluate("now", {"now": "2026-09-21T14:13:20Z"})
