"""The engines: each reads a rulebook once, and then answers a question as often as it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from benchmarks.questions import Past, Question
from benchmarks.rulebook import SCHEMA, Rulebook, Spoken

__all__ = ["ENGINES", "Ask", "Engine", "seen"]

Ask = Callable[[], str]
"""Decides one question, which is ready to be decided, and says the verdict."""

Ready = Callable[[Question], Ask]
Prepare = Callable[[Rulebook], Ready]

STRICTEST = ("deny", "hold", "allow")
WITHOUT_RULE = "hold"
NOW = 1_780_000_000_000


# --- agentrt ----------------------------------------------------------------------------------


def agentrt(rulebook: Rulebook) -> Ready:
    """Policy.decide, which also says which rules were considered, the reason and the digests."""
    from agentrt.policy import Known, Policy
    from agentrt.policy import Question as Asked
    from agentrt.policy.facts import History

    tools = {tool.name: seen(tool) for tool in rulebook.tools}
    policy = Policy.from_texts({"rules.yaml": rulebook.yaml}, tools.values())
    needs = policy.needs

    def ready(question: Question) -> Ask:
        tool, arguments = tools[question.tool.name], question.arguments
        here, elsewhere = _calls(question.past)
        known = Known(
            run=History.of(needs.run).fold(here),
            user=History.of(needs.user).fold([*elsewhere, *here]),
            about_user={"name": "ann", "roles": list(question.past.roles), "verified": "os"},
            environment="production",
            now=NOW,
        )
        return lambda: policy.decide(Asked(tool, arguments, known)).verdict

    return ready


def seen(tool: Spoken) -> Any:
    """A tool as agentrt's policy sees it."""
    from agentrt.policy.tools_file import RaisedTool

    return RaisedTool(tool.name, tool.effect, frozenset(tool.labels), SCHEMA)


def _calls(past: Past) -> tuple[list[Any], list[Any]]:
    """The records of the calls of the run, and of the other runs of the user."""
    here = [("here", number, tool) for number, tool in enumerate(past.tools)]
    others = [("elsewhere", number, "get_order") for number in range(past.elsewhere)]
    return _records(here), _records(others)


def _records(calls: Iterable[tuple[str, int, str]]) -> list[Any]:
    from agentrt.events import Record
    from benchmarks.earlier import events_of_call

    return [
        Record(run, number, NOW - 1000, event, b"", b"")
        for run, number, tool in calls
        for event in events_of_call(f"{run}/{number}", tool)
    ]


# --- Cedar ------------------------------------------------------------------------------------


def cedar(rulebook: Rulebook) -> Ready:
    """All rules in one policy set, as Cedar means them to be."""
    from cedarpy import PolicySet

    policies = PolicySet.from_str(rulebook.cedar)
    return _cedar(rulebook, dict.fromkeys(rulebook.tools, policies))


def cedar_by_tool(rulebook: Rulebook) -> Ready:
    """A policy set for each tool, chosen by hand."""
    from cedarpy import PolicySet

    texts = {tool: "".join(rule.cedar for rule in rulebook.of(tool)) for tool in rulebook.tools}
    return _cedar(rulebook, {tool: PolicySet.from_str(text) for tool, text in texts.items()})


def _cedar(rulebook: Rulebook, policies: Mapping[Spoken, Any]) -> Ready:
    """Policies and entities are parsed once; request and answer are JSON every time."""
    from cedarpy import Entities, is_authorized

    entities = Entities.from_json_str(json.dumps(_hierarchy(rulebook.tools)))
    decides = {rule.id: rule.decide for rule in rulebook.rules}

    def ready(question: Question) -> Ask:
        of_tool = policies[question.tool]
        asked = {
            "principal": {"type": "User", "id": "ann"},
            "action": {"type": "Action", "id": question.tool.name},
            "resource": {"type": "Agent", "id": "shop"},
            "context": {"args": question.arguments, **question.past.facts},
        }

        def ask() -> str:
            result = is_authorized(asked, of_tool, entities)
            if result.allowed:
                return "allow"
            told = result.diagnostics.id_annotations_by_reason.values()
            return _strictest(decides[rule] for rule in told)

        return ask

    return ready


def _hierarchy(tools: Iterable[Spoken]) -> list[dict[str, Any]]:
    """The tools as actions, below their effects and labels."""
    return [
        {
            "uid": {"type": "Action", "id": tool.name},
            "attrs": {},
            "parents": [{"type": "Action", "id": above} for above in tool.selectors[1:]],
        }
        for tool in tools
    ]


# --- CEL --------------------------------------------------------------------------------------


def cel(rulebook: Rulebook) -> Ready:
    """Conditions without rules: which of them to ask, and what follows, is done by hand here."""
    from cel import Context, compile  # noqa: A004

    programs = {
        tool: [(rule.decide, compile(rule.cel)) for rule in rulebook.of(tool)]
        for tool in rulebook.tools
    }

    def ready(question: Question) -> Ask:
        of_tool = programs[question.tool]
        values = {"args": question.arguments, **question.past.facts}

        def ask() -> str:
            context = Context(values)
            return _strictest(decide for decide, program in of_tool if program.execute(context))

        return ask

    return ready


def _strictest(decisions: Iterable[str]) -> str:
    matched = set(decisions)
    return next((decide for decide in STRICTEST if decide in matched), WITHOUT_RULE)


@dataclass(frozen=True)
class Engine:
    """An engine, with the package that it comes in."""

    name: str
    package: str
    module: str
    prepare: Prepare

    @property
    def is_installed(self) -> bool:
        """Whether it can be asked here."""
        return find_spec(self.module) is not None


ENGINES = {
    "agentrt": Engine("agentrt", "agentrt", "agentrt", agentrt),
    "cedar": Engine("Cedar, all rules in one set", "cedarpy", "cedarpy", cedar),
    "cedar_by_tool": Engine("Cedar, a set for each tool", "cedarpy", "cedarpy", cedar_by_tool),
    "cel": Engine("CEL, asked by hand", "common-expression-language", "cel", cel),
}
