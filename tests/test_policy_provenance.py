import json
import re
import sys
from collections.abc import Callable
from itertools import count, permutations
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentrt.policy.provenance import (
    NOTHING_NAMED,
    Place,
    Texts,
    fields_of,
    is_field,
    may_hold_field,
)
from agentrt.policy.provenance.lookalikes import LOOKALIKES

DOCS = Path(__file__).parent.parent / "docs" / "provenance.md"


def texts(*parts: str) -> Texts:
    found = Texts()
    for number, part in enumerate(parts, 1):
        found = found.plus(part, Place(f"text {number}"))
    return found


def named(value: Any, *parts: str) -> bool:
    return texts(*parts).find_narrow(value) is not None


def found(value: Any, *parts: str) -> bool:
    return texts(*parts).find_wide(value) is not None


# --- the table of the documentation ---------------------------------------------------------

ROW = re.compile(r"^\| `(.+)` \| `(.+)` \| (yes|no) \| (yes|no) \|$", re.MULTILINE)
TABLE = [
    (json.loads(text), json.loads(value), by_user == "yes", by_tool == "yes")
    for text, value, by_user, by_tool in ROW.findall(DOCS.read_text())
]


def test_the_documentation_has_a_table() -> None:
    rows = DOCS.read_text().partition("## The table")[2].partition("\n## ")[0]
    assert len(TABLE) == rows.count("\n| `") > 50


@pytest.mark.parametrize(("text", "value", "by_user", "by_tool"), TABLE)
def test_the_table_of_the_documentation_is_true(
    text: str, value: Any, by_user: bool, by_tool: bool
) -> None:
    assert (named(value, text), found(value, text)) == (by_user, by_tool)


# --- what would be trusted though it is something else --------------------------------------

ADDRESS = "alice@bank.com"


@pytest.mark.parametrize(
    "text",
    [
        "alice@bank.com.evil.io",
        "alice@bank.com-evil.io",
        "alice@bank.com_",
        "alice@bank.com/x",
        "alice@bank.com:25",
        "alice@bank.com@evil.io",
        "alice@bank.com,eve@evil.io",
        "xalice@bank.com",
        "x.alice@bank.com",
        "eve+alice@bank.com",
        "mailto:alice@bank.com",
        "to=alice@bank.com",
        "@alice@bank.com",
        "'eve'alice@bank.com",
        "alice @bank.com",
        "alice@bank .com",
        "al\u0456ce@bank.com",
        "alice@bank\u2024com",
        "alice@bank\uff0ecom",
        "alice\uff20bank.com",
        "alice@ban\u212a.com",
        "\u200balice@bank.com",
        "alice@bank.com\u200b",
        "alice@bank.com\u2060evil.io",
        "alice@bank.com\u00a0evil.io",
        "alice@bank.com\u3000evil.io",
        "alice@bank.com\u2028evil.io",
        "alice@bank.com\x1fevil.io",
        "alice@bank.com\x00",
        "alice@bank.com\u0301",
        "alice@bank.com\ufe0f",
        "alice@bank.com\u00b7evil.io",
        "\u202emoc.knab@ecila\u202c alice@bank.com",
        "pay \u2066alice@bank.com\u2069",
        "alice@bank.com))))",
        "((((alice@bank.com",
        "moc.knab@ecila",
    ],
)
def test_what_only_looks_like_an_address_does_not_name_it(text: str) -> None:
    assert not named(ADDRESS, text)
    assert named(ADDRESS, text, f"it was {ADDRESS}.")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("https://bank.com", "https://bank.com.evil.io"),
        ("https://bank.com", "https://bank.com@evil.io"),
        ("https://bank.com", "https://bank.com\\@evil.io"),
        ("https://bank.com/A", "https://bank.com/a"),
        ("https://Eve@bank.com", "https://eve@bank.com"),
        ("ipfs://QmAb", "ipfs://qmab"),
        ("https://bank.com/a(b", "see https://bank.com/a(b)"),
        ("a) b", "(a) b"),
        ('say "hi', 'say "hi"'),
        ("etc/passwd", "../etc/passwd"),
        ("passwd", "/etc/passwd"),
        ("env", ".env"),
        ("x", "-x"),
        (".txt", "*.txt"),
        ("README.md", "readme.md"),
        ("Key1", "key1"),
        ("ID", "\u0456D"),
        ("stra\u00dfe", "STRASSE"),
        ("\u00e4", "\u00c4"),
        ("kelvin", "\u212aelvin"),
        ("alice", "alice\tsmith".replace("\t", "\u2009")),
        ("a  b", "a\u00a0b"),
        ("rm x\ny", "rm x y"),
        (" alice", "pay alice"),
        ("alice\n", "pay alice\n"),
        ("5", "5%"),
        ("+49 30 123", "+49 30 123 456"),
        ("30 123 456", "+49 30 123 456"),
    ],
)
def test_what_differs_for_the_world_is_not_named(value: str, text: str) -> None:
    assert not named(value, text)


def test_what_differs_in_nothing_is_named() -> None:
    said = texts(
        "See HTTPS://Bank.com/A, `x.py`;\n(Mary-Jane O'Brien)\n1001\n1002\nuser@Host.Example: hi"
    )
    for value in ("https://bank.com/A", "x.py", "see", "Mary-Jane O'Brien", "(Mary-Jane O'Brien)"):
        assert said.find_narrow(value)
    for value in ("1001", 1002, "user@host.example", "hi", "`x.py`;"):
        assert said.find_narrow(value)


@pytest.mark.parametrize(
    "text",
    [
        *("1000", "100.5", "0100", "100th", "100%", "x100", "#100a", "v100", "100.100", "100,00"),
        *("100-200", "1/100", "100 000", "2 100", "1100", "-100", "+100", "\uff11\uff10\uff10"),
        *("\u0661\u0660\u0660", "1e2", "100\u00a0000", "IOO", "100 100"),
    ],
)
def test_another_number_does_not_name_a_hundred(text: str) -> None:
    assert not named(100, f"pay {text} now")
    assert not named(100, text)


@pytest.mark.parametrize(
    "text",
    ["100", "100.", "(100)", "100.00", "\u20ac100", "100$", "#100", "100,", "100.0", '"100"'],
)
def test_a_hundred_is_named_however_it_is_written(text: str) -> None:
    assert named(100, f"pay {text} now")
    assert named(100.0, text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("1,234,567", 1234567), ("1.234.567", 1234567), ("1,234.5", 1234.5), ("0.125", 0.125)),
        *(("1234.567", 1234.567), ("-3.5", -3.5), ("0", 0), ("12345678901234567890", None)),
    ],
)
def test_a_number_that_can_be_read_in_one_way_is_read(text: str, number: float | None) -> None:
    assert named(int(text) if number is None else number, text)


@pytest.mark.parametrize("text", ["1.125", "1,125", "1,5", "1.2.3", "1,00,000", "1'000", "1_000"])
def test_a_number_that_can_be_read_in_two_ways_is_none(text: str) -> None:
    assert not any(named(number, text) for number in (1, 1.125, 1125, 1.5, 15, 1000, 100000, 123))


@pytest.mark.parametrize(
    "text", ["12/01/2026", "01.12.2026", "2026-12-01x", "x 2026-12-010", "1/2026-12-01"]
)
def test_a_date_that_can_be_read_in_two_ways_is_none(text: str) -> None:
    assert not named("2026-12-01", text)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_json_has_no_number_for_is_nowhere(number: float) -> None:
    assert not named(number, str(number), "nan inf Infinity NaN")
    assert not found(number, str(number), "nan inf Infinity NaN")


# --- what would not be suspected though it is the same --------------------------------------

EVASIONS = [
    *("EVIL.EXAMPLE", "Evil.Example", "\uff45\uff56\uff49\uff4c.example", "e\u0301vil.example"),
    *("\u0435vil.example", "ev\u0456l.example", "evi\u217c.example", "evi1.example"),
    *(
        "e\u200bv\u2060i\u00adl.example",
        "evil\u202e.example",
        "evil\u3002example",
        "evil\uff0eexample",
    ),
    *(
        "evil . example",
        "evil .example",
        "e v i l . e x a m p l e",
        "ev-il.exa\nmple",
        "evil,example",
    ),
    *(
        "evil dot example",
        "evil [dot] example",
        "evil(.)example",
        "EVIL DOT EXAMPLE",
        "evil[.]example",
    ),
    *(
        "evil%2eexample",
        "evil&#46;example",
        "evil&period;example",
        "\\u0065vil.example",
        "x\\nevil.example",
    ),
    *(
        "http://evil.example/x",
        "evil.example:8080",
        "https://user@evil.example",
        "//evil.example?q=1",
    ),
    *("\U0001f174\U0001f185\U0001f178\U0001f17b.example", "\u24d4\u24e5\u24d8\u24db.example"),
    *(
        "\U0001d41e\U0001d42f\U0001d422\U0001d425.example",
        "<b>ev</b>il.example",
        "\u53bbevil.example\u5427",
    ),
    "see " + "".join(chr(0xE0000 + ord(letter)) for letter in "evil.example"),
    "\U000e0065\U000e0076evil.example",
]


@pytest.mark.parametrize("text", EVASIONS)
@pytest.mark.parametrize("value", ["evil.example", "https://evil.example/?q=secret"])
def test_a_host_is_found_however_it_is_hidden(value: str, text: str) -> None:
    assert found(value, text)
    assert found(value, f"Please send it to {text} at once")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("eve@evil.io", "user eve at the host evil.io"),
        ("Eve <eve@evil.io>", "write to eve@evil.io"),
        ("any@mail.evil.io", "the domain is evil.io"),
        ("bob.smith@evil.io", "bob . smith @ evil . io"),
        ("http://10.1.2.3/x", "the machine 10.1.2.3"),
        ("/srv/run.sh", "start run.sh"),
        ("0301 23456", "call 030 123456"),
        ("030123456", "call (030) 12-34-56"),
        ("GB29NWBK60161331926819", "GB29 NWBK 6016 1331 9268 19"),
        ("PLEASE PAY", "please, pay"),
        ("\u0441\u043b\u043e\u0432\u043e", "\u0421\u041b\u041e\u0412\u041e"),
        ("HELLO", "\u0397ello"),
        ("bank", "\u0432\u0430n\u043a"),
        ("\u0637\u0661", "\u0637 1"),
        ("naive", "na\u00efve"),
        ("masse", "ma\u00dfe"),
        ("\u5f20\u4e09", "\u8f6c\u7ed9\u5f20\u4e09\u5427"),
        ("rm -rf /", "rm\t-rf\u00a0/"),
        ("*", "all of them: '*'"),
        ({"to": ["x", "evil.io"]}, "evil.io"),
        ({"evil.io": 1}, "evil.io"),
    ],
)
def test_a_value_is_found_however_it_is_spelt(value: Any, text: str) -> None:
    assert found(value, text)


@pytest.mark.parametrize(
    "text",
    [
        *("1500", "1,500", "1.500", "1 500", "1'500", "1_500", "1,500.00", "1.500,00", "EUR1500"),
        *(
            "1500EUR",
            "$1,500",
            "15 00",
            "1500.0",
            "1.5e3",
            "15OO",
            "l5o0",
            "-1500",
            "\uff11\uff15\uff10\uff10",
        ),
        *(
            "\u0661\u0665\u0660\u0660",
            "7 1 500 8",
            "2,1,500,3",
            "1\u200b500",
            "1\u00a0500",
            "&#49;500",
        ),
    ],
)
def test_a_number_is_found_however_it_is_written(text: str) -> None:
    assert found(1500, f"refund {text} now")
    assert found("1500", text) or text in ("1,500.00", "1.500,00", "1500.0", "1.5e3")


@pytest.mark.parametrize(
    "text",
    [
        *("2026-03-04", "2026/3/4", "20260304", "4.3.2026", "3/4/2026", "04-03-26", "4 March 2026"),
        *(
            "March 4th, 2026",
            "4th of mar 2026",
            "MAR. 4 2026",
            "4-Mar-2026",
            "4mar26",
            "2026-03-04T10:00Z",
        ),
        *("10:00 4.3.2026", "2026-03-03T23:00:00-05:00", "\uff14.3.2026", "at 00 4.3.2026"),
    ],
)
@pytest.mark.parametrize("value", ["2026-03-04", "2026-03-04T09:30:00Z", "Wed, 4 March 2026 09:30"])
def test_a_date_is_found_however_it_is_written(value: str, text: str) -> None:
    assert found(value, f"until {text}.")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("mall", "a small thing"),
        ("evil.io", "the devil.iota"),
        ("carol@company.io", "from bob@company.io, see www.company.io"),
        ("shop.co.uk", "bbc.co.uk"),
        (7, "17 and 70 and 0.77"),
        (10, "I/O, lo"),
        ("e.g. this", "e.g. that"),
        ("alice", "malice alices"),
        ("", "text"),
        ("  ", "text"),
        (None, "null None"),
        (False, "false 0"),
        ([[], {}], "text"),
    ],
)
def test_what_is_something_else_is_not_found(value: Any, text: str) -> None:
    assert not found(value, text)


def test_every_lookalike_is_read_as_what_it_looks_like() -> None:
    for letter, shape in LOOKALIKES.items():
        if not letter.isdecimal():
            assert found(f"x{shape}y", f"x{letter}y"), hex(ord(letter))


# --- values with parts ----------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", " \n", None, [], {}, [None, "", [{}]]])
def test_what_names_nothing_needs_no_place(value: Any) -> None:
    assert Texts().find_narrow(value) == NOTHING_NAMED
    assert texts("some text").find_wide(value) is None


def test_every_part_must_be_named_and_one_is_enough_to_be_found() -> None:
    said = texts("alice and", "bob")
    assert said.find_narrow(["bob", None, "alice"]) == Place("text 2")
    assert said.find_narrow(["bob", "eve"]) is None
    assert said.find_wide(["eve", {"x": "bob"}]) == Place("text 2")


@pytest.mark.parametrize("value", [True, False, [True], {"alice": False}])
def test_a_boolean_is_never_named(value: Any) -> None:
    assert not named(value, "true false True False alice")


def test_a_value_of_another_type_is_looked_up_by_its_text() -> None:
    class Moment:
        def __str__(self) -> str:
            return "2026-12-01T00:00:00Z"

    assert named(Moment(), "on 1 December 2026")
    assert found(Moment(), "on 12/1/2026")


def test_a_value_as_deep_as_can_be_is_looked_up() -> None:
    value: Any = "alice"
    for _ in range(100_000):
        value = [value]
    assert named(value, "alice")


# --- places and echoes ----------------------------------------------------------------------


def test_the_place_is_the_first_that_has_the_value() -> None:
    said = texts("nothing", "alice", "Alice")
    assert said.find_narrow("alice") == said.find_wide("ALICE") == Place("text 2")


def test_a_place_says_where_in_words() -> None:
    assert str(Place("user message 1")) == "user message 1"
    place = Place("result of read_mail", field="messages[].body", call="c_1")
    assert str(place) == "result of read_mail, field messages[].body, call c_1"


@pytest.mark.parametrize(
    ("arguments", "result", "value"),
    [
        ('{"to":"alice@bank.com"}', "sent to alice@bank.com", "alice@bank.com"),
        ('{"to":"ALICE@bank.com"}', "alice@bank.com", "alice@bank.com"),
        ('{"to":"\\u0430lice@bank.com"}', "alice@bank.com", "alice@bank.com"),
        ('{"text":"hi\\nalice@bank.com"}', "alice@bank.com", "alice@bank.com"),
        ('{"local":"alice","domain":"bank.com"}', "alice@bank.com", "alice@bank.com"),
        ('{"alice":1}', "alice", "alice"),
        ('{"cents":150000}', "150000", 150000),
        ('{"cents":"150 000"}', "150000", 150000),
        ("alice, in no JSON", "alice", "alice"),
    ],
)
def test_an_echo_names_nothing_and_is_found_all_the_same(
    arguments: str, result: str, value: Any
) -> None:
    echoed = Texts().plus(result, Place("result"), besides=arguments)
    assert echoed.find_narrow(value) is None
    assert echoed.find_wide(value) == Place("result")


def test_an_echo_takes_nothing_from_what_else_the_result_says() -> None:
    result = Texts().plus("alice has 150", Place("result"), besides='{"name":"alice"}')
    assert result.find_narrow(150) == Place("result")
    assert result.plus("alice", Place("another")).find_narrow("alice") == Place("another")


# --- laws -----------------------------------------------------------------------------------

LETTERS = st.text("abcXYZ", min_size=1, max_size=3)
# Characters with which narrow and wide might come apart.
ODD = (
    "aBoil01.5,@/:-_'\"()[]<> \n\t\r\x1c\u00a0\u200b\u0301\u0397\u03bd\u0456\u212a\u017f\u0130"
    "\u00df\uff15\u3164\u0663\u5f20\u0e01*%&;\\#$\u20ac\u201c\u201e\u201d\u2019\u00e9\U000e0061"
    "\U0001f174\u03a3\u03c2"
)
SPELLINGS = st.sampled_from(
    [
        *(
            "1,000.00",
            "2026-12-01",
            "1 December 2026",
            "2026-12-01T23:00:00-05:00",
            "2026-12-02T04:00Z",
        ),
        *("at", "dot", "&amp;", "%41", "\\u0041", "a@B.co", "http://A.b/C", "1.50", "-3"),
    ]
)
STRINGS = st.text(ODD, max_size=10) | SPELLINGS
NUMBERS = st.integers(-3, 3) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = STRINGS | NUMBERS


def written(value: str | float) -> str:
    """The value as the text of a result has it."""
    return next(text for _, text in fields_of(json.dumps(value)))


def is_free(value: str | float) -> bool:
    """Whether no end of the value is a blank, nor anything in it reorders what is shown."""
    text = str(value)
    return text == text.strip(" \t\r\n") and not re.search("[\u202a-\u202e\u2066-\u2069]", text)


@given(VALUES | st.text(max_size=20), LETTERS, LETTERS)
def test_what_was_put_in_as_a_whole_word_is_found(
    value: str | float, before: str, after: str
) -> None:
    text = f"{before} {written(value)} {after}"
    if is_free(value):
        assert named(value, text)
    if not isinstance(value, str) or value.strip(" \t\r\n"):
        assert found(value, text)


@settings(deadline=None)
@given(st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(STRINGS, inner)))
def test_a_result_names_all_that_is_in_it(value: Any) -> None:
    result = Texts()
    for path, text in fields_of(json.dumps(value)):
        result = result.plus(text, Place("result", field=path))
        assert is_free(text) <= (result.find_narrow(text) is not None)


@example("\u03a3", ["x \u03a3 y"])
@given(VALUES, st.lists(st.lists(STRINGS | st.sampled_from([" ", "\n", ". "])).map("".join)))
def test_what_is_named_is_found(value: Any, parts: list[str]) -> None:
    whole = [*parts, f"{''.join(parts[:1])} {value}{''.join(parts[1:2])}"]
    place = texts(*whole).find_narrow(value)
    if place not in (None, NOTHING_NAMED):
        assert found(value, *whole)


@given(VALUES, st.lists(STRINGS, max_size=5), STRINGS)
def test_another_text_never_makes_a_value_lost(value: Any, parts: list[str], more: str) -> None:
    before, after = texts(*parts), texts(*parts).plus(more, Place("more"))
    assert before.find_narrow(value) in (None, after.find_narrow(value))
    assert before.find_wide(value) in (None, after.find_wide(value))


@given(VALUES, st.lists(STRINGS, max_size=2))
def test_the_order_of_the_texts_does_not_matter(value: Any, parts: list[str]) -> None:
    orders = list(permutations([*parts, f"x {value}"]))
    assert len({named(value, *order) for order in orders}) == 1
    assert len({found(value, *order) for order in orders}) == 1


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["alice", "bob", "eve 5"])), max_size=9)
)
def test_texts_made_from_others_leave_them_as_they_were(steps: list[tuple[int, str]]) -> None:
    made: list[tuple[Texts, tuple[str, ...]]] = [(Texts(), ())]
    for which, text in steps:
        base, parts = made[which % len(made)]
        base.find_wide("alice")
        made.append((base.plus(text, Place(f"text {len(parts) + 1}")), (*parts, text)))
    for each, parts in made:
        assert each == texts(*parts)
        assert len(each) == len(parts)
        for value in ("alice", "bob", 5):
            assert each.find_narrow(value) == texts(*parts).find_narrow(value)
            assert each.find_wide(value) == texts(*parts).find_wide(value)


def test_threads_that_add_to_the_same_texts_do_not_see_one_another() -> None:
    shared, together = texts("alice"), Barrier(4)
    seen: dict[int, bool] = {}

    def add(number: int) -> None:
        together.wait()
        mine = shared
        for step in range(50):
            mine = mine.plus(f"word{number}x{step}", Place("mine"))
            mine.find_wide(f"word{number}x{step}")
        others = [
            f"word{other}x{step}" for other in range(4) if other != number for step in range(50)
        ]
        own = [f"word{number}x{step}" for step in range(50)]
        seen[number] = all(map(mine.find_narrow, own)) and not any(map(mine.find_narrow, others))

    threads = [Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == dict.fromkeys(range(4), True)


# --- growth ---------------------------------------------------------------------------------


def calls_in(work: Callable[..., object], *arguments: object) -> int:
    """How many functions, of Python and of C, are called on the way."""
    made = count()

    def note(_frame: object, event: str, _of: object) -> None:
        if event in ("call", "c_call"):
            next(made)

    sys.setprofile(note)
    try:
        work(*arguments)
    finally:
        sys.setprofile(None)
    return next(made)


def distinct(number: int) -> str:
    """A text that shares no word and hardly three letters with that of another number."""
    return " ".join(f"{number * 7919 * (part + 1):x}q".rjust(9, "z") for part in range(20))


def many(number: int) -> Texts:
    return texts(*map(distinct, range(number)))


Find = Callable[[Texts, Any], Place | None]
each_way = pytest.mark.parametrize("find", [Texts.find_narrow, Texts.find_wide])


@each_way
def test_an_answer_takes_no_longer_with_more_texts(find: Find) -> None:
    few, more = (many(number).plus(ADDRESS, Place("mail")) for number in (300, 1200))
    assert find(few, ADDRESS) == find(more, ADDRESS) == Place("mail")
    assert calls_in(find, more, ADDRESS) <= calls_in(find, few, ADDRESS) * 1.2


@each_way
def test_one_more_text_costs_the_same_after_many(find: Find) -> None:
    def add(before: Texts) -> None:
        find(before.plus(distinct(5000), Place("more")), "alice")

    few, more = many(30), many(1200)
    assert find(few, "alice") is find(more, "alice") is None
    assert calls_in(add, more) <= calls_in(add, few) * 1.2


@each_way
def test_a_long_text_costs_in_proportion_to_its_length(find: Find) -> None:
    short, long = (texts(" ".join(map(distinct, range(size)))) for size in (50, 500))
    assert calls_in(find, long, "alice") <= calls_in(find, short, "alice") * 12


@each_way
def test_only_texts_with_the_rarest_word_are_looked_at(find: Find) -> None:
    shared = texts(*(f"the common words {distinct(number)}" for number in range(300)))
    rare = shared.plus("the common zebra words", Place("rare"))
    common = calls_in(find, rare, "the common nowhere words")
    assert calls_in(find, rare, "the common zebra words") <= common + 200


@pytest.mark.parametrize(
    "part",
    [
        *("1", "1,", " ", "(", "a.", "a@", "-", " at a", "a\u200b", "1.1.", "https://", "A", "_"),
        *(
            "<b>",
            "<",
            "%4",
            "&",
            "a dot ",
            "may 1 ",
            "1e",
            "[ ",
            "a b ",
            "\u0301",
            "\u5f20",
            "\\u0",
        ),
    ],
)
def test_no_text_makes_a_search_slow(part: str) -> None:
    """With quadratic work each of these would take minutes."""
    text = part * (200_000 // len(part))
    for value in (text, ADDRESS):
        texts(text).find_narrow(value)
        texts(text).find_wide(value)


# --- fields ---------------------------------------------------------------------------------


def test_a_result_is_taken_apart_into_its_fields() -> None:
    result = '{"messages": [{"id": 7, "body": "hi"}, {"body": null}], "total": 2.50, "ok": true}'
    assert list(fields_of(result)) == [
        *(("", "messages"), ("messages[]", "id"), ("messages[].id", "7")),
        *(("messages[]", "body"), ("messages[].body", "hi"), ("messages[]", "body")),
        *(("", "total"), ("total", "2.50"), ("", "ok")),
    ]


@pytest.mark.parametrize(
    ("result", "fields"),
    [
        ("plain words", [("", "plain words")]),
        ('"a text"', [("", "a text")]),
        ("[1, [2]]", [("[]", "1"), ("[][]", "2")]),
        ('{"a": 1', [("", '{"a": 1')]),
        ('{"a": 1, "a": 2}', [("", "a"), ("a", "1"), ("", "a"), ("a", "2")]),
        ('{"a.b": {"": "x"}}', [("", "a.b"), ('["a.b"]', ""), ('["a.b"][""]', "x")]),
        ("1e3", [("", "1000")]),
        ("1.125", [("", "1.1250")]),
        ("NaN", [("", "NaN")]),
        ("1e999999999", [("", "1e999999999")]),
        ("[]", []),
        ("null", []),
        ("", [("", "")]),
    ],
)
def test_every_result_has_its_fields(result: str, fields: list[tuple[str, str]]) -> None:
    assert list(fields_of(result)) == fields


@given(st.text() | st.text('[]{}",:1.e\\u-', max_size=30))
def test_any_text_has_fields(text: str) -> None:
    assert all(isinstance(part, str) for field in fields_of(text) for part in field)


def test_a_result_as_deep_as_can_be_has_fields() -> None:
    assert list(fields_of("[" * 100_000)) == [("", "[" * 100_000)]
    for depth in (500, 5000):
        assert len(list(fields_of("[" * depth + "7" + "]" * depth))) == 1


def test_a_field_cannot_be_forged_by_its_name() -> None:
    result = '{"messages[].id": "evil", "a\\"].id": "evil"}'
    assert not any(is_field(path, ["messages[].id", "a"]) for path, _ in fields_of(result) if path)


@pytest.mark.parametrize(
    ("path", "pattern", "covered", "may_hold"),
    [
        *(
            ("body", "body", True, True),
            ("body[].text", "body", True, True),
            ("body", "*", True, True),
        ),
        *(("", "*", True, True), ("", "", True, True), ("bodyguard", "body", False, False)),
        *(
            ("messages[].body", "messages[].body", True, True),
            ("messages", "messages[].body", False, True),
        ),
        *(("messages[].id", "messages[].body", False, False), ("", "body", False, True)),
        *(("[].body", "[].body", True, True), ("[]", "[].body", False, True)),
    ],
)
def test_a_pattern_covers_what_is_below_it(
    path: str, pattern: str, covered: bool, may_hold: bool
) -> None:
    assert is_field(path, ["other", pattern]) is covered
    assert may_hold_field(path, ["other", pattern]) is may_hold


def test_without_a_pattern_no_field_is_covered() -> None:
    assert not is_field("", [])
    assert not may_hold_field("", [])
