"""Patience: what passes is waited for, for a while, and nothing else is."""

from __future__ import annotations

import pytest

from agentrt.audit import patience
from agentrt.audit.patience import patiently


class Away(Exception):
    """Of a server that is away."""


def failing(times: int, error: type[Exception] = Away) -> tuple[list[int], object]:
    tried: list[int] = []

    def do() -> int:
        tried.append(len(tried))
        if len(tried) <= times:
            raise error
        return len(tried)

    return tried, do


def is_passing(error: Exception) -> bool:
    return isinstance(error, Away)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_S", 0.001)


def test_what_passes_is_tried_again_until_it_works() -> None:
    tried, do = failing(3)
    assert patiently(do, is_passing=is_passing) == 4  # type: ignore[arg-type]
    assert len(tried) == 4


def test_what_does_not_pass_is_raised_at_once() -> None:
    tried, do = failing(1, ValueError)
    with pytest.raises(ValueError):  # noqa: PT011 - it says nothing
        patiently(do, is_passing=is_passing)  # type: ignore[arg-type]
    assert len(tried) == 1


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AWAY_S", 0.01)
    tried, do = failing(10_000)
    with pytest.raises(Away):
        patiently(do, is_passing=is_passing)  # type: ignore[arg-type]
    assert 1 < len(tried) < 10_000
