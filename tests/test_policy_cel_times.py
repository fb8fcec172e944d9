from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.cel import Duration, Failed, Timestamp
from agentrt.policy.cel.times import zone_of

EARLIEST = Timestamp.parsed("0001-01-01T00:00:00Z").nanos
LATEST = Timestamp.parsed("9999-12-31T23:59:59.999999999Z").nanos


# Moments


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("2020-01-01t00:00:00z", "2020-01-01T00:00:00Z"),
        ("2020-01-01T00:00:00+02:00", "2019-12-31T22:00:00Z"),
        ("2020-01-01T00:00:00-00:30", "2020-01-01T00:30:00Z"),
        ("2020-01-01T00:00:00.1Z", "2020-01-01T00:00:00.100Z"),
        ("2020-01-01T00:00:00.1234Z", "2020-01-01T00:00:00.123400Z"),
        ("1969-12-31T23:59:59.123456789Z", "1969-12-31T23:59:59.123456789Z"),
        ("2020-01-01T00:00:00.9999999999Z", "2020-01-01T00:00:00.999999999Z"),
    ],
)
def test_a_moment_is_read_and_written_as_rfc_3339_has_it(text: str, utc: str) -> None:
    assert str(Timestamp.parsed(text)) == utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-01-01 00:00:00Z",
        "2020-02-30T00:00:00Z",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:00:00+25:00",
        "2020-01-01T00:00:00.Z",
        "2020-1-1T00:00:00Z",
        "\u0662\u0660\u0662\u0660-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z\n",
        "2020-01-01T00:00:00." + "1" * 5000 + "Z",
    ],
)
def test_what_is_no_moment_fails(text: str) -> None:
    with pytest.raises(Failed, match="is no timestamp"):
        Timestamp.parsed(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_moment_outside_the_years_1_to_9999_fails(text: str) -> None:
    with pytest.raises(Failed, match="outside the years 1 to 9999"):
        Timestamp.parsed(text)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T09:30:00", "2026-01-31T09:30:00Z"),
        ("2026-01-31 09:30:00+01:00", "2026-01-31T08:30:00Z"),
    ],
)
def test_a_schemas_date_is_midnight_and_a_time_without_zone_is_utc(text: str, utc: str) -> None:
    assert str(Timestamp.from_json(text)) == utc


@given(st.integers(EARLIEST, LATEST))
def test_a_written_moment_reads_as_itself(nanos: int) -> None:
    moment = Timestamp.at(nanos)
    assert Timestamp.parsed(str(moment)) == moment
    assert moment.seconds() == nanos // 10**9


def outcome(read: Callable[[str], object], text: str) -> str:
    """What comes of reading the text: a value or a message, and no other error."""
    try:
        return repr(read(text))
    except Failed as error:
        return error.message


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z-]{5,20}"))
def test_any_text_is_a_moment_or_fails(text: str) -> None:
    for read in (Timestamp.parsed, Timestamp.from_json, Duration.parsed, zone_of):
        assert len(outcome(read, text)) < 1000


def test_a_clock_of_milliseconds_gives_a_moment() -> None:
    assert str(Timestamp.of_milliseconds(1_790_000_000_123)) == "2026-09-21T14:13:20.123Z"


# Durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m", "5400s"),
        ("-1.5h", "-5400s"),
        ("+1s", "1s"),
        ("0", "0s"),
        (".5s", "0.500s"),
        ("1.s", "1s"),
        ("1ms", "0.001s"),
        ("1us", "0.000001s"),
        ("1ns", "0.000000001s"),
        ("1.5ns", "0.000000001s"),
        ("1m1m", "120s"),
        ("1s1h", "3601s"),
        ("-0.5s", "-0.500s"),
        ("315576000000s", "315576000000s"),
    ],
)
def test_a_duration_is_read_as_go_does_and_written_in_seconds(text: str, seconds: str) -> None:
    assert str(Duration.parsed(text)) == seconds


@pytest.mark.parametrize(
    "text", ["", "-", "1", "00", "1d", "1h 2m", "1h-2m", ".s", "1.5.5s", "1S", "inf", "1\u00b5s"]
)
def test_what_is_no_duration_fails(text: str) -> None:
    with pytest.raises(Failed, match="is no duration"):
        Duration.parsed(text)


def test_a_duration_has_a_longest_length() -> None:
    with pytest.raises(Failed, match="longer than 10,000 years"):
        Duration.parsed("315576000001s")
    with pytest.raises(Failed, match="longer than 292 years"):
        Duration.sum_of(2**63)


@given(st.integers(-(10**20), 10**20))
def test_a_written_duration_reads_as_itself(nanos: int) -> None:
    assert Duration.parsed(str(Duration(nanos))) == Duration(nanos)


# Zones


@pytest.mark.parametrize(
    "name",
    ["Nowhere/X", "Z", "utc/../UTC", "../etc/passwd", "Europe", "+24:00", "+01:60", "+1", "\0"],
)
def test_what_is_no_zone_fails(name: str) -> None:
    with pytest.raises(Failed, match="is no time zone"):
        zone_of(name)


def test_a_zone_is_a_name_or_an_offset() -> None:
    noon = Timestamp.parsed("2026-07-01T12:00:00Z")
    zones = ["UTC", "", "Europe/Berlin", "+05:30", "-02:00", "1:00"]
    hours = [noon.local(zone_of(name)).hour for name in zones]
    assert hours == [12, 12, 14, 17, 10, 13]


def test_a_zone_does_not_lead_out_of_the_years_1_to_9999() -> None:
    with pytest.raises(Failed, match="outside the years 1 to 9999 there"):
        Timestamp.at(LATEST).local(zone_of("+01:00"))
