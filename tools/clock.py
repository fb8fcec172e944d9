"""What time it is."""

from datetime import datetime
from typing import Annotated, TypedDict
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from agentrt.errors import ToolError
from agentrt.tools import tool

__all__ = ["get_time"]


class Time(TypedDict):
    """A moment as people say it."""

    time: str
    weekday: str
    timezone: str


Zone = Annotated[str, Field(max_length=64, description="IANA name, as in Europe/Berlin.")]


@tool(effect="read", timeout_s=5.0)
def get_time(timezone: Zone = "UTC") -> Time:
    """Tell the present date, time and weekday in a time zone."""
    try:
        now = datetime.now(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ToolError(f"{timezone!r} is no time zone: give its IANA name.") from error
    return Time(
        time=now.isoformat(timespec="seconds"), weekday=now.strftime("%A"), timezone=timezone
    )
