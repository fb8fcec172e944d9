import json
import math
from typing import Any

import pytest
import rfc8785
from worlds import AGENT, MODEL, TOOLS, pay, read_note

from agentrt.agent import Agent
from agentrt.errors import DuplicateTool, ModelRefused, ProjectError
from agentrt.tools import tool


@pytest.mark.parametrize("name", ["", "two words", "-a", "a/b", "ä", "a" * 65, "a\n"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ProjectError, match="cannot name an agent"):
        Agent(name=name, model=MODEL)


@pytest.mark.parametrize("name", ["a", "Support-desk_2", "a" * 64])
def test_letters_digits_and_dashes_name_an_agent(name: str) -> None:
    assert Agent(name=name, model=MODEL).name == name


@pytest.mark.parametrize("label", ["tokens_max", "turns_max", "deadline_s"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_a_limit_is_a_number_above_zero(label: str, value: float) -> None:
    with pytest.raises(ProjectError, match=f"{label} of the agent a must be"):
        Agent(**{"name": "a", "model": MODEL, label: value})


def test_a_model_that_moves_is_refused() -> None:
    with pytest.raises(ModelRefused):
        Agent(name="a", model="claude-sonnet-latest")


def test_two_tools_of_one_name_are_refused() -> None:
    @tool(effect="read", name="pay")
    def other(payee: str) -> str:
        """Another.

        Args:
            payee: Whom.
        """
        return payee

    with pytest.raises(DuplicateTool):
        Agent(name="a", model=MODEL, tools=[pay, other])


def test_a_definition_is_rfc_8785_and_the_same_in_whatever_order_tools_are_given() -> None:
    definition = AGENT.definition()
    assert definition == rfc8785.dumps(json.loads(definition))
    turned = Agent(name="desk", model=MODEL, instructions="Be kind.", tools=TOOLS[::-1])
    assert turned.definition() == definition


def test_a_definition_says_all_that_a_request_is_made_of_and_how_strict_each_tool_is() -> None:
    agent = Agent(
        name="a",
        model=MODEL,
        instructions="Help.",
        tools=[read_note],
        tokens_max=7,
        effort="low",
        thinking={"type": "adaptive"},
        cache="1h",
    )
    data = json.loads(agent.definition())
    assert data["thinking"] == {"type": "adaptive"}
    assert (data["effort"], data["cache"], data["tokens_max"]) == ("low", "1h", 7)
    (recorded,) = data["tools"]
    assert recorded["name"] == "read_note"
    assert recorded["effect"] == "read"
    assert recorded["digest"] == read_note.digest
    assert recorded["input_schema"] == read_note.input_schema


@pytest.mark.parametrize(
    "change",
    [
        {"instructions": "Be rude."},
        {"tokens_max": 5},
        {"tools": (pay,)},
        {"effort": "high"},
        {"cache": "1h"},
        {"thinking": {"type": "disabled"}},
    ],
)
def test_whatever_changes_a_request_changes_the_definition(change: dict[str, Any]) -> None:
    base = {"name": "desk", "model": MODEL, "instructions": "Be kind.", "tools": TOOLS}
    assert Agent(**{**base, **change}).definition() != AGENT.definition()


def test_tools_may_be_any_iterable() -> None:
    assert set(Agent(name="a", model=MODEL, tools=iter(TOOLS)).toolset) == {
        "pay",
        "read_note",
        "write_note",
    }
