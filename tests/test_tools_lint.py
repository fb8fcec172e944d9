"""The linter speaks for one clear job and strong schemas."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, JsonValue

from agentrt.tools import Call, Tool, lint, tool


class Node(BaseModel):
    inside: list["Node"]


def get_order(order_id: Annotated[str, Field(pattern=r"^A\d+$", description="As in A7.")]) -> None:
    """Get an order."""


def codes(function: Callable[..., Any], **options: Any) -> list[str]:
    made: Tool = tool(**{"effect": "read", **options})(function)
    return [finding.code for finding in lint(made) if finding.code != "T002"]


def test_a_tool_with_one_clear_job_has_no_findings() -> None:
    assert lint(tool(effect="read")(get_order)) == []


def test_a_finding_says_where_and_what_to_do() -> None:
    def get_order() -> None: ...

    made: Tool = tool(effect="read")(get_order)
    [finding] = lint(made)
    assert (finding.tool, finding.code, finding.severity) == ("get_order", "T001", "error")
    assert finding.source == made.source
    assert finding.message
    assert finding.hint


def test_t002_a_parameter_nobody_described() -> None:
    def get_order(number: int) -> None:
        """Get."""

    made: Tool = tool(effect="read")(get_order)
    assert [finding.code for finding in lint(made)] == ["T002"]


def test_t003_more_options_than_one_job_needs() -> None:
    def get_order(a: int = 1, b: int = 1, c: int = 1, d: int = 1, e: int = 1) -> None:
        """Get."""

    def get_orders(a: int = 1, b: int = 1, c: int = 1, d: int = 1, e: int = 1, f: int = 1) -> None:
        """Get."""

    assert codes(get_order) == []
    assert codes(get_orders) == ["T003"]


def test_t004_a_switch_is_two_tools() -> None:
    def set_order(force: bool) -> None:
        """Set."""

    def set_later(dry_run: bool | None = None) -> None:
        """Set."""

    assert codes(set_order) == ["T004"]
    assert "preview" in lint(tool(effect="read")(set_later))[-1].hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("status", "Literal"),
        ("order_type", "Literal"),
        ("currency", "Literal"),
        ("order_id", "pattern"),
        ("order_ids", "pattern"),
        ("email", "pattern"),
        ("due_date", "datetime.date"),
        ("url", "AnyUrl"),
    ],
)
@pytest.mark.parametrize("hinted", [str, str | None, list[str]])
def test_t005_bare_text_where_more_is_known(name: str, hint: str, hinted: Any) -> None:
    def get_order(value: str) -> None:
        """Get."""

    source = f"def get_order({name}: hinted) -> None:\n    '''Get.'''"
    names: dict[str, Any] = {"hinted": hinted}
    exec(source, names)
    made: Tool = tool(effect="read")(names["get_order"])
    [finding] = [finding for finding in lint(made) if finding.code == "T005"]
    assert hint in finding.hint
    assert name in finding.message


def test_t005_is_quiet_when_the_text_is_held_to_something() -> None:
    def get_order(
        status: Literal["open", "closed"],
        day: date,
        order_id: Annotated[str, Field(max_length=10)],
        note: str,
    ) -> None:
        """Get."""

    assert "T005" not in codes(get_order)


def test_t006_an_irreversible_tool_needs_an_answer_to_a_doubt() -> None:
    def send_order(number: int) -> None:
        """Send."""

    def send_once(number: int, call: Call) -> None:
        """Send."""

    assert codes(send_order, effect="irreversible") == ["T006"]
    assert codes(send_order, effect="write") == []
    assert codes(send_order, effect="irreversible", check=get_nothing) == []
    assert codes(send_once, effect="irreversible") == []


def get_nothing() -> None: ...


def test_t007_a_name_the_api_refuses() -> None:
    # @tool refuses it already; a tool of another origin may still have one.
    made = replace(tool(effect="read")(get_order), name="get order")
    assert "T007" in [finding.code for finding in lint(made)]


@pytest.mark.parametrize("name", ["order", "getOrder", "order_delete", "Get_order"])
def test_t008_a_name_is_an_order(name: str) -> None:
    assert codes(get_order, name=name) == ["T008"]


@pytest.mark.parametrize("name", ["get_order_and_refund", "create-or-update-order"])
def test_t009_two_jobs_in_one_name(name: str) -> None:
    assert codes(get_order, name=name) == ["T009"]
    assert codes(get_order, name="send_android_order") == []


def notes(function: Callable[..., Any]) -> list[str]:
    made: Tool = tool(effect="read")(function)
    return [finding.message for finding in lint(made) if finding.code == "T010"]


def test_t010_says_which_part_strict_mode_does_not_take() -> None:
    def get_order(
        count: Annotated[int, Field(ge=1, le=9)],
        names: Annotated[list[str], Field(min_length=2)],
        folder: Node,
    ) -> None:
        """Get."""

    assert notes(get_order) == [
        "Strict mode does not take maximum at `count`.",
        "Strict mode does not take minimum at `count`.",
        "Strict mode does not take minItems above 1 at `names`.",
        "Strict mode does not take recursion or references at `folder`.",
        "Strict mode wants additionalProperties: false at `Node`.",
        "Strict mode does not take recursion or references at `Node.inside[]`.",
    ]


def test_t010_is_only_a_note() -> None:
    def get_order(count: Annotated[int, Field(ge=1, description="How many.")]) -> None:
        """Get."""

    assert [finding.severity for finding in lint(tool(effect="read")(get_order))] == ["note"]


@pytest.mark.parametrize(
    "hint", [Any, dict[str, Any], dict, list[Any], JsonValue, dict[str, JsonValue] | None]
)
def test_t011_a_parameter_that_takes_anything(hint: Any) -> None:
    def get_order(value: Any) -> None:
        """Get."""

    get_order.__annotations__["value"] = hint
    assert "T011" in codes(get_order)


def test_t011_a_dict_of_known_values_is_not_anything() -> None:
    def get_order(counts: dict[str, int]) -> None:
        """Get."""

    assert "T011" not in codes(get_order)


def test_t012_a_description_of_nothing() -> None:
    def get_order(number: int) -> None:
        """Get.

        Args:
            number: Which.
            nubmer: Misspelt.
        """

    assert codes(get_order) == ["T012"]
