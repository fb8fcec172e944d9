"""What time it is."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agentrt.errors import ToolError
from agentrt_tools.clock import get_time


def test_the_time_is_now_in_the_zone_that_was_asked_for() -> None:
    told = get_time("Asia/Kathmandu")
    moment = datetime.fromisoformat(told["time"])
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert moment.utcoffset() == datetime.now(ZoneInfo("Asia/Kathmandu")).utcoffset()
    assert told["weekday"] == moment.strftime("%A")


def test_without_a_zone_it_is_utc() -> None:
    assert get_time()["time"].endswith("+00:00")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "/etc/passwd", "", "a\0b", "."])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(ToolError, match="is no time zone"):
        get_time(zone)
