"""Values at the edges: what numbers, texts and times are known to go wrong with."""

from __future__ import annotations

import math
from random import Random

__all__ = [
    "DURATIONS",
    "MOMENTS",
    "double",
    "duration",
    "integer",
    "moment",
    "number_text",
    "text",
    "zone",
]

INT_MAX = 2**63 - 1
INT_MIN = -(2**63)

_INTS = (
    INT_MIN,
    INT_MIN + 1,
    INT_MAX,
    INT_MAX - 1,
    2**31,
    -(2**31) - 1,
    2**53 + 1,
    10**18,
    253402300799,
    253402300800,
    -62135596800,
    -62135596801,
)
_DOUBLES = (
    0.0,
    -0.0,
    5e-324,
    -2.2250738585072014e-308,
    1.7976931348623157e308,
    9007199254740993.0,
    9223372036854775808.0,
    9223372036854774784.0,
    -9223372036854775808.0,
    -9223372036854777856.0,
    1e21,
    123456.7,
    1234567.0,
    100000.0,
    1e-5,
    0.0001,
    1e16,
    1e17,
    0.1,
    1 / 3,
    3.4028235e38,
)
_TEXTS = (
    "",
    "a",
    "ab",
    "abc",
    "b",
    "A",
    " ",
    "a b",
    "é",
    "e\u0301",
    "ß",
    "İ",
    "\U0001f600",
    "a\U0001f600b",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u05d0\u202e",
    "\ufeff",
    "\uffff",
    "\U0010ffff",
    "\x00",
    "a\x00b",
    "\n",
    "a\nb",
    "\r\n",
    "\t\v\f\a\b",
    "\x7f\x80\xff",
    "\u2028",
    "\\",
    '"',
    "'",
    "`",
    "'''",
    '"""',
    "\\n",
    "${a}%s{}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "null",
    "?",
)
_NUMBERS = ("0", "1", "-1", "42", "9223372036854775807", "-9223372036854775808")
_TRUTHS = ("true", "false", "True", "False", "TRUE", "FALSE", "t", "f")
_ODD_NUMBERS = (
    "9223372036854775808",
    "-9223372036854775809",
    "+1",
    "00012",
    "-0",
    "1.0",
    "1e3",
    "1E-3",
    ".5",
    "5.",
    "1_000",
    "0x10",
    "\u0661",
    "1 2",
    "--1",
    " 7",
    "1e400",
    "1e-400",
    "0x1p-3",
    "inf",
    "NaN",
    "4.9e-324",
    "12abc",
    "yes",
    "tRUE",
)
MOMENTS = (
    "2026-01-31T09:30:00Z",
    "2024-02-29T23:59:59.999999999Z",
    "1970-01-01T00:00:00Z",
    "1969-12-31T23:59:59.5Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "2000-01-01T00:00:00+14:00",
    "2000-06-01T12:00:00.123456789-08:30",
    "2021-03-28T01:30:00Z",
    "2021-10-31T00:30:00.25Z",
    "1900-03-01T00:00:00Z",
    "2016-12-31T23:59:59.1Z",
    "2020-12-31T23:30:00-01:00",
)
_ODD_MOMENTS = (
    "2026-01-31",
    "2026-01-31T09:30:00",
    "2026-01-31t09:30:00z",
    "2026-01-31 09:30:00Z",
    "2026-02-30T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2026-01-31T24:00:00Z",
    "10000-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "2026-01-31T09:30:00.Z",
    "2026-01-31T09:30:00.1234567891Z",
    "2026-01-31T09:30:00+24:00",
    "2026-01-31T09:30:00+0100",
    "2026-1-31T09:30:00Z",
    "",
)
DURATIONS = (
    "1h30m",
    "90s",
    "0s",
    "-5m",
    "1.5h",
    "0.5s",
    "100ms",
    "-1.000000001s",
    "3us7ns",
    "24h",
    "2562047h47m16.854775807s",
    "-2562047h47m16.854775808s",
    "1000000h",
    "999999999ns",
    "0",
)
_ODD_DURATIONS = (
    "",
    "1",
    "1d",
    "s",
    ".s",
    ".5s",
    "5.s",
    "+5s",
    "1h-5m",
    "1 h",
    "1H",
    "2562048h",
    "87660001h",
    "1.0000000001s",
    "1\u00b5s",
    "-0",
    "1h1h",
    "5m1h",
    "--5s",
)
_ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Asia/Kathmandu",
    "+02:00",
    "-11:30",
    "05:45",
    "+00:00",
    "-23:59",
)
_ODD_ZONES = ("", "Mars/Olympus", "+25:00", "+2:00", "+0200", "GMT+1", "Z", "CET", "EST5EDT", "utc")


def _small(random: Random) -> int:
    return random.choice((0, 1, 1, 2, 2, 3, 4, 5, 7, 10, -1, -2, -7, 100, 255))


def integer(random: Random) -> int:
    if random.random() < 0.15:
        return random.choice(_INTS)
    return random.randint(-50, 1000) if random.random() < 0.3 else _small(random)


def double(random: Random) -> float:
    chance = random.random()
    if chance < 0.2:
        return random.choice(_DOUBLES)
    if chance < 0.6:
        return random.choice((0.5, 1.0, 1.5, 2.0, -1.0, -0.25, 3.0, 10.0, 99.99))
    if chance < 0.8:
        return round(random.uniform(-1000, 1000), random.randint(0, 6))
    value = random.uniform(-10, 10) * 10.0 ** random.randint(-30, 30)
    return value if math.isfinite(value) else 1.0


def text(random: Random) -> str:
    chance = random.random()
    if chance < 0.4:
        return random.choice(("a", "b", "ab", "abc", "x", "refund", ""))
    if chance < 0.8:
        return random.choice(_TEXTS)
    if chance < 0.9:
        return random.choice(_TEXTS) + random.choice(_TEXTS)
    return number_text(random)


def number_text(random: Random) -> str:
    """What int(), double() and bool() are given to read."""
    return random.choice(random.choice((_NUMBERS, _NUMBERS, _TRUTHS, _ODD_NUMBERS)))


def moment(random: Random, odd: float = 0.01) -> str:
    """What timestamp() is given to read; `odd` is the share of what is none."""
    if random.random() < odd:
        return random.choice(_ODD_MOMENTS)
    return random.choice(MOMENTS) if random.random() < 0.5 else _any_moment(random)


def _any_moment(random: Random) -> str:
    year = random.choice((1, 1600, 1899, 1970, 2000, 2024, 2025, 2026, 9999))
    month, day = random.randint(1, 12), random.randint(1, 28)
    clock = (random.randint(0, 23), random.randint(0, 59), random.randint(0, 59))
    digits = random.choice((0, 0, 1, 3, 6, 9))
    fraction = f".{random.randrange(10**digits):0{digits}}" if digits else ""
    offset = random.choice(("Z", "Z", "+02:00", "-05:30"))
    hour, minute, second = clock
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}"


def duration(random: Random, odd: float = 0.01) -> str:
    """What duration() is given to read."""
    if random.random() < odd:
        return random.choice(_ODD_DURATIONS)
    if random.random() < 0.6:
        return random.choice(DURATIONS)
    unit = random.choice(("h", "m", "s", "ms", "us", "ns"))
    return f"{random.choice(('', '', '-'))}{random.randint(0, 5000)}{unit}"


def zone(random: Random, odd: float = 0.02) -> str:
    return random.choice(_ODD_ZONES if random.random() < odd else _ZONES)
