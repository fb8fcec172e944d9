import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.audit.query import KEYS, Query, Term, Value, parse
from agentrt.audit.query.times import moment_of
from agentrt.errors import QueryInvalid

NOW = 1_780_000_000_000
DAY = 86_400_000


def test_a_line_of_words_becomes_terms_that_must_all_hold() -> None:
    asked = parse('tool:refund_*,send_mail -rule:pay args.amount_cents:>5000 "two words"', now=NOW)
    assert asked.terms == (
        Term("tool", (Value("refund_*", pattern=True), Value("send_mail")), at=0),
        Term("rule", (Value("pay"),), negated=True, at=24),
        Term("args.amount_cents", (Value("5000", ">"),), at=34),
        Term("text", (Value("two words"),), at=58),
    )


def test_times_are_relative_or_absolute_and_utc() -> None:
    asked = parse("since:7d until:2026-05-28T09:00", now=NOW)
    assert (asked.since, asked.until) == (NOW - 7 * DAY, moment_of("2026-05-28T09:00", now=NOW))
    assert moment_of("2026-05-28", now=NOW) == 1_779_926_400_000
    assert moment_of("2026-05-28T02:00+02:00", now=NOW) == 1_779_926_400_000
    assert moment_of("soon", now=NOW) is None


def test_quotes_make_a_value_of_anything() -> None:
    [term] = parse(r'user:"mona, \"the boss\" *"', now=NOW).terms
    assert term.values == (Value('mona, "the boss" *'),)


def test_nothing_asks_for_every_call() -> None:
    assert parse("  ", now=NOW) == Query()


@pytest.mark.parametrize(
    ("line", "at", "said"),
    [
        ("tol:x", 0, "Did you mean `tool`?"),
        ("tool:x decision:aproved", 16, "did you mean `approved`?"),
        ('tool:x "never closed', 7, "never closed"),
        ("args.cents:>much", 12, "not a number"),
        ("tool:>5", 5, "has no order"),
        ("tool:", 5, "has no value"),
        ("tool:a,,b", 7, "has no value"),
        ("tool:x - y", 7, "right before"),
        ("since:yesterday", 0, "not a time"),
        ("since:1d since:2d", 9, "said twice"),
        ("-since:1d", 0, "takes one value"),
        ("la*mp", 0, "at the end"),
        ("is:file", 3, "there are: call, run"),
        ("...", 0, "no word"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_was_meant(line: str, at: int, said: str) -> None:
    with pytest.raises(QueryInvalid) as caught:
        parse(line, now=NOW)
    assert caught.value.at == at
    assert said in str(caught.value)
    assert str(caught.value).splitlines()[-1] == "  " + " " * at + "^"


def test_every_key_has_a_meaning_and_is_accepted() -> None:
    values = {"since": "1d", "until": "1d"}
    for name, key in KEYS.items():
        assert key.meaning
        parse(f"{name}:{values.get(name) or (key.choices or ('x',))[0]}", now=NOW)


@given(st.text(max_size=60))
def test_any_line_is_read_or_refused_with_a_place_in_it(line: str) -> None:
    place = place_of_mistake(line)
    assert place is None or 0 <= place <= len(line)


def place_of_mistake(line: str) -> int | None:
    try:
        parse(line, now=NOW)
    except QueryInvalid as error:
        return error.at
    return None
