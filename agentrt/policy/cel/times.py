"""Moments and durations, to the nanosecond.

Sources: RFC 3339 for moments; https://pkg.go.dev/time#ParseDuration for durations, whose
form CEL has taken over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from agentrt.policy.cel.errors import Failed
from agentrt.policy.cel.values import INT_MAX, INT_MIN

__all__ = ["Duration", "Timestamp", "zone_of"]

_SECOND = 1_000_000_000
_DAY_S = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EARLIEST = (date(1, 1, 1).toordinal() - _EPOCH_DAY) * _DAY_S * _SECOND
_LATEST = (date(9999, 12, 31).toordinal() - _EPOCH_DAY + 1) * _DAY_S * _SECOND - 1
_DURATION_MAX = 315_576_000_000 * _SECOND + _SECOND - 1  # 10,000 years, as in protobuf

_DATE = r"(\d{4})-(\d{2})-(\d{2})"
_TIME = r"(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,100}))?"
_OFFSET = r"([Zz]|[+-]\d{2}:\d{2})"
_MOMENT = re.compile(f"{_DATE}[Tt]{_TIME}{_OFFSET}", re.ASCII)
_JSON_MOMENT = re.compile(f"{_DATE}(?:[Tt ]{_TIME}{_OFFSET}?)?", re.ASCII)
_ZONE_OFFSET = re.compile(r"([+-]?)(\d{1,2}):(\d{2})", re.ASCII)
_DURATION = re.compile(r"([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:h|ms|m|s|us|ns))+|0)", re.ASCII)
_DURATION_PART = re.compile(r"(\d*)\.?(\d*)(h|ms|m|s|us|ns)", re.ASCII)
_UNITS = {
    "h": 3600 * _SECOND,
    "m": 60 * _SECOND,
    "s": _SECOND,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
_TEXT_MAX = 200


@dataclass(frozen=True, order=True, slots=True)
class Timestamp:
    """A moment from the year 1 to 9999, in nanoseconds since 1970 in UTC."""

    nanos: int

    @classmethod
    def at(cls, nanos: int) -> Timestamp:
        """The moment; raises Failed outside the years that have one."""
        if _EARLIEST <= nanos <= _LATEST:
            return cls(nanos)
        raise Failed("the timestamp is outside the years 1 to 9999")

    @classmethod
    def at_seconds(cls, seconds: int) -> Timestamp:
        """`timestamp(1577836800)`"""
        return cls.at(seconds * _SECOND)

    @classmethod
    def of_milliseconds(cls, milliseconds: int) -> Timestamp:
        """The moment that the clock of an audit store shows."""
        return cls.at(milliseconds * 1_000_000)

    @classmethod
    def parsed(cls, text: str) -> Timestamp:
        """`timestamp("2026-01-31T09:30:00Z")`, as RFC 3339 has it."""
        return cls._matched(_MOMENT, text)

    @classmethod
    def from_json(cls, text: str) -> Timestamp:
        """What a schema calls date-time or date: UTC and midnight unless it says more."""
        return cls._matched(_JSON_MOMENT, text)

    @classmethod
    def _matched(cls, form: re.Pattern[str], text: str) -> Timestamp:
        found = form.fullmatch(text) if len(text) <= _TEXT_MAX else None
        if found is None:
            raise _unreadable(text)
        year, month, day, hour, minute, second, fraction, offset = found.groups()
        try:
            moment = datetime(
                int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
            )
        except ValueError:
            raise _unreadable(text) from None
        seconds = (moment - datetime(1970, 1, 1)) // timedelta(seconds=1) - _offset_s(offset, text)
        return cls.at(seconds * _SECOND + int((fraction or "0")[:9].ljust(9, "0")))

    def seconds(self) -> int:
        """`int(moment)`: whole seconds since 1970."""
        return self.nanos // _SECOND

    def local(self, zone: tzinfo) -> datetime:
        """The moment as clocks and calendars there show it, to the microsecond."""
        try:
            return self.datetime().astimezone(zone)
        except (OverflowError, ValueError):
            raise Failed("the timestamp is outside the years 1 to 9999 there") from None

    def datetime(self) -> datetime:
        """Python's moment in UTC, cut to the microsecond."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.nanos // 1_000)

    def __str__(self) -> str:
        whole = self.datetime().replace(microsecond=0, tzinfo=None).isoformat()
        return f"{whole}{_fraction(self.nanos % _SECOND)}Z"


@dataclass(frozen=True, order=True, slots=True)
class Duration:
    """A length of time, possibly negative, up to 10,000 years."""

    nanos: int

    @classmethod
    def sum_of(cls, nanos: int) -> Duration:
        """What adding or subtracting comes to; raises Failed beyond 292 years, as CEL does."""
        if INT_MIN <= nanos <= INT_MAX:
            return cls(nanos)
        raise Failed("the duration is longer than 292 years")

    @classmethod
    def parsed(cls, text: str) -> Duration:
        """`duration("1h30m")`: h, m, s, ms, us and ns, with fractions and a sign."""
        found = _DURATION.fullmatch(text) if len(text) <= _TEXT_MAX else None
        if found is None:
            raise Failed(f'{text[:40]!r} is no duration: write it as in "1h30m" or "24h"')
        parts = _DURATION_PART.findall(found[2])
        nanos = sum(_nanos(*part) for part in parts)
        if nanos > _DURATION_MAX:
            raise Failed("the duration is longer than 10,000 years")
        return cls(-nanos if found[1] == "-" else nanos)

    def whole(self, unit: str) -> int:
        """How many whole hours ("h"), minutes ("m") or seconds ("s") fit in."""
        size = _UNITS[unit]
        return self.nanos // size if self.nanos >= 0 else -(-self.nanos // size)

    def milliseconds(self) -> int:
        """The milliseconds beyond the last whole second."""
        rest = abs(self.nanos) % _SECOND // 1_000_000
        return rest if self.nanos >= 0 else -rest

    def __str__(self) -> str:
        seconds, rest = divmod(abs(self.nanos), _SECOND)
        return f"{'-' if self.nanos < 0 else ''}{seconds}{_fraction(rest)}s"


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """`Europe/Berlin`, `UTC` or `+02:00`; raises Failed when there is none of this name."""
    if offset := _ZONE_OFFSET.fullmatch(name):
        sign, hours, minutes = offset.groups()
        if int(hours) < 24 and int(minutes) < 60:
            away = timedelta(hours=int(hours), minutes=int(minutes))
            return timezone(-away if sign == "-" else away)
    elif len(name) <= _TEXT_MAX:
        try:
            return ZoneInfo(name or "UTC")
        except (ValueError, OSError, KeyError):  # also for names of folders, and with "../"
            pass
    raise Failed(f'{name[:40]!r} is no time zone: write it as in "Europe/Berlin" or "+02:00"')


def _unreadable(text: str) -> Failed:
    return Failed(f'{text[:40]!r} is no timestamp: write it as in "2026-01-31T09:30:00Z"')


def _offset_s(offset: str | None, text: str) -> int:
    if offset is None or offset in "Zz":
        return 0
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        raise _unreadable(text)
    return (hours * 3600 + minutes * 60) * (-1 if offset.startswith("-") else 1)


def _nanos(whole: str, fraction: str, unit: str) -> int:
    size = _UNITS[unit]
    scale: int = 10 ** len(fraction)
    return int(whole or 0) * size + int(fraction or 0) * size // scale


def _fraction(nanos: int) -> str:
    """Nothing, or 3, 6 or 9 digits, as protobuf's JSON has them."""
    digits = f"{nanos:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}" if digits else ""
