"""One function, one purpose, one name a policy can speak about."""

import inspect
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pydantic import BaseModel

from agentrt.errors import ArgumentsInvalid, ToolDefinitionError, ToolError
from agentrt.tools import Call, Tool, tool


class Size(Enum):
    SMALL = "s"


class Line(BaseModel):
    text: str


def a_call(**changes: Any) -> Call:
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    known: dict[str, Any] = {"id": "c1", "key": "r1:c1", "run": "r1", "user": "ada", "attempt": 1}
    return Call(**{**known, "deadline": deadline, **changes})


def test_a_tool_without_effect_is_irreversible() -> None:
    @tool
    def pay(amount_cents: int) -> int:
        return amount_cents

    assert pay.effect == "irreversible"
    assert not pay.repeatable


def test_a_tool_is_still_the_function() -> None:
    @tool(effect="read")
    def add_numbers(first: int, second: int = 1) -> int:
        """Add."""
        return first + second

    assert add_numbers(2, second=3) == 5
    assert vars(add_numbers)["__name__"] == "add_numbers"
    assert add_numbers.__doc__ == "Add."
    assert add_numbers.__module__ == __name__
    assert list(inspect.signature(add_numbers).parameters) == ["first", "second"]


async def test_a_coroutine_function_stays_one() -> None:
    @tool(effect="read")
    async def get_one() -> int:
        return 1

    assert await get_one() == 1


def test_a_tool_cannot_be_changed() -> None:
    @tool(effect="read")
    def get_one() -> int:
        return 1

    with pytest.raises(FrozenInstanceError):
        get_one.effect = "write"  # type: ignore[misc]


def test_a_tool_knows_where_it_stands() -> None:
    @tool(effect="read")
    def get_one() -> int:
        return 1

    line = get_one.function.__code__.co_firstlineno
    assert get_one.source == f"{__file__}:{line}"
    assert repr(get_one) == f"<Tool get_one, read, {__file__}:{line}>"


@pytest.mark.parametrize(
    ("options", "repeatable"),
    [
        ({"effect": "read"}, True),
        ({"effect": "write"}, False),
        ({"effect": "write", "idempotent_for": "24h"}, True),
        ({"effect": "irreversible"}, False),
    ],
)
def test_what_may_run_again_after_a_crash(options: dict[str, Any], repeatable: bool) -> None:
    def set_one() -> None: ...

    assert tool(**options)(set_one).repeatable is repeatable


@pytest.mark.parametrize(
    ("stated", "window"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        (timedelta(hours=1), timedelta(hours=1)),
        (None, None),
    ],
)
def test_a_window_is_text_or_a_timedelta(
    stated: str | timedelta | None, window: timedelta | None
) -> None:
    @tool(effect="write", idempotent_for=stated)
    def set_one() -> None: ...

    assert set_one.idempotent_for == window


@pytest.mark.parametrize(
    ("options", "untrusted"),
    [
        ({}, {"?"}),
        ({"labels": ["egress"]}, {"?"}),
        ({"labels": ["reads_untrusted"]}, {"*"}),
        ({"untrusted": ["body", "messages[].text"]}, {"body", "messages[].text"}),
        ({"untrusted": ["rows[][]", "[].name", "*"]}, {"rows[][]", "[].name", "*"}),
        ({"facts": ["id", "items[].price"]}, {"*", "!id", "!items[].price"}),
        ({"facts": ["*"]}, set()),
        ({"facts": ["id"], "labels": ["reads_untrusted"]}, {"*", "!id"}),
    ],
)
def test_a_tool_says_what_of_its_result_outsiders_write(
    options: dict[str, Any], untrusted: set[str]
) -> None:
    made = tool(effect="read", **options)(do_it)
    assert made.untrusted == untrusted
    assert ("reads_untrusted" in made.labels) is bool(untrusted - {"?"})


def test_the_snippets_of_the_page_on_tools_work() -> None:
    page = Path(__file__).parent.parent / "docs" / "tools.md"
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(snippet, page.name, "exec"), {"__name__": "snippet"})


def do_it(order_id: str) -> None:
    """Do it."""


def other_names(what: str) -> None: ...


def any_names(**names: str) -> None: ...


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"effect": "safe"}, "is not an effect"),
        ({"name": "do it"}, "is not one the API takes"),
        ({"name": ""}, "is not one the API takes"),
        ({"name": "x" * 129}, "is not one the API takes"),
        ({"name": "do_it\n"}, "is not one the API takes"),
        ({"name": "web_search"}, "belongs to a tool on Anthropic's servers"),
        ({"labels": "egress"}, 'Write labels=["egress"]'),
        ({"labels": ["a b"]}, "cannot be written in a policy"),
        ({"untrusted": "body"}, "is no field of a result"),
        ({"untrusted": ["!body"]}, "'!body' is no field of a result"),
        ({"untrusted": ["[].two words"]}, "'[].two words' is no field of a result"),
        ({"facts": ["a..b"]}, "'a..b' is no field of a result"),
        ({"facts": ["id"], "untrusted": ["body"]}, "both untrusted= and facts="),
        ({"timeout_s": 0}, "timeout_s=0 is not a time"),
        ({"timeout_s": float("nan")}, "timeout_s=nan is not a time"),
        ({"effect": "write", "idempotent_for": "a day"}, "is not a time"),
        ({"effect": "write", "idempotent_for": timedelta(0)}, "is not a time span"),
        ({"effect": "read", "idempotent_for": "24h"}, "says nothing of effect='read'"),
        ({"idempotent_for": "24h"}, "says nothing of effect='irreversible'"),
        ({"keep": {"order": "hash"}}, "keep names `order`, which is no parameter"),
        ({"keep": {"order_id": "burn"}}, "Say log, hash or drop"),
        ({"result_max_bytes": 0}, "leaves nothing"),
        ({"check": other_names}, "its check other_names takes `what`, which the tool does not"),
        ({"preview": other_names}, "its preview other_names takes `what`"),
        ({"check": any_names}, "takes any name"),
        ({"check": print}, "its check is not a function"),
        ({"settings": {"limit": 2**60}}, "no canonical form"),
    ],
)
def test_an_option_that_cannot_be_meant_says_so_with_file_and_line(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ToolDefinitionError) as raised:
        tool(**options)(do_it)
    assert said in str(raised.value)
    assert f"{__file__}:" in str(raised.value)


def yields() -> Any:
    yield 1


async def yields_later() -> Any:
    yield 1


@pytest.mark.parametrize("strange", [yields, yields_later, print, Line, 3, tool(do_it)])
def test_only_a_function_with_one_result_becomes_a_tool(strange: Any) -> None:
    with pytest.raises(ToolDefinitionError):
        tool(strange)


def digest_of(function: Callable[..., Any], **options: Any) -> str:
    made: Tool = tool(**options)(function)
    return made.digest


@pytest.mark.parametrize(
    "options",
    [
        {"effect": "read"},
        {"name": "other"},
        {"labels": ["egress"]},
        {"untrusted": ["body"]},
        {"facts": ["id"]},
        {"timeout_s": 5.0},
        {"effect": "write"},
        {"effect": "write", "idempotent_for": "1h"},
        {"check": do_it},
        {"preview": do_it},
        {"settings": {"root": "/srv"}},
    ],
)
def test_a_tool_that_means_something_else_has_another_digest(options: dict[str, Any]) -> None:
    assert digest_of(do_it, **options) != digest_of(do_it)
    assert digest_of(do_it, **options) == digest_of(do_it, **options)


def executed(text: str) -> Callable[..., Any]:
    names: dict[str, Any] = {}
    exec(compile(text, "<typed>", "exec"), names)
    function: Callable[..., Any] = names["act"]
    return function


def test_changed_code_changes_the_digest_also_without_a_source_file() -> None:
    one = "def act():\n    def inner(): return 1\n    return inner()"
    assert digest_of(executed(one)) == digest_of(executed(one))
    assert digest_of(executed(one)) != digest_of(executed(one.replace("1", "2")))


def test_the_order_of_labels_is_nothing() -> None:
    assert digest_of(do_it, labels=["a", "b"]) == digest_of(do_it, labels=["b", "a"])


async def test_the_function_gets_python_values_and_its_call() -> None:
    @tool(effect="read")
    def get_all(day: date, size: Size, line: Line, me: Call, more: int = 2) -> object:
        return day, size, line, me, more

    call = a_call()
    arguments = get_all.complete({"day": "2026-01-02", "size": "s", "line": {"text": "x"}})
    assert await get_all.run(arguments, call) == (
        date(2026, 1, 2),
        Size.SMALL,
        Line(text="x"),
        call,
        2,
    )


async def test_check_and_preview_take_what_they_name() -> None:
    async def find_payment(call: Call) -> str:
        return call.key

    def show_payment(amount: int) -> str:  # a subset, by name
        return f"pay {amount}"

    @tool(check=find_payment, preview=show_payment)
    def send_payment(payee: str, amount: int) -> None: ...

    arguments = send_payment.complete({"payee": "ada", "amount": 3})
    assert await send_payment.run_check(arguments, a_call()) == "r1:c1"
    assert await send_payment.run_preview(arguments, a_call()) == "pay 3"


async def test_a_check_need_not_repeat_the_types() -> None:
    def find_payment(payee, call: Call):  # type: ignore[no-untyped-def]
        return payee

    @tool(check=find_payment)
    def send_payment(payee: str) -> None: ...

    assert await send_payment.run_check({"payee": "ada"}, a_call()) == "ada"


async def test_a_missing_check_is_named() -> None:
    made: Tool = tool(do_it)
    with pytest.raises(ToolDefinitionError, match=r"do_it .* has no check"):
        await made.run_check({"order_id": "1"}, a_call())


async def test_what_was_not_completed_does_not_run() -> None:
    entered = Event()

    @tool
    def pay(amount: int) -> None:
        entered.set()

    with pytest.raises(ArgumentsInvalid):
        await pay.run({"amount": "much"}, a_call())
    assert not entered.is_set()


async def test_a_tool_error_reaches_the_caller_as_it_is() -> None:
    @tool
    def pay(amount: int) -> None:
        raise ToolError("no such account")

    with pytest.raises(ToolError, match="no such account"):
        await pay.run({"amount": 1}, a_call())


def test_a_call_says_when_nobody_waits_any_more() -> None:
    cancel = Event()
    call = a_call(cancel=cancel)
    assert not call.cancelled
    cancel.set()
    assert call.cancelled


def test_a_deadline_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        a_call(deadline=datetime(2026, 1, 1))


def test_keep_is_stored_for_the_fields_it_names() -> None:
    @tool(keep={"card": "hash", "pin": "drop"})
    def pay(card: str, pin: str) -> None: ...

    assert dict(pay.keep) == {"card": "hash", "pin": "drop"}
