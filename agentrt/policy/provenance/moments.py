"""Dates and times as people write them, each brought to one form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import product

__all__ = ["plain_moment", "plain_moments", "possible_dates", "whole_dates"]

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_NAME = "|".join(f"{name}|{name[:3]}" for name in _MONTHS) + "|sept"
_ISO_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ISO_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"
_NTH = "(?:st|nd|rd|th)?"

_PLAIN = re.compile(
    rf"(?<!\w)(?:(?P<iso>{_ISO_DATE}(?:[Tt ]{_ISO_TIME})?)"
    r"|(?P<y>[0-9]{4})/(?P<m>[0-9]{2})/(?P<d>[0-9]{2})"
    rf"|(?P<d1>[0-9]{{1,2}}){_NTH} (?:of )?(?P<m1>{_NAME}),? (?P<y1>[0-9]{{4}})"
    rf"|(?P<m2>{_NAME}) (?P<d2>[0-9]{{1,2}}){_NTH},? (?P<y2>[0-9]{{4}}))"
)

_MARK = "[-/. ]{1,2}"
_DAY, _YEAR = "([0-9]{1,2})", "([0-9]{4}|[0-9]{2})(?![0-9])"
_OF = r"(?:st|nd|rd|th)?[-/., ]{0,2}(?:of )?"
_NAMED = rf"({_NAME})[a-z]*+[-/., ]{{0,2}}"
_POSSIBLE = [  # with which of the three groups may be the year, the month and the day
    (re.compile(rf"(?<![0-9])(?={pattern})"), orders)
    for pattern, orders in (
        (f"([0-9]{{4}}){_MARK}{_DAY}{_MARK}{_DAY}", [(1, 2, 3)]),
        (f"{_DAY}{_MARK}{_DAY}{_MARK}{_YEAR}", [(3, 2, 1), (3, 1, 2)]),
        ("([0-9]{4})([0-9]{2})([0-9]{2})(?![0-9])", [(1, 2, 3)]),
        (f"{_DAY}{_OF}{_NAMED}{_YEAR}", [(3, 2, 1)]),
        (rf"\b{_NAMED}{_DAY}{_OF}{_YEAR}", [(3, 1, 2)]),
    )
]
_WITH_ZONE = re.compile(rf"{_ISO_DATE}[Tt ]{_ISO_TIME}")
_AND_NOTHING_ELSE = re.compile(
    rf"(?:[\W\d_]++|(?:{_NAME}|(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*+|st|nd|rd|th|of|at|am|pm"
    r"|t|z|utc|gmt)(?![a-z]))++"
)


def plain_moment(text: str) -> str | None:
    """The form of a date or time that the text is as a whole and that reads in one way only.

    A time without a zone is in UTC, and a date is its midnight, as conditions read them.
    """
    found = _PLAIN.fullmatch(text)
    return _plain_form(found) if found else None


def plain_moments(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each such date or time in the text begins and ends, and its form."""
    for found in _PLAIN.finditer(text):
        if form := _plain_form(found):
            yield found.start(), found.end(), form


def possible_dates(text: str) -> Iterator[str]:
    """The forms of all that may be meant as a date, in every order of day, month and year."""
    for pattern, orders in _POSSIBLE:
        for found, order in product(pattern.finditer(text), orders):
            if form := _form(*(found[group] for group in order)):
                yield form
    for found in _WITH_ZONE.finditer(text):
        if form := _moment(found[0]):
            yield form[: len("date 2026-12-01")]  # its date in UTC, which may be another


def whole_dates(text: str) -> set[str]:
    """The forms of the date that the text is as a whole, perhaps with a time and a weekday."""
    return set(possible_dates(text)) if _AND_NOTHING_ELSE.fullmatch(text) else set()


def _plain_form(found: re.Match[str]) -> str | None:
    part = found.groupdict()
    if part["iso"]:
        return _moment(part["iso"])
    for suffix in ("", "1", "2"):
        if year := part[f"y{suffix}"]:
            return _form(year, part[f"m{suffix}"], part[f"d{suffix}"])
    return None


def _moment(iso: str) -> str | None:
    try:
        moment = datetime.fromisoformat(iso.upper())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    midnight = moment.time() == datetime.min.time()
    return f"date {moment.date() if midnight else moment.replace(tzinfo=None).isoformat()}"


def _form(year: str, month: str, day: str) -> str | None:
    number = int(month) if month.isdigit() else _number_of(month)
    try:
        return f"date {date(int(year) + (2000 if len(year) == 2 else 0), number, int(day))}"
    except ValueError:
        return None


def _number_of(name: str) -> int:
    return next(number for number, full in enumerate(_MONTHS, 1) if full[:3] == name[:3])
