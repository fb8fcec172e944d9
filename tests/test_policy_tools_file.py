"""`tools.yaml`: what policy knows of tools beyond their own word, only upwards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt import Policy, Tool, tool
from agentrt.errors import PolicyError
from agentrt.policy.rules import EFFECTS
from agentrt.policy.tools_file import Raise, as_seen

LABELS = ("egress", "reads_private", "reads_untrusted", "own")
FIELDS = ("body", "messages[].text", "*")


def a_tool(effect: str = "read", **options: Any) -> Tool[..., Any]:
    def read_it(place: str = "") -> dict[str, str]:
        """Read it."""
        return {}

    saying: dict[str, Any] = {"effect": effect, **options}
    made: Tool[..., Any] = tool(**saying)(read_it)
    return made


def policy_of(entry: str, made: Tool[..., Any]) -> Policy:
    texts = {"r.yaml": "default: {read: allow}", "tools.yaml": f"tools:\n  - {entry}\n"}
    return Policy.from_texts(texts, [made])


def said_of(entry: str, made: Tool[..., Any]) -> str:
    with pytest.raises(PolicyError) as refused:
        policy_of(entry, made)
    return str(refused.value)


SAYING = st.fixed_dictionaries(
    {
        "effect": st.sampled_from(EFFECTS),
        "labels": st.frozensets(st.sampled_from(LABELS)),
        "untrusted": st.frozensets(st.sampled_from(FIELDS)),
    }
)
RAISES = st.lists(
    st.builds(
        Raise,
        tools=st.sampled_from([("read_it",), ("*",), ("effect:read",), ("label:own",), ("x",)]),
        effect=st.none() | st.sampled_from(EFFECTS),
        labels=st.lists(st.sampled_from(LABELS), max_size=2).map(tuple),
        untrusted=st.lists(st.sampled_from(FIELDS), max_size=2).map(tuple),
    ),
    max_size=3,
)


@given(SAYING, RAISES)
def test_nothing_that_a_tool_says_of_itself_is_lowered(
    saying: dict[str, Any], raises: list[Raise]
) -> None:
    made = a_tool(**saying)
    seen = as_seen(made, raises)
    assert EFFECTS.index(seen.effect) >= EFFECTS.index(made.effect)
    assert seen.labels >= made.labels
    assert "*" in seen.untrusted or seen.untrusted >= made.untrusted
    assert ("reads_untrusted" in seen.labels) is bool(seen.untrusted - {"?"})


@given(SAYING, RAISES)
def test_the_order_of_entries_is_nothing(saying: dict[str, Any], raises: list[Raise]) -> None:
    made = a_tool(**saying)

    def meaning(raises: list[Raise]) -> tuple[Any, ...]:
        seen = as_seen(made, raises)
        fields = {"*"} if "*" in seen.untrusted else seen.untrusted
        return seen.effect, seen.labels, fields

    assert meaning(raises) == meaning(raises[::-1])


def test_a_label_alone_leaves_the_facts_that_a_tool_names() -> None:
    made = a_tool(facts=["id"])
    seen = policy_of("{tools: ['*'], labels: [reads_untrusted]}", made).seen(made)
    assert seen.untrusted == {"*", "!id"}


def test_a_label_alone_leaves_no_fact_to_a_tool_that_names_none() -> None:
    made = a_tool()
    seen = policy_of("{tools: ['*'], labels: [reads_untrusted]}", made).seen(made)
    assert seen.untrusted == {"*"}


def test_a_whole_result_that_is_untrusted_has_no_facts_left() -> None:
    made = a_tool(facts=["id"])
    seen = policy_of("{tools: [read_it], untrusted: ['*']}", made).seen(made)
    assert seen.untrusted == {"*"}


@pytest.mark.parametrize("field", ["!id", "two words", "a..b", "messages[0]"])
def test_what_names_no_field_is_refused_at_its_place(field: str) -> None:
    said = said_of(f"{{tools: [read_it], untrusted: ['{field}']}}", a_tool(facts=["body"]))
    assert "tools.yaml:2:36:" in said
    assert f"{field!r} is no field of a result" in said


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{tools: [read_them]}", "unknown tool 'read_them'; did you mean 'read_it'?"),
        ("{tools: [read_it], effect: none}", "'none' is not read, write or irreversible"),
        ("{tools: [read_it], label: [egress]}", "unknown key 'label'; did you mean 'labels'?"),
        ("{labels: [egress]}", "'tools' is missing"),
    ],
)
def test_a_mistake_is_told(entry: str, said: str) -> None:
    assert said in said_of(entry, a_tool())


def test_lowering_an_effect_is_refused() -> None:
    said = said_of("{tools: [read_it], effect: read}", a_tool("irreversible"))
    assert "a policy raises an effect and never lowers it" in said
